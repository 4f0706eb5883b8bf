//! Confines one run and ends it: namespaces, an allow-list view, Landlock, seccomp, cgroups.
//!
//! Needs no helper program, no daemon and no set-user-id bit; works for root and for everybody else. All
//! `unsafe` code of the project is in `sys`.
//!
//! ```no_run
//! use sandbox_isolation::{KernelLauncher, LaunchPlan, WorkspaceMode};
//!
//! // Reads the workspace and the system's programs, changes nothing, has no network, no home, no secrets.
//! let mut plan = LaunchPlan::locked("/home/me/project", ["make", "check"]);
//! plan.workspace_mode = WorkspaceMode::Direct; // it may change the workspace
//! let (ended, printed) = KernelLauncher::new().run(plan)?;
//! println!("{:?}: {}", ended.exit, String::from_utf8_lossy(&printed.stdout.data));
//! println!("{:?}", ended.enforcement); // which walls stood, and what was missing
//! # Ok::<(), sandbox_isolation::LaunchError>(())
//! ```
//!
//! `examples/confine.rs` is the same as a program. For output as it comes, standard input, cancelling, limits and a
//! confinement that is built ahead, see [`Launcher`], [`Observer`] and [`LaunchPlan`].
//!
//! # The walls
//!
//! | wall | keeps | without it |
//! |---|---|---|
//! | user namespace | ids and capabilities: the guest has none, and is nobody on the host | [`Confinement::LandlockAlone`], if the caller says so |
//! | mount namespace | files: the guest sees an allow-list, mounted by descriptor | as above |
//! | pid and ipc namespace | processes: none is seen, none outlives the guest | as above |
//! | network namespace | an empty one, or one that leads to a list of hosts | as above |
//! | Landlock | files once more, signals, abstract sockets | reported |
//! | seccomp | the kernel: see [`SeccompProfile`] and [`syscall_walls`] | refused |
//! | cgroup v2 or v1, rlimits | memory, CPU, processes, files | a requested limit refuses the run, others are reported |
//!
//! [`probe_kernel`] and [`probe_namespaces`] tell what a host has.
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
mod door;
mod egress;
mod init;
mod kernel;
mod landlock_proof;
mod launch;
mod looks;
mod open_deleted;
mod plan;
mod real_paths;
mod seccomp_profile;
mod secrets;
mod session;
mod stdio;
mod sys;
mod toolchains;
mod view;

pub use cgroup::{
    FreezeError, Frozen, OrphanError, OrphanedCgroup, end_orphaned_cgroup, end_orphaned_guest,
    first_process_of, freeze as freeze_operation, is_first_of_guest, orphaned_cgroups,
    remove_stale as remove_stale_cgroups, thaw as thaw_operation,
};
pub use door::{OUTPUT_BYTES_MAX, Printed};
pub use kernel::{Advice, CgroupFacts, KernelFacts, Obstacle, WeakenedWall, advice, probe_kernel};
pub use landlock_proof::read_past_landlock;
pub use launch::probe_namespaces;
pub use launch::{
    Cancellation, Ended, KernelLauncher, LaunchError, Launcher, NetworkActivity, Observer,
    Prepared, Running,
};
pub use open_deleted::deleted_open_bytes;
pub use plan::{Confinement, LaunchPlan, StdinSource, View, WorkspaceMode};
pub use real_paths::is_led_astray;
pub use seccomp_profile::{
    ArgumentTest, BaseProfile, Condition, ProfileError, RefusedWith, SeccompProfile, SyscallEffect,
    SyscallRule, syscall_walls,
};
pub use session::{
    KeeperProgram, MakeLayers, ReadyLayers, SessionLauncher, SessionStatus, end_session,
    keep_session, session_status,
};

/// Returns whether `path` can be no workspace: the guest could not run without the host's own directory there.
pub fn is_system_directory(path: &std::path::Path) -> bool {
    toolchains::is_system(path)
}

/// Returns the version of the kernel's Landlock interface, `None` if the kernel has none.
pub fn landlock_abi() -> Option<u32> {
    sys::landlock::abi()
}

/// Makes this process look host names up in `/etc/hosts` and by DNS alone, whatever `/etc/nsswitch.conf` says. For a
/// program that is linked statically with the GNU C library: the other services are shared libraries, which need the
/// very library that the program was built with.
pub fn look_names_up_without_plugins() {
    egress::look_names_up_without_plugins();
}

/// Lets programs that this process executes by itself have its standard streams and no other descriptor, also of
/// those that this process was given. (A guest never gets any other one.)
///
/// # Errors
///
/// Fails on kernels before Linux 5.11.
pub fn keep_descriptors_from_programs() -> std::io::Result<()> {
    Ok(sys::process::keep_descriptors()?)
}
