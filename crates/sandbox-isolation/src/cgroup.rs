//! The limits of one operation, and its figures, through control groups of version 1, 2 or both.
//!
//! Hosts differ: all controllers in the unified hierarchy (version 2), each in a hierarchy of its own
//! (version 1), or some here and some there. So a place is chosen *per controller*, always below or
//! beside the caller's own cgroup, so that what limits the caller limits the guest as well. One
//! operation gets one directory in each hierarchy that it needs:
//!
//! ```text
//! /sys/fs/cgroup/memory/<own path>/sandbox-<pid>-<start time>-<pid namespace>-<name>   memory.limit_in_bytes
//! /sys/fs/cgroup/pids/<own path>/sandbox-…                                             pids.max
//! /sys/fs/cgroup/unified/<own path>/sandbox-…                                          cgroup.kill, cpu.stat
//! ```
//!
//! The name tells whose it is: [`remove_stale`] removes what a killed process left.
//! What a host cannot do is a value ([`OperationCgroup::missing`]), not an error; the caller decides.
//! Attaching a running process costs 6–14 ms after a pause (the kernel waits for a grace period) and
//! 0.1 ms in a row: do it off the critical path, or let the child be born inside.
//! See cgroups(7) and `Documentation/admin-guide/cgroup-v2.rst`.

mod discover;
mod figures;
mod freeze;
mod io_device;
mod leave;
mod limits;
mod orphans;
mod scope;
mod stale;
mod stop;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rustix::process::Pid;
use sandbox_types::{Bytes, CgroupKind, CgroupPaths};

pub(crate) use discover::{Hierarchies, discover, is_likely_separate};
pub use freeze::{FreezeError, Frozen, first_process_of, freeze, thaw};
pub use orphans::{
    OrphanError, OrphanedCgroup, end_orphaned_cgroup, end_orphaned_guest, is_first_of_guest,
    orphaned_cgroups,
};
pub(crate) use scope::{create_in_scope, user_bus};
pub use stale::remove_stale;

use discover::Seat;
pub(crate) use io_device::IoLimit;
pub(crate) use limits::Version;

/// A part of the kernel that limits or counts through cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    /// Memory, page cache and kernel memory.
    Memory,
    /// CPU bandwidth.
    Cpu,
    /// Processes and threads.
    Pids,
    /// CPU time, counted only (version 1; version 2 always counts it).
    CpuAccounting,
    /// Block devices.
    Io,
    /// Stops all members (version 1; part of version 2 itself).
    Freezer,
}

impl Controller {
    /// Those that hold a limit.
    pub(crate) const LIMITING: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];
    const ALL: [Self; 6] = [
        Self::Memory,
        Self::Cpu,
        Self::Pids,
        Self::CpuAccounting,
        Self::Io,
        Self::Freezer,
    ];

    /// Returns its name in version 1.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
            Self::CpuAccounting => "cpuacct",
            Self::Io => "blkio",
            Self::Freezer => "freezer",
        }
    }

    /// Returns its name in version 2, if it is a controller there.
    const fn unified_name(self) -> Option<&'static str> {
        match self {
            Self::Memory | Self::Cpu | Self::Pids => Some(self.name()),
            Self::Io => Some("io"),
            Self::CpuAccounting | Self::Freezer => None,
        }
    }
}

/// What an operation's cgroup is for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Memory of all members, without swap.
    pub(crate) memory: Option<Bytes>,
    /// CPU bandwidth of all members, in percent of one core.
    pub(crate) cpu_percent: Option<u32>,
    /// Processes and threads alive at once.
    pub(crate) processes: Option<u32>,
    /// Bandwidth of the workspace's device.
    pub(crate) io: Option<IoLimit>,
    /// Whether to make also what is only read: figures of memory, CPU, processes and I/O.
    pub(crate) meter: bool,
}

impl Wanted {
    /// Whether `controller` is to hold a limit.
    fn limits(&self, controller: Controller) -> bool {
        match controller {
            Controller::Memory => self.memory.is_some(),
            Controller::Cpu => self.cpu_percent.is_some(),
            Controller::Pids => self.processes.is_some(),
            Controller::Io => self.io.is_some(),
            Controller::CpuAccounting | Controller::Freezer => false,
        }
    }

