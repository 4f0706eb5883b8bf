//! Confines one run and ends it: namespaces, an allow-list view, Landlock, seccomp, cgroups.
//!
//! Needs no helper program, no daemon and no set-user-id bit; works for root and for everybody else. All
//! `unsafe` code of the project is in `sys`.
//!
//! # What is not confined
//!
//! A Unix socket in the workspace, or in a directory that was granted (`read` or `write`), can be connected to:
//! whoever listens there is not confined and does what it is asked. A read-only mount does not prevent that. (An
//! overlay shows the workspace's sockets as files of its own, to which nobody listens; a direct workspace shows the
//! sockets themselves.) So grant no directory with a service's socket in it.
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
mod open_deleted;
mod plan;
mod real_paths;
mod seccomp_profile;
mod stdio;
mod sys;
mod toolchains;
mod view;

pub use cgroup::{
    FreezeError, Frozen, OrphanError, OrphanedCgroup, end_orphaned_cgroup, end_orphaned_guest,
    freeze as freeze_operation, is_first_of_guest, orphaned_cgroups,
    remove_stale as remove_stale_cgroups, thaw as thaw_operation,
};
pub use kernel::{CgroupFacts, KernelFacts, Obstacle, probe_kernel};
pub use launch::{
    Cancellation, Ended, KernelLauncher, LaunchError, Launcher, NetworkActivity, Observer,
    Prepared, Running,
};
pub use open_deleted::deleted_open_bytes;
pub use plan::{LaunchPlan, StdinSource, View, WorkspaceMode};

/// Returns the version of the kernel's Landlock interface, `None` if the kernel has none.
pub fn landlock_abi() -> Option<u32> {
    sys::landlock::abi()
}
