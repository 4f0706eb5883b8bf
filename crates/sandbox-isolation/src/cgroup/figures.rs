//! What an operation's cgroups have counted.

use std::{fs, time::Duration};

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
        counter(&path.join(file), "oom_kill") > 0
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
