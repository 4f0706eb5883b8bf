//! Ends an operation's cgroups: kills what is left inside, then removes the directories.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{CgroupError, Controller, OperationCgroup, freeze, value_of, write_file};

/// How long to wait for processes that are being killed, at most: on a busy machine the kernel takes its time.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait for one of them before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

impl OperationCgroup {
    /// Returns those of `processes` that are not in every one of the operation's cgroups.
    pub(crate) fn without_membership(&self, mut processes: Vec<Pid>) -> Vec<Pid> {
        let members: Vec<Vec<Pid>> = self.all_paths().into_iter().map(members_of).collect();
        processes.retain(|pid| members.iter().any(|members| !members.contains(pid)));
        processes
    }

    /// Returns the processes in any of the operation's cgroups.
    pub(crate) fn members(&self) -> Vec<Pid> {
        let mut members: Vec<Pid> = self.all_paths().into_iter().flat_map(members_of).collect();
        members.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        members.dedup();
        members
    }

    /// Kills all members, also those that are being forked meanwhile.
    ///
    /// # Errors
    /// Fails if the kernel does not take the request, or if members are alive after two seconds.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "so far the death of the process namespace kills all members"
        )
    )]
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        for path in self.all_paths() {
            let kill = path.join("cgroup.kill");
            if kill.exists() {
                write_file(&kill, "1").map_err(|source| kill_error(path, source))?;
            }
        }
        // Whoever is in no cgroup that can kill: stopped first where that is possible, so that
        // nobody forks faster than we signal.
        self.freeze("FROZEN");
        self.signal_members();
        self.freeze("THAWED");
        let deadline = Instant::now() + LEAVE_LIMIT;
        while let Some(member) = self.members().first() {
            if Instant::now() >= deadline {
                let paths = self.all_paths();
                let path = paths.first().copied().unwrap_or(Path::new(""));
                return Err(kill_error(path, io::ErrorKind::TimedOut.into()));
            }
            self.signal_members();
            wait_for_exit(*member);
        }
        Ok(())
    }

    /// Removes the directories; may be called again after an error.
    ///
    /// # Errors
    /// Fails if members are alive after two seconds; the directories that are left can be removed later.
    pub(crate) fn remove(&mut self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + LEAVE_LIMIT;
        for path in self.all_paths() {
            freeze::remove_beside(path);
            remove_directory(path, deadline).map_err(|source| CgroupError::Remove {
                path: path.to_owned(),
                source,
            })?;
        }
        self.unified = None;
        self.separate.clear();
        Ok(())
    }

    /// Stops or continues all members, where version 1 can; it only helps, so failing is no error.
    pub(super) fn freeze(&self, state: &str) {
        if let Some(path) = self.separate.get(&Controller::Freezer) {
            drop(write_file(&path.join("freezer.state"), state));
        }
    }

    /// Sends `SIGKILL` to each member. A process that has just ended is no error.
    fn signal_members(&self) {
        for pid in self.members() {
            // The number may belong to another process by now: hold on to it, then look again.
            if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
                && self.members().contains(&pid)
            {
                let _gone_or_sent = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

fn kill_error(path: &Path, source: io::Error) -> CgroupError {
    CgroupError::Kill {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn members_of(path: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // Processes outside of our process namespace are listed as 0.
    text.lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect()
}

/// Removes one cgroup, waiting for leaving members up to `deadline`.
fn remove_directory(path: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(error),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => wait_until_empty(path),
        }
    }
}

/// Waits a little for the last member of `path` to leave.
fn wait_until_empty(path: &Path) {
    // Version 2 wakes pollers of this file when the last member leaves.
    if let Ok(events) = File::open(path.join("cgroup.events")) {
        let populated = io::read_to_string(&events)
            .ok()
            .and_then(|text| value_of(&text, "populated"));
        if populated == Some(1) {
            let flags = PollFlags::PRI | PollFlags::ERR;
            wait(&mut [PollFd::new(&events, flags)]);
        }
    } else if let Some(member) = members_of(path).first() {
        wait_for_exit(*member);
    }
    // Between a member's end and the end of its membership there is nothing to wait for.
    std::thread::yield_now();
}

/// Waits a little for a process to end.
pub(super) fn wait_for_exit(pid: Pid) {
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        wait(&mut [PollFd::new(&process, PollFlags::IN)]);
    }
}

fn wait(fds: &mut [PollFd<'_>]) {
    let timeout = Timespec::try_from(LOOK_AGAIN).expect("a few milliseconds fit");
    // Woken, timed out or interrupted: the caller looks again in each case.
    let _woken = poll(fds, Some(&timeout));
}
