//! Confines one run and ends it: namespaces, an allow-list view, Landlock, seccomp, cgroups.
//!
//! Needs no helper program, no daemon and no set-user-id bit; works for root and for everybody else. All
//! `unsafe` code of the project is in `sys`.
//!
//! # What is not confined
//!
//! A Unix socket in a direct workspace, or in a directory that was granted (`read` or `write`), can be connected to:
//! whoever listens there is not confined and does what it is asked. A read-only mount does not prevent that. Sockets
//! that listen when the view is made are covered, as far as `/proc/net/unix` names them: those of this network
//! namespace with an absolute name. Later ones are not. (An overlay shows the workspace's sockets as files of its own,
//! to which nobody listens.) So grant no directory that a service makes its socket in.
//!
//! # Terminology
//!
//! - **guest**: the command that is confined, and everything that it starts.
//! - **view**: what the guest sees of the file system: nothing but what was allowed.
//! - **init**: pid 1 of the guest's namespaces, a copy of the caller without any capability.
//! - **builder**: for a root caller only, the process that mounts what the guest's ids may not mount.

mod cgroup;
mod child;
mod egress;
mod init;
mod kernel;
mod launch;
mod plan;
mod real_paths;
mod seccomp_profile;
mod secrets;
mod stdio;
mod sys;
mod toolchains;
mod view;

pub use cgroup::{
    FreezeError, OrphanError, OrphanedCgroup, end_orphaned_cgroup, end_orphaned_guest,
    freeze as freeze_operation, is_first_of_guest, orphaned_cgroups,
    remove_stale as remove_stale_cgroups, thaw as thaw_operation,
};
pub use kernel::{CgroupFacts, KernelFacts, Obstacle, probe_kernel};
pub use launch::{
    Cancellation, Ended, KernelLauncher, LaunchError, Launcher, NetworkActivity, Observer,
    Prepared, Running,
};
pub use plan::{LaunchPlan, StdinSource, View, WorkspaceMode};
pub use real_paths::is_led_astray;

/// Returns whether `path` can be no workspace: the guest could not run without the host's own directory there.
pub fn is_system_directory(path: &std::path::Path) -> bool {
    toolchains::is_system(path)
}

/// Returns the version of the kernel's Landlock interface, `None` if the kernel has none.
pub fn landlock_abi() -> Option<u32> {
    sys::landlock::abi()
}
