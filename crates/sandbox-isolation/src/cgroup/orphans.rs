//! What a killed caller left behind: cgroups with its mark, the processes in them, a guest's first
//! process. A guest ends with its caller, but one that was frozen or stopped at that moment does not.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    discover::discover,
    leave::{members_of, wait_for_exit},
    stale, write_file,
};

/// How long to wait for processes that are being ended.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The cgroups of one operation whose caller has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrphanedCgroup {
    /// The operation's id.
    pub operation: String,
    /// Its directories, one a hierarchy.
    pub directories: Vec<PathBuf>,
    /// How many processes are in them.
    pub processes: usize,
}

/// What a killed caller left was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrphanError {
    /// The system does not let us.
    #[error("cannot end process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// It was told to, and is still there.
    #[error("cannot see process {pid} end: it is still there after {END_LIMIT:?}")]
    Alive {
        /// The process.
        pid: u32,
    },
    /// A directory is left.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Returns the cgroups of operations whose caller has ended, where this process would make cgroups
/// itself. Changes nothing.
pub fn orphaned_cgroups() -> Vec<OrphanedCgroup> {
    let hierarchies = discover();
    let mut found: BTreeMap<String, OrphanedCgroup> = BTreeMap::new();
    for base in hierarchies.bases() {
        for (name, path) in stale::orphans_in(base) {
            let Some(operation) = stale::operation_of(&name) else {
                continue;
            };
            let orphan = found.entry(name.clone()).or_insert_with(|| OrphanedCgroup {
                operation: operation.to_owned(),
                directories: Vec::new(),
                processes: 0,
            });
            orphan.processes = orphan.processes.max(members_of(&path).len());
            orphan.directories.push(path);
        }
    }
    found.into_values().collect()
}

/// Ends the processes of `orphan` and removes its cgroups. What is gone already is no error.
///
/// # Errors
///
/// Fails when a process cannot be ended within two seconds or a directory cannot be removed.
pub fn end_orphaned_cgroup(orphan: &OrphanedCgroup) -> Result<(), OrphanError> {
    let deadline = Instant::now() + END_LIMIT;
    for path in &orphan.directories {
        kill_all(path);
    }
    for path in &orphan.directories {
        while let Some(member) = members_of(path).first() {
            if Instant::now() >= deadline {
                return Err(OrphanError::Alive {
                    pid: member.as_raw_nonzero().get().unsigned_abs(),
                });
            }
            kill_all(path);
            wait_for_exit(*member);
        }
    }
    for path in &orphan.directories {
        remove(path, deadline)?;
    }
    Ok(())
}

/// Ends the guest whose first process is `pid`, started at `started` clock ticks after boot, and with
/// it everything that it has started. Returns whether there was one: a later process with the same
/// number, or one that is not the first of a process namespace of its own, is left alone.
///
/// # Errors
///
/// Fails when the system refuses it, or when it is still there after two seconds.
pub fn end_orphaned_guest(pid: u32, started: u64) -> Result<bool, OrphanError> {
    let refused = |source: io::Error| OrphanError::Signal { pid, source };
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let process = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(errno) => return Err(refused(errno.into())),
    };
    // Only now: the number cannot be given to another process while we look at this one.
    if !is_first_of_guest(pid, started) {
        return Ok(false);
    }
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(refused(errno.into())),
    }
    let timeout = Timespec::try_from(END_LIMIT).expect("seconds fit");
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    let ended = poll(&mut fds, Some(&timeout)).map_err(|errno| refused(errno.into()))?;
    if ended == 0 {
        return Err(OrphanError::Alive { pid });
    }
    Ok(true)
}

/// Returns whether `pid` is the process that started at `started`, still runs, and is the first of a
/// process namespace below ours.
pub fn is_first_of_guest(pid: u32, started: u64) -> bool {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    if stale::parse_start_time(&stat) != Some(started) || is_dead(&stat) {
        return false;
    }
    is_first_of_namespace(pid)
}

/// Returns whether `pid` is the first of a process namespace below ours.
pub(super) fn is_first_of_namespace(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

/// Returns whether the state in `/proc/<pid>/stat` is that of a process that has ended.
fn is_dead(stat: &str) -> bool {
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    state.starts_with(['Z', 'X'])
}

/// Tells every member to end, frozen ones too.
fn kill_all(path: &Path) {
    let kill = path.join("cgroup.kill");
    if kill.exists() {
        // What it cannot do, the signals below do.
        drop(write_file(&kill, "1"));
    }
    for pid in members_of(path) {
        // The number may belong to another process by now: hold on to it, then look again.
        if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && members_of(path).contains(&pid)
        {
            let _gone_or_sent = pidfd_send_signal(process, Signal::KILL);
        }
    }
    // A member that is frozen by version 1 takes the signal only when it is thawed.
    let freezer = path.join("freezer.state");
    if freezer.exists() {
        drop(write_file(&freezer, "THAWED"));
    }
}

/// Removes a cgroup that its last member is just leaving.
fn remove(path: &Path, deadline: Instant) -> Result<(), OrphanError> {
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::yield_now();
            }
            Err(source) => {
                return Err(OrphanError::Remove {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}
