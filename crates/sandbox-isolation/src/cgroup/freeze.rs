//! Stops and continues the processes of an operation, also one that another process carries out.
//!
//! The kernel's freezer stops every member at once, and nothing inside can continue it. Version 2 has
//! the freezer in every cgroup (`cgroup.freeze`), version 1 as a hierarchy of its own
//! (`freezer.state`). Where there is neither, the processes are stopped by signals, which a hostile
//! guest can undo: see `stop.rs`.
//!
//! Init is moved out of the frozen cgroup, into one beside it: it goes on watching whether its
//! caller lives, and ends the guest if not. Frozen members of version 2 die of `SIGKILL` at once;
//! those of version 1 only when they are thawed, so whoever kills them thaws them afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, poll},
    process::Pid,
};

use super::{
    Controller, OperationCgroup,
    discover::{self, Reach},
    leave::members_of,
    orphans::is_first_of_namespace,
    stale, stop, write_file,
};

/// How long to wait until a guest that has just been started is in its cgroup, and until all its
/// processes stand still.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// What follows the name of an operation's cgroup in the name of init's; no operation's name has it.
const INIT_SUFFIX: &str = "+init";

/// How an operation was made to stand still.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Frozen {
    /// By the kernel's freezer: nothing inside can continue it.
    ByCgroup,
    /// By signals, because there is no freezer: a hostile guest can arrange to be continued.
    BySignals,
}

/// An operation cannot be frozen. It runs on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// Its processes are in no cgroup that can be frozen.
    #[error("its processes are in no cgroup that can be frozen: {reason}")]
    NoCgroup {
        /// Why not.
        reason: String,
    },
    /// It has no process any more, or none yet: its caller is at work, as when it commits the changes.
    #[error("it has no process to freeze: its changes are being settled")]
    NoGuest,
    /// Some of its processes did not stop in time: the kernel was in the middle of something.
    #[error("its processes did not stop in {} s", FREEZE_LIMIT.as_secs())]
    Busy,
    /// The kernel refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Where the members of one operation can be frozen.
#[derive(Debug)]
enum Freezer {
    Unified(PathBuf),
    Separate(PathBuf),
}

/// Freezes every process of the operation `name`, which the process `caller` carries out, but init.
/// Returns once all stand still; freezing what is frozen is no error.
///
/// # Errors
///
/// Fails when it has no process, when it cannot be told apart from others of the same caller without a
/// cgroup, and when some process does not stop; then all run on.
pub fn freeze(caller: u32, name: &str) -> Result<Frozen, FreezeError> {
    let deadline = Instant::now() + FREEZE_LIMIT;
    let Some((freezer, init)) = find(caller, name, deadline) else {
        return stop_only_guest(caller);
    };
    let frozen = freezer
        .write(true)
        .and_then(|()| freezer.settle(init, deadline))
        // Not before: a cgroup that came late sweeps into it whatever is outside.
        .and_then(|()| freezer.let_out(init));
    if frozen.is_err() {
        let _runs_on = freezer.write(false);
    }
    frozen.map(|()| Frozen::ByCgroup)
}

/// Stops the guest of `caller` by signals, if it has one only: no name tells several apart.
fn stop_only_guest(caller: u32) -> Result<Frozen, FreezeError> {
    match stop::guests_of(caller).as_slice() {
        [] => Err(FreezeError::NoGuest),
        [init] => {
            let stopped = stop::stop_below(*init, Instant::now() + FREEZE_LIMIT);
            if stopped {
                Ok(Frozen::BySignals)
            } else {
                stop::continue_below(*init);
                Err(FreezeError::Busy)
            }
        }
        [_, _, ..] => Err(FreezeError::NoCgroup {
            reason: format!("{}, and its caller runs others too", discover::no_freezer()),
        }),
    }
}

/// Lets every process of the operation go on. What is not there, or not frozen, is no error.
///
/// # Errors
///
/// Fails if the kernel refuses.
pub fn thaw(caller: u32, name: &str) -> Result<(), FreezeError> {
    let mut has_freezer = false;
    for freezer in Reach::of(caller).iter().filter_map(|it| it.find(name)) {
        has_freezer = true;
        freezer.let_in();
        freezer.write(false)?;
    }
    if let (false, [init]) = (has_freezer, stop::guests_of(caller).as_slice()) {
        stop::continue_below(*init);
    }
    Ok(())
}

/// Returns the first process of the operation `name`, which the process `caller` carries out; `None` if it has none now,
/// or cannot be told apart from others of the same caller without a cgroup.
pub fn first_process_of(caller: u32, name: &str) -> Option<u32> {
    let reach = Reach::of(caller);
    let freezer = reach.iter().find_map(|it| it.find(name));
    let init = freezer.as_ref().and_then(Freezer::init).or_else(|| {
        let guests = stop::guests_of(caller);
        let only = (guests.len() == 1).then(|| guests.first().copied());
        only.flatten()
    })?;
    Some(init.as_raw_nonzero().get().unsigned_abs())
}

