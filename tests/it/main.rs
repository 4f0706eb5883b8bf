//! The binary `sandbox` as its users see it: real commands, really confined, on real directories.
//!
//! The tests pass as root and as an unprivileged user. Each has a workspace and a `SANDBOX_HOME` of
//! its own, and leaves nothing behind.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start the program as its users do"
)]

#[cfg(test)]
mod approval_scopes;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod components;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod degraded;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod destroy;
#[cfg(test)]
mod detached;
#[cfg(test)]
mod events;
#[cfg(test)]
mod forged_lines;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod guest_files;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lifecycle_states;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod monitor;
#[cfg(test)]
mod network;
#[cfg(test)]
mod newcomers;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod overlay;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod policy_files;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod seccomp;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod secrets_memory;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod snapshots_choice;
#[cfg(test)]
mod snapshots_encrypted;
#[cfg(test)]
mod snapshots_files;
#[cfg(test)]
mod snapshots_names;
#[cfg(test)]
mod snapshots_state;
#[cfg(test)]
mod state;
#[cfg(test)]
mod state_campaigns;
#[cfg(test)]
mod state_recovery;
#[cfg(test)]
mod story;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod top;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod without_user_namespaces;
#[cfg(test)]
mod wording;
#[cfg(test)]
mod workspaces;
