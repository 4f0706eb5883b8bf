//! Which mechanisms held, as a value: degraded protection is reported, never logged away.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How fully one mechanism was enforced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All of it.
    Full,
    /// Some of it; [`Enforcement::missing`] says what not.
    Partial,
    /// Nothing of it.
    #[default]
    Absent,
}

/// Where the resource controllers were found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CgroupKind {
    /// All in the unified hierarchy.
    V2,
    /// All in version 1 hierarchies.
    V1,
    /// Some here, some there.
    Hybrid,
    /// None that may be used.
    #[default]
    Absent,
}

/// Where the figures of one operation's cgroups can be read; `None` where no controller was used.
///
/// Version 1 and version 2 files have different names; a reader looks which of them is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CgroupPaths {
    /// Directory with `memory.*` files.
    pub memory: Option<PathBuf>,
    /// Directory with `cpu.*` files.
    pub cpu: Option<PathBuf>,
    /// Directory with `pids.*` files.
    pub pids: Option<PathBuf>,
    /// Directory with `io.*` or `blkio.*` files.
    pub io: Option<PathBuf>,
}

/// The mechanisms that held while an operation ran.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Enforcement {
    /// User namespace: the guest's ids and capabilities mean nothing outside.
    pub user_namespace: Level,
    /// Mount namespace with an allow-list view.
    pub mount: Level,
    /// Process namespace: nothing survives, nothing outside is seen.
    pub pid: Level,
    /// Network namespace, or the host's network when that was asked for (`absent`).
    pub network: Level,
    /// System call filter.
    pub seccomp: Level,
    /// Landlock, the second wall for files.
    pub landlock: Level,
    /// Where memory, cpu and pids limits are enforced.
    pub cgroup: CgroupKind,
    /// What was wanted and is not there, one sentence each.
    pub missing: Vec<String>,
}

/// What kind of rule a guest ran into.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationKind {
    /// A file outside of what it may reach.
    Filesystem,
    /// A network destination.
    Network,
    /// A system call.
    Syscall,
    /// A change outside of the declared `files`.
    DeclaredFiles,
    /// Content that the policy does not allow in a file.
    Content,
}

/// One attempt that was stopped and could be seen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// What kind of rule it ran into.
    pub kind: ViolationKind,
    /// What was attempted, in words.
    pub detail: String,
}
