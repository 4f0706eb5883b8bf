//! Tells whether the process that wrote something is still there.

use std::{fs, process};

use serde::{Deserialize, Serialize};

/// Where the fields of `/proc/PID/stat` stand, counted from the one after the program's name: fields 3, 20 and 22 of
/// `proc_pid_stat(5)`.
const STATE_FIELD: usize = 0;
const THREADS_FIELD: usize = 17;
const START_TIME_FIELD: usize = 19;

/// One process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl ProcessMark {
    pub(crate) fn of_this() -> Self {
        let pid = process::id();
        Self {
            pid,
            started: Stat::of(pid).map_or(0, |it| it.started),
        }
    }

    /// Returns whether that process still runs. One that has ended and was not waited for yet does not: its locks are
    /// gone, and it will do nothing more.
    pub fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|it| it.started == self.started && !it.has_ended)
    }
}

struct Stat {
    started: u64,
    has_ended: bool,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, also a parenthesis: the fields begin after the last one.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let threads: u64 = fields.get(THREADS_FIELD)?.parse().ok()?;
        // A first thread that has ended is a zombie, too, and the others go on.
        let is_zombie = matches!(*fields.get(STATE_FIELD)?, "Z" | "X");
        Some(Self {
            started: fields.get(START_TIME_FIELD)?.parse().ok()?,
            has_ended: is_zombie && threads <= 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "no guest: a process to look at")]
    fn a_process_that_has_ended_is_not_alive_before_it_is_waited_for() {
        let mut child = Command::new("cat")
            .stdin(process::Stdio::piped())
            .spawn()
            .unwrap();
        let mark = ProcessMark {
            pid: child.id(),
            started: Stat::of(child.id()).unwrap().started,
        };
        assert!(mark.is_alive());
        child.kill().unwrap();
        let pid = Pid::from_child(&child);
        waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(
            Stat::of(child.id()).is_some(),
            "the control: it is still listed"
        );
        assert!(!mark.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn a_later_process_with_the_same_number_is_another_one() {
        let this = ProcessMark::of_this();
        assert!(this.is_alive());
        let earlier = ProcessMark {
            started: this.started - 1,
            ..this
        };
        assert!(!earlier.is_alive());
    }
}
