//! Tells whether the process that wrote something is still there.

use std::{fmt, fs, process, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where the fields of `/proc/PID/stat` stand, counted from the one after the program's name: fields 3, 20 and 22 of
/// `proc_pid_stat(5)`.
const STATE_FIELD: usize = 0;
const THREADS_FIELD: usize = 17;
const START_TIME_FIELD: usize = 19;

/// Which start of the machine this is; a container has the one of its host. Not known where `/proc` does not say it.
static THIS_BOOT: LazyLock<Option<BootId>> =
    LazyLock::new(|| BootId::parse(fs::read_to_string(BOOT_ID).ok()?.trim()));

/// Names one start of a machine: a UUID of the kernel's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(u128);

impl BootId {
    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split('-').collect();
        let number = u128::from_str_radix(&digits, 16).ok().map(Self)?;
        (number.to_string() == text).then_some(number)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let ends = [8, 12, 16, 20, 32];
        let starts = [0, 8, 12, 16, 20];
        for (start, end) in starts.into_iter().zip(ends) {
            let dash = if start == 0 { "" } else { "-" };
            write!(f, "{dash}{}", &digits[start..end])?;
        }
        Ok(())
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BootId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the name of a start of a machine")
    }
}

/// One process, told apart from a later one with the same number, also from one after the machine was started anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
    /// Which start of the machine that was; absent in what earlier versions wrote, and where the kernel does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
}

impl ProcessMark {
    pub(crate) fn of_this() -> Self {
        let pid = process::id();
        Self {
            pid,
            started: Stat::of(pid).map_or(0, |it| it.started),
            boot: *THIS_BOOT,
        }
    }

    /// Returns whether that process still runs. One that has ended and was not waited for yet does not: its locks are
    /// gone, and it will do nothing more. No process of an earlier start of the machine runs.
    pub fn is_alive(self) -> bool {
        let ended_with_the_machine = match (self.boot, *THIS_BOOT) {
            (Some(then), Some(now)) => then != now,
            (None, _) | (_, None) => false,
        };
        !ended_with_the_machine
            && Stat::of(self.pid).is_some_and(|it| it.started == self.started && !it.has_ended)
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
            boot: *THIS_BOOT,
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

    #[test]
    fn a_process_before_the_machine_was_started_anew_is_another_one() {
        let this = ProcessMark::of_this();
        assert_eq!(this.boot, *THIS_BOOT, "the control: it is known here");
        assert!(this.boot.is_some());
        let before = ProcessMark {
            boot: Some(BootId(0)),
            ..this
        };
        assert!(!before.is_alive(), "although number and ticks are the same");
    }

    #[test]
    fn what_earlier_versions_wrote_is_read_and_tells_the_process_as_they_did() {
        let this = ProcessMark::of_this();
        let text = format!(r#"{{"pid":{},"started":{}}}"#, this.pid, this.started);
        let read: ProcessMark = serde_json::from_str(&text).unwrap();
        let now = serde_json::to_string(&this).unwrap();
        assert_eq!(serde_json::from_str::<ProcessMark>(&now).unwrap(), this);
        assert_eq!(read, ProcessMark { boot: None, ..this });
        assert!(read.is_alive());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let later = ProcessMark {
            started: read.started + 1,
            ..read
        };
        assert!(!later.is_alive());
    }
}
