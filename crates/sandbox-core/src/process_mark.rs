//! Tells whether the process that wrote something is still there.

use std::{fs, process};

use serde::{Deserialize, Serialize};

/// Where the start time stands in `/proc/PID/stat`, counted from the field after the program's name:
/// field 22 of `proc_pid_stat(5)`.
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
            started: start_time(pid).unwrap_or_default(),
        }
    }

    /// Returns whether that process is still there.
    pub fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, also a parenthesis: the fields begin after the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(START_TIME_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
