//! How a guest ended, and what is told of it.

use std::time::Duration;

use sandbox_types::{ExitReason, LimitKind, ProcessUsage, Violation, ViolationKind};

use super::Confined;
use crate::{
    child::status::Unroutable,
    egress::Egress,
    launch::{Ended, NetworkActivity, recipe::disk_asked_for},
    sys::process::Accounted,
};

impl Confined {
    pub(super) fn exit_of(&self, status: i32, cpu: Duration) -> ExitReason {
        if self.own_limits.is_over_output() {
            return ExitReason::LimitExceeded(LimitKind::Output);
        }
        if libc::WIFEXITED(status) {
            return ExitReason::Exited(libc::WEXITSTATUS(status));
        }
        match libc::WTERMSIG(status) {
            libc::SIGKILL if self.meter.out_of_memory() => {
                ExitReason::LimitExceeded(LimitKind::Memory)
            }
            // The resource limit of one process is a second longer than what this side ends the tree for.
            libc::SIGKILL | libc::SIGXCPU if self.own_limits.is_over_cpu_time(cpu) => {
                ExitReason::LimitExceeded(LimitKind::CpuTime)
            }
            libc::SIGXFSZ => match (self.limits.file_size, disk_asked_for(&self.limits)) {
                (Some(file), Some(disk)) if disk.value < file.value => {
                    ExitReason::LimitExceeded(LimitKind::Disk)
                }
                (Some(_), _) => ExitReason::LimitExceeded(LimitKind::FileSize),
                (None, Some(_)) => ExitReason::LimitExceeded(LimitKind::Disk),
                (None, None) => ExitReason::Signaled(libc::SIGXFSZ),
            },
            signal => ExitReason::Signaled(signal),
        }
    }

    pub(super) fn ended(
        &mut self,
        exit: ExitReason,
        usage: ProcessUsage,
        unroutable: Unroutable,
    ) -> Ended {
        let mut enforcement = self.enforcement.clone();
        enforcement.cgroup = self.meter.kind();
        enforcement.missing.extend(self.meter.missing());
        let attempts = unroutable.ipv4 + unroutable.ipv6;
        let plural = if attempts == 1 { "" } else { "s" };
        let mut violations = if attempts == 0 {
            Vec::new()
        } else {
            vec![Violation {
                kind: ViolationKind::Network,
                detail: format!(
                    "{attempts} attempt{plural} to reach an address outside (no route)"
                ),
            }]
        };
        violations.extend(self.refused.violations());
        let activity = self.egress.as_mut().map(Egress::finish);
        let network = activity.map(|activity| {
            violations.extend(activity.violations);
            if let Some(why) = activity.unseen {
                enforcement.missing.push(format!(
                    "violations: connections to ports that no pattern names, and datagrams, are refused unseen: {why}"
                ));
            }
            if let Some(failure) = activity.failure {
                enforcement.missing.push(format!(
                    "network: its supervisor failed, and nothing was reached from then on: {failure}"
                ));
            }
            NetworkActivity {
                report: activity.report,
                received_bytes: activity.bytes.0,
                sent_bytes: activity.bytes.1,
            }
        });
        Ended {
            exit,
            usage,
            network,
            limits_reached: if self.meter.refused_processes() {
                vec![LimitKind::Processes]
            } else {
                Vec::new()
            },
            violations,
            enforcement,
        }
    }
}

pub(super) fn usage_of(used: Accounted) -> ProcessUsage {
    ProcessUsage {
        cpu: used.cpu,
        memory_largest_bytes: used.memory_largest_bytes,
        io_read_bytes: used.io_read_bytes,
        io_write_bytes: used.io_write_bytes,
    }
}
