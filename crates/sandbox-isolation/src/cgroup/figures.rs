//! What an operation's cgroups have counted.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Controller, OperationCgroup, counter, value_of};

impl OperationCgroup {
    /// Whether the kernel killed a member because the memory limit was reached.
    pub(crate) fn out_of_memory(&self) -> bool {
        let Some(path) = self.path_of(Controller::Memory) else {
            return false;
        };
        let file = if self.is_unified(Controller::Memory) {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        match (fs::read_to_string(path.join(file)), &self.above) {
            (Err(_), Some(above)) => above.has_killed(),
            (text, _) => value_of(&text.unwrap_or_default(), "oom_kill") > Some(0),
        }
    }

    /// Returns the CPU time of all members, also of those that have ended.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let unified = self.unified.as_ref().and_then(|unified| {
            let text = fs::read_to_string(unified.path.join("cpu.stat")).ok()?;
            value_of(&text, "usage_usec").map(Duration::from_micros)
        });
        unified.or_else(|| {
            let path = self.separate.get(&Controller::CpuAccounting)?;
            let text = fs::read_to_string(path.join("cpuacct.usage")).ok()?;
            text.trim().parse().ok().map(Duration::from_nanos)
        })
    }

    /// Whether a member was refused a new process or thread.
    pub(crate) fn pids_exceeded(&self) -> bool {
        self.path_of(Controller::Pids)
            .is_some_and(|path| counter(&path.join("pids.events"), "max") > 0)
    }
}

/// What the cgroup above an operation's scope counted before: kills of all below it, also of what is gone. systemd
/// removes a scope as soon as it is empty, which may be before anybody has read its own counts.
#[derive(Debug)]
pub(super) struct Above {
    events: PathBuf,
    kills_before: u64,
}

impl Above {
    /// Looks at what lies above `scope`.
    pub(super) fn of(scope: &Path) -> Option<Self> {
        let events = scope.parent()?.join("memory.events");
        let text = fs::read_to_string(&events).ok()?;
        Some(Self {
            kills_before: value_of(&text, "oom_kill")?,
            events,
        })
    }

    /// Whether the kernel killed for lack of memory since. That may have been another one's process: only ask if this
    /// operation was killed and its cgroup is gone.
    fn has_killed(&self) -> bool {
        counter(&self.events, "oom_kill") > self.kills_before
    }
}
