//! Limits that no mechanism of the kernel ends a tree of processes for: this side counts, and ends it.

use std::{fs, time::Duration};

use rustix::process::Pid;
use sandbox_types::{LimitKind, Limits};

use super::meter::{Meter, descendants};

/// What a host without cgroups cannot count.
pub(super) const SAMPLED_CPU_TIME: &str =
    "the cpu_time limit: no cgroup counts, so processes that nobody waits for are not in the sum";
/// The unit of `/proc/<pid>/stat`: `USER_HZ` is 100 on all architectures that we run on.
const TICK: Duration = Duration::from_millis(10);

/// What is counted on this side.
#[derive(Debug)]
pub(crate) struct OwnLimits {
    cpu_time: Option<Duration>,
    output: Option<u64>,
    printed: u64,
}

impl OwnLimits {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            cpu_time: limits.cpu_time.map(|limit| limit.value),
            output: limits.output_total.map(|limit| limit.value.get()),
            printed: 0,
        }
    }

    /// Counts what was printed.
    pub(super) fn print(&mut self, bytes: &[u8]) {
        self.printed = self.printed.saturating_add(bytes.len() as u64);
    }

    /// Whether more was printed than may be.
    pub(super) fn is_over_output(&self) -> bool {
        self.output.is_some_and(|limit| self.printed > limit)
    }

    /// Whether that much CPU time is more than may be used.
    pub(super) fn is_over_cpu_time(&self, used: Duration) -> bool {
        self.cpu_time.is_some_and(|limit| used >= limit)
    }

    /// Returns the limit that the tree below `init` is over. CPU time is looked at when `is_tick`.
    pub(super) fn exceeded(
        &self,
        meter: &Meter,
        init: Option<Pid>,
        is_tick: bool,
    ) -> Option<LimitKind> {
        if self.is_over_output() {
            return Some(LimitKind::Output);
        }
        if !is_tick || self.cpu_time.is_none() {
            return None;
        }
        let used = meter
            .cpu_time_counted()
            .or_else(|| init.map(sampled_cpu_time))?;
        self.is_over_cpu_time(used).then_some(LimitKind::CpuTime)
    }
}

/// Adds up what the living have used, and what those had used that they have waited for.
fn sampled_cpu_time(init: Pid) -> Duration {
    let ticks = descendants(init).into_iter().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        cpu_ticks(&stat)
    });
    let ticks = ticks.fold(0_u32, u32::saturating_add);
    TICK.saturating_mul(ticks)
}

/// Returns utime + stime + cutime + cstime, fields 14 to 17 of `/proc/<pid>/stat`.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields = after_name.split_whitespace().skip(14 - 3).take(4);
    let ticks = fields.map(|field| field.parse::<u32>().unwrap_or(u32::MAX));
    Some(ticks.fold(0, u32::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 10 20 300 4000 20 0 1 0 424242 0 0";
        assert_eq!(cpu_ticks(stat), Some(4330));
        assert_eq!(cpu_ticks("garbage"), None);
    }
}