    /// Whether `controller` is to be used; version 2 counts CPU time and stops members without one.
    fn uses(&self, controller: Controller, has_unified: bool) -> bool {
        match controller {
            Controller::Memory | Controller::Pids | Controller::Io => {
                self.limits(controller) || self.meter
            }
            Controller::Cpu => self.limits(controller),
            Controller::CpuAccounting => self.meter && !has_unified,
            Controller::Freezer => !has_unified,
        }
    }
}

/// A limit that this host does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingLimit {
    /// Which one.
    pub(crate) controller: Controller,
    /// Why not.
    pub(crate) reason: String,
}

impl fmt::Display for MissingLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.controller.name();
        write!(f, "the {name} limit is not enforced: {}", self.reason)
    }
}

/// A cgroup could not be made, entered or left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CgroupError {
    /// The name is empty, too long or not made of letters, digits, `.`, `_` and `-`.
    #[error("cannot name a cgroup '{name}'")]
    Name {
        /// What was given.
        name: String,
    },
    /// The caller's own identity is not to be had.
    #[error("cannot read {}", path.display())]
    Owner {
        /// The file below `/proc`.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory of that name is there already.
    #[error("cannot create cgroup {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The process is gone, or may not be moved.
    #[error("cannot move process {} into cgroup {}", pid.as_raw_nonzero(), path.display())]
    Attach {
        /// The directory.
        path: PathBuf,
        /// The process.
        pid: Pid,
        /// Why not.
        source: io::Error,
    },
    /// systemd has not made one.
    #[error("cannot get the scope {unit} from systemd")]
    Scope {
        /// What it was to be called.
        unit: String,
        /// Why not.
        source: io::Error,
    },
    /// Some members may be alive.
    #[error("cannot kill the members of cgroup {}", path.display())]
    Kill {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory is left behind.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The cgroups of one operation. Must be given back with [`OperationCgroup::remove`].
#[derive(Debug)]
pub(crate) struct OperationCgroup {
    /// Version 1: the controllers in use and their directories (two may share one).
    separate: BTreeMap<Controller, PathBuf>,
    unified: Option<Unified>,
    missing: Vec<MissingLimit>,
    /// For one in a scope, which somebody else removes.
    above: Option<figures::Above>,
}

/// The directory in the unified hierarchy.
#[derive(Debug)]
struct Unified {
    path: PathBuf,
    controllers: Vec<Controller>,
}

/// Makes the cgroups of the operation `name` and sets its limits; it has no members yet.
///
/// # Errors
/// Fails if `name` is not one, or if its cgroups exist already. What the host cannot hold is no error.
pub(crate) fn create(
    hierarchies: &Hierarchies,
    name: &str,
    wanted: &Wanted,
) -> Result<OperationCgroup, CgroupError> {
    let directory_name = stale::directory_name(name)?;
    let mut cgroup = OperationCgroup {
        separate: BTreeMap::new(),
        unified: None,
        missing: Vec::new(),
        above: None,
    };
    if let Err(error) = cgroup.fill(hierarchies, &directory_name, wanted) {
        // The first error is the one to tell; what stays behind now, `remove_stale` removes.
        drop(cgroup.remove());
        return Err(error);
    }
    Ok(cgroup)
}

impl OperationCgroup {
    /// Moves a running process and all its threads into every cgroup of the operation.
    ///
    /// # Errors
    /// Fails if the process has ended or may not be moved.
    pub(crate) fn attach(&self, pid: Pid) -> Result<(), CgroupError> {
        if let Some(unified) = &self.unified {
            write_member(&unified.path, pid)?;
        }
        self.separate_paths()
            .into_iter()
            .try_for_each(|path| write_member(path, pid))
    }

    /// Returns where the operation's figures can be read.
    pub(crate) fn paths(&self) -> CgroupPaths {
        let unified = self.unified.as_ref().map(|unified| unified.path.clone());
        CgroupPaths {
            memory: self.path_of(Controller::Memory),
            // Version 2 counts CPU time in every cgroup (`cpu.stat`), version 1 in `cpuacct.usage`.
            cpu: unified.or_else(|| self.path_of(Controller::CpuAccounting)),
            pids: self.path_of(Controller::Pids),
            io: self.path_of(Controller::Io),
        }
    }

    /// Returns where the limiting controllers in use are.
    pub(crate) fn kind(&self) -> CgroupKind {
        let used = |here: &dyn Fn(Controller) -> bool| Controller::LIMITING.into_iter().any(here);
        let separate = used(&|controller| self.separate.contains_key(&controller));
        let unified = used(&|controller| self.is_unified(controller));
        match (separate, unified) {
            (true, true) => CgroupKind::Hybrid,
            (true, false) => CgroupKind::V1,
            (false, true) => CgroupKind::V2,
            (false, false) => CgroupKind::Absent,
        }
    }

    /// Returns the wanted limits that do not hold.
    pub(crate) fn missing(&self) -> &[MissingLimit] {
        &self.missing
    }

    /// Makes the directories and sets the limits.
    fn fill(
        &mut self,
        hierarchies: &Hierarchies,
        directory_name: &str,
        wanted: &Wanted,
    ) -> Result<(), CgroupError> {
        let mut unified_failure = String::new();
        if let Some(base) = hierarchies.unified() {
            let path = base.path.join(directory_name);
            match make(&path)? {
                Ok(()) => {
                    self.unified = Some(Unified {
                        path,
                        controllers: Vec::new(),
                    });
                }
                Err(reason) => unified_failure = reason,
            }
        }
        for controller in Controller::ALL {
            if !wanted.uses(controller, self.unified.is_some()) {
                continue;
            }
            let placed = match (hierarchies.seat(controller), &mut self.unified) {
                (Seat::Separate(base), _) => {
                    let path = base.join(directory_name);
                    self.make_separate(controller, path)?
                }
                (Seat::Unified(base), Some(unified)) => {
                    base.enable(controller, &unified.path).map(|()| {
                        unified.controllers.push(controller);
                        (unified.path.clone(), Version::Two)
                    })
                }
                (Seat::Unified(_), None) => Err(unified_failure.clone()),
                (Seat::Absent(reason), _) => Err(reason.to_owned()),
            };
            let limited =
                placed.and_then(|(path, version)| limits::set(&path, version, controller, wanted));
            if let Err(reason) = limited
                && wanted.limits(controller)
            {
                self.missing.push(MissingLimit { controller, reason });
            }
        }
        Ok(())
    }

    /// Makes a version 1 directory, unless another controller of the same hierarchy has made it.
    fn make_separate(
        &mut self,
        controller: Controller,
        path: PathBuf,
    ) -> Result<Result<(PathBuf, Version), String>, CgroupError> {
        if !self.separate.values().any(|made| *made == path)
            && let Err(reason) = make(&path)?
        {
            return Ok(Err(reason));
        }
        self.separate.insert(controller, path.clone());
        Ok(Ok((path, Version::One)))
    }

    fn path_of(&self, controller: Controller) -> Option<PathBuf> {
        let unified = self.unified.as_ref();
        let in_unified = unified.filter(|_| self.is_unified(controller));
        in_unified
            .map(|unified| &unified.path)
            .or_else(|| self.separate.get(&controller))
            .cloned()
    }

    fn is_unified(&self, controller: Controller) -> bool {
        self.unified
            .as_ref()
            .is_some_and(|unified| unified.controllers.contains(&controller))
    }

    /// Returns the version 1 directories, each once.
    fn separate_paths(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.separate.values().map(PathBuf::as_path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Returns all directories.
    fn all_paths(&self) -> Vec<&Path> {
        let unified = self.unified.as_ref().map(|unified| unified.path.as_path());
        unified.into_iter().chain(self.separate_paths()).collect()
    }
}

/// Makes a cgroup, or says why the host does not let us.
///
/// A directory that is there already is the caller's mistake: two operations with one name.
fn make(path: &Path) -> Result<Result<(), String>, CgroupError> {
    match fs::create_dir(path) {
        Ok(()) => Ok(Ok(())),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.to_owned();
            Err(CgroupError::Create { path, source })
        }
        Err(source) => Ok(Err(format!("cannot create {}: {source}", path.display()))),
    }
}

fn write_member(path: &Path, pid: Pid) -> Result<(), CgroupError> {
    write_file(
        &path.join("cgroup.procs"),
        &pid.as_raw_nonzero().to_string(),
    )
    .map_err(|source| CgroupError::Attach {
        path: path.to_owned(),
        pid,
        source,
    })
}

/// Writes an existing kernel file in one call, as the kernel wants it.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Reads one value of a file of `key value` lines; 0 where there is none.
fn counter(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    value_of(&text, key).unwrap_or(0)
}

/// Returns the value of `key` in `key value` lines.
fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}
