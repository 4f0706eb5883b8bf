//! Amounts that an operation may use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Bytes;

/// Where a limit comes from: a built-in default may be weaker on some hosts, a requested one must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// Built in; nobody asked for it. What cannot hold is reported.
    Default,
    /// Asked for by a configuration, an operation or a flag. What cannot hold refuses the run,
    /// unless the configuration says `best_effort`.
    Requested,
}

/// One limit with its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Limit<T> {
    /// The amount.
    pub value: T,
    /// Who asked for it.
    pub source: LimitSource,
}

impl<T> Limit<T> {
    /// Returns a built-in limit.
    pub const fn built_in(value: T) -> Self {
        Self {
            value,
            source: LimitSource::Default,
        }
    }

    /// Returns a limit that somebody asked for.
    pub const fn requested(value: T) -> Self {
        Self {
            value,
            source: LimitSource::Requested,
        }
    }
}

/// All limits of one operation. `None` means unlimited.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the whole tree of processes.
    pub memory: Option<Limit<Bytes>>,
    /// CPU bandwidth of the whole tree, in percent of one core (150 = one and a half cores).
    pub cpu_percent: Option<Limit<u32>>,
    /// Processes and threads alive at once.
    pub processes: Option<Limit<u32>>,
    /// CPU time, user and system, of the whole tree of processes.
    pub cpu_time: Option<Limit<Duration>>,
    /// Bytes that the operation may add to the workspace.
    pub disk: Option<Limit<Bytes>>,
    /// Files and directories that the operation may add to or change in the workspace.
    pub inodes: Option<Limit<u64>>,
    /// Bytes a second that the tree may read from the workspace's device.
    pub io_read: Option<Limit<Bytes>>,
    /// Bytes a second that the tree may write to the workspace's device.
    pub io_write: Option<Limit<Bytes>>,
    /// Wall time from start to end.
    pub wall_time: Option<Limit<Duration>>,
    /// Open files of one process.
    pub open_files: Option<Limit<u64>>,
    /// Size of one file.
    pub file_size: Option<Limit<Bytes>>,
    /// Size of each private temporary file system (`/tmp`, `/dev/shm`, the home).
    pub tmp_size: Option<Limit<Bytes>>,
    /// Captured bytes of each output stream; the rest is counted only.
    pub output: Bytes,
    /// Printed bytes of both streams together: more ends the operation.
    pub output_total: Option<Limit<Bytes>>,
    /// Whether a requested limit that this host cannot hold is dropped (and reported) instead of
    /// refusing the run.
    pub best_effort: bool,
}

impl Default for Limits {
    /// Returns the built-in limits of `docs/reference`: always on.
    fn default() -> Self {
        Self {
            memory: Some(Limit::built_in(Bytes::mib(4096))),
            cpu_percent: None,
            processes: Some(Limit::built_in(1024)),
            cpu_time: None,
            disk: Some(Limit::built_in(Bytes::mib(10 * 1024))),
            inodes: Some(Limit::built_in(1_000_000)),
            io_read: None,
            io_write: None,
            wall_time: Some(Limit::built_in(Duration::from_secs(3600))),
            open_files: Some(Limit::built_in(4096)),
            file_size: None,
            tmp_size: Some(Limit::built_in(Bytes::mib(1024))),
            output: Bytes::mib(1),
            output_total: None,
            best_effort: false,
        }
    }
}

/// The limit that ended an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// The tree used more memory than allowed; the kernel killed it.
    Memory,
    /// The tree ran longer than allowed.
    WallTime,
    /// The tree used more CPU time than allowed.
    CpuTime,
    /// The tree wanted more processes than allowed.
    Processes,
    /// The changes were larger than allowed.
    Disk,
    /// More files were added or changed than allowed.
    Inodes,
    /// One file was larger than allowed.
    FileSize,
    /// More was printed than allowed.
    Output,
}