/// Waits until the operation's init is in its cgroup: on version 1 it comes there a little late.
fn find(caller: u32, name: &str, deadline: Instant) -> Option<(Freezer, Pid)> {
    loop {
        let reach = Reach::of(caller);
        let found = reach.iter().find_map(|it| it.find(name));
        let init = found.as_ref().and_then(Freezer::init);
        if let (Some(freezer), Some(init)) = (found, init) {
            return Some((freezer, init));
        }
        if reach.is_empty() || Instant::now() >= deadline {
            return None;
        }
        pause();
    }
}

impl Reach {
    fn find(&self, name: &str) -> Option<Freezer> {
        let found = self.bases.iter().find_map(|base| {
            let entries = fs::read_dir(base).ok()?.flatten();
            let is_its = |directory: &str| {
                stale::parse_owner(directory).is_some_and(|owner| owner.pid == self.caller)
                    && stale::operation_of(directory) == Some(name)
            };
            entries
                .filter(|entry| entry.file_name().to_str().is_some_and(is_its))
                .map(|entry| entry.path())
                .next()
        })?;
        Some(if self.unified {
            Freezer::Unified(found)
        } else {
            Freezer::Separate(found)
        })
    }
}

impl Freezer {
    fn path(&self) -> &Path {
        match self {
            Self::Unified(path) | Self::Separate(path) => path,
        }
    }

    fn write(&self, frozen: bool) -> Result<(), FreezeError> {
        let (path, text) = match self {
            Self::Unified(path) => (path.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            Self::Separate(path) => (
                path.join("freezer.state"),
                if frozen { "FROZEN" } else { "THAWED" },
            ),
        };
        match write_file(&path, text) {
            // The operation has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !frozen => Ok(()),
            result => result.map_err(|source| FreezeError::Write { path, source }),
        }
    }

    fn stands_still(&self) -> bool {
        match self {
            Self::Unified(path) => super::counter(&path.join("cgroup.events"), "frozen") == 1,
            Self::Separate(path) => fs::read_to_string(path.join("freezer.state"))
                .is_ok_and(|state| state.trim() == "FROZEN"),
        }
    }

    /// Waits until all stand still, and none is outside.
    fn settle(&self, init: Pid, deadline: Instant) -> Result<(), FreezeError> {
        loop {
            let members = members_of(self.path());
            let mut tree = crate::launch::meter::descendants(init);
            // The dead are in no cgroup, however long nobody waits for them.
            tree.retain(|pid| *pid != init && !members.contains(pid) && !stop::is_dead(*pid));
            if tree.is_empty() && self.stands_still() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(FreezeError::Busy);
            }
            pause();
        }
    }

    /// Returns the operation's init, among the members or let out before: the one that is the first of its process
    /// namespace. (Its parent may be its caller or a session's keeper.)
    fn init(&self) -> Option<Pid> {
        let let_out = beside(self.path()).map(|path| members_of(&path));
        let members = members_of(self.path());
        let mut all = let_out.unwrap_or_default().into_iter().chain(members);
        all.find(|pid| is_first_of_namespace(pid.as_raw_nonzero().get().unsigned_abs()))
    }

    /// Moves init to a cgroup beside the frozen one; there it goes on.
    fn let_out(&self, init: Pid) -> Result<(), FreezeError> {
        let Some(path) = beside(self.path()) else {
            return Ok(());
        };
        let written = match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => write_file(
                &path.join("cgroup.procs"),
                &init.as_raw_nonzero().to_string(),
            ),
        };
        written.map_err(|source| FreezeError::Write { path, source })
    }

    /// Moves init back, if it is out.
    fn let_in(&self) {
        let Some(path) = beside(self.path()) else {
            return;
        };
        for init in members_of(&path) {
            // It may have ended meanwhile.
            let _back = super::write_member(self.path(), init);
        }
        let _removed = fs::remove_dir(&path);
    }
}

impl OperationCgroup {
    /// Whether somebody has frozen the members.
    pub(crate) fn is_frozen(&self) -> bool {
        let holds = |path: &Path, file: &str, thawed: &str| {
            fs::read_to_string(path.join(file)).is_ok_and(|state| state.trim() != thawed)
        };
        let unified = self.unified.as_ref();
        let separate = self.separate.get(&Controller::Freezer);
        unified.is_some_and(|unified| holds(&unified.path, "cgroup.freeze", "0"))
            || separate.is_some_and(|path| holds(path, "freezer.state", "THAWED"))
    }

    /// Lets killed members die: version 1 keeps them as they are until then.
    pub(crate) fn thaw_killed(&self) {
        self.freeze("THAWED");
    }
}

/// Removes what freezing has left beside an operation's cgroup.
pub(super) fn remove_beside(path: &Path) {
    if let Some(path) = beside(path) {
        let _mostly_not_there = fs::remove_dir(path);
    }
}

/// Returns where init goes while the cgroup `path` is frozen.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!("{name}{INIT_SUFFIX}")))
}

pub(super) fn pause() {
    let timeout = Timespec::try_from(LOOK_AGAIN).expect("a few milliseconds fit");
    // Timed out or interrupted: the caller looks again in each case.
    let _passed = poll(&mut [], Some(&timeout));
}
