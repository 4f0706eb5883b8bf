//! What the caller says about one launch.

use std::{ffi::OsString, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use sandbox_types::{Limits, NetworkAccess};

use crate::seccomp_profile::SeccompProfile;

/// All that one launch needs to know; every choice is the caller's.
#[derive(Debug)]
pub struct LaunchPlan {
    /// The operation's id: names its cgroups.
    pub name: String,
    /// The program and its arguments. Without a `/` in it, the program is looked for in the guest's own `PATH`.
    pub argv: Vec<OsString>,
    /// The guest's whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The workspace: absolute and canonical. The guest sees it at the same path.
    pub workspace: PathBuf,
    /// How the guest may change the workspace.
    pub workspace_mode: WorkspaceMode,
    /// Where the guest starts: absolute, inside.
    pub cwd: PathBuf,
    /// What else it sees.
    pub view: View,
    /// What it may reach over the network.
    pub network: NetworkAccess,
    /// What it may ask of the kernel.
    pub seccomp: SeccompProfile,
    /// What confines it.
    pub confinement: Confinement,
    /// What it may use.
    pub limits: Limits,
    /// The first of 65,536 host ids that belong to this sandbox alone. Used if the caller is root: the guest
    /// is then never a user that exists on the host.
    pub host_ids: u32,
    /// What it reads.
    pub stdin: StdinSource,
}

/// What confines the guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confinement {
    /// Namespaces, Landlock where the kernel has it, and the system call filter.
    Namespaces,
    /// The lower tier, for hosts where a user may make no namespaces ([`crate::probe_namespaces`]): Landlock and the
    /// system call filter alone. No transaction, no list of allowed hosts, and not for root. The report says what is
    /// missing.
    LandlockAlone,
}

/// How the guest may change the workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WorkspaceMode {
    /// Changes go to `upper` and leave the workspace alone. Both directories lie in one parent directory, on a
    /// file system that can hold an overlay's upper layer; `work` is empty. The guest sees the workspace itself with
    /// the owner and mode of `upper`, so these are to be the workspace's.
    Overlay {
        /// Takes the changes.
        upper: PathBuf,
        /// The kernel's scratch directory.
        work: PathBuf,
    },
    /// Changes go to the workspace itself.
    Direct,
    /// No changes.
    ReadOnly,
}

/// What the guest sees besides the system directories and its workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// The caller's home: the guest finds an empty, private one at that path.
    pub home: PathBuf,
    /// The caller's `PATH`: toolchains that it names are visible.
    pub search_path: OsString,
    /// Directories of toolchains that the caller's environment names (`JAVA_HOME`): visible too.
    pub toolchains: Vec<PathBuf>,
    /// Files with secrets that the caller's environment names (`KUBECONFIG`): hidden like those in the home, unless
    /// they are granted by their own names.
    pub secrets: Vec<PathBuf>,
    /// More host paths to see.
    pub read: Vec<PathBuf>,
    /// More host paths to see and change.
    pub write: Vec<PathBuf>,
    /// Paths to hide, wherever they would be visible.
    pub hide: Vec<PathBuf>,
}

/// What the guest reads from its standard input.
#[derive(Clone, Debug)]
pub enum StdinSource {
    /// Nothing: `/dev/null`.
    Empty,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// What this descriptor gives. It is read here and written to a pipe: the guest never holds a descriptor of
    /// the caller's.
    Forward(Arc<OwnedFd>),
    /// These bytes, then what this descriptor gives.
    Preceded(Vec<u8>, Arc<OwnedFd>),
    /// A terminal of its own, with the size and the keys of this one: standard input, output and error, and
    /// `/dev/tty`, with job control. All that it prints comes as standard output. While the run is waited for, this
    /// one is in raw mode, its keys go to the guest, and its size is followed; afterwards it is as it was.
    Terminal(Arc<OwnedFd>),
}
