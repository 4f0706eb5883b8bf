//! What goes along with one operation from its start to its record: samples, alerts, remains.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandbox_isolation::Running;
use sandbox_monitor::{
    AlertChange, Allowance, Allowed, HistoryWriteError, OperationMeter, StateTracker, Thresholds,
    UsageRecord, Vigil, Watched,
};
use sandbox_types::{Bytes, Limits, OperationId, OperationReport, causes};

use crate::{ledger, orders::KillOrder, sandbox::Sandbox};

/// One operation's course. Nothing of it costs a short operation more than its making: the first
/// sample is taken when the guest has run for a moment.
pub(crate) struct Course {
    pub(crate) started_at: Timestamp,
    pub(crate) clock: Instant,
    /// What the kernel still has to take down.
    pub(crate) remains: Option<Box<dyn Running>>,
    pub(crate) watched: Watched,
    /// What could not be written down, for the report.
    pub(crate) unwritten: Vec<String>,
    /// Who ended it from another process, if somebody did.
    pub(crate) killed: Option<KillOrder>,
}

impl Course {
    pub(crate) fn new(started_at: Timestamp, clock: Instant) -> Self {
        Self {
            started_at,
            clock,
            remains: None,
            watched: Watched::default(),
            unwritten: Vec::new(),
            killed: None,
        }
    }

    /// Returns the time by the clock of the operation.
    pub(crate) fn now(&self) -> Timestamp {
        self.started_at + self.clock.elapsed()
    }

    /// Completes a report with what was seen on the way.
    pub(crate) fn complete(&mut self, mut report: OperationReport) -> OperationReport {
        report.alerts.clone_from(&self.watched.alerts);
        report
            .error
            .extend(self.killed.as_ref().map(ToString::to_string));
        report.enforcement.missing.append(&mut self.unwritten);
        report
    }
}

/// Takes samples of a running operation, and writes them and its alerts down.
pub(crate) struct Sampler<'a> {
    sandbox: &'a Sandbox,
    operation: &'a OperationId,
    limits: Limits,
    started_at: Timestamp,
    clock: Instant,
    vigil: Option<Vigil>,
    unwritten: Vec<String>,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(
        sandbox: &'a Sandbox,
        operation: &'a OperationId,
        limits: &Limits,
        course: &Course,
    ) -> Self {
        Self {
            sandbox,
            operation,
            limits: limits.clone(),
            started_at: course.started_at,
            clock: course.clock,
            vigil: None,
            unwritten: Vec::new(),
        }
    }

    /// Returns the file that is there while the sandbox is suspended.
    pub(crate) fn suspension_file(&self) -> PathBuf {
        self.sandbox.suspension_file()
    }

    /// Takes a sample if one is due.
    pub(crate) fn tick(&mut self, meter: &mut OperationMeter) {
        let elapsed = self.clock.elapsed();
        let vigil = self.vigil.get_or_insert_with(|| {
            let interval = self.sandbox.collection_interval();
            Vigil::new(
                self.operation,
                self.started_at,
                interval,
                self.sandbox.thresholds(interval),
                allowance(&self.limits),
            )
        });
        if !vigil.is_due(elapsed) {
            return;
        }
        let observed = vigil.observe(elapsed, meter.guest(), meter.reading());
        let written = self.sandbox.tracker().append(&observed.record);
        self.unwritten.extend(unwritten(written));
        self.announce(&observed.changes, elapsed);
    }

    /// Ends every alert.
    pub(crate) fn end(mut self) -> (Watched, Vec<String>) {
        let elapsed = self.clock.elapsed();
        let watched = self.vigil.take().map(|vigil| vigil.end(elapsed));
        let watched = watched.unwrap_or_default();
        self.announce(&watched.changes, elapsed);
        (watched, self.unwritten)
    }

    fn announce(&mut self, changes: &[AlertChange], elapsed: Duration) {
        let now = self.started_at + elapsed;
        for change in changes {
            let written = ledger::alert(self.sandbox.journal(), self.operation, change, now);
            let sentence = |error| format!("the record of an alert: {}", causes(&error).join(": "));
            self.unwritten.extend(written.err().map(sentence));
        }
    }
}

impl Sandbox {
    /// Returns the usage history.
    pub(crate) fn tracker(&self) -> StateTracker {
        StateTracker::open(&self.directory())
    }

    /// Adds the end of an operation to the usage history; returns what to say if that fails.
    pub(crate) fn track_end(
        &self,
        report: &OperationReport,
        recorded: &UsageRecord,
    ) -> Option<String> {
        unwritten(
            self.tracker()
                .append(&UsageRecord::of_end(report, recorded)),
        )
    }

    /// Adds the ends of operations whose process was killed, unless they are there: it may have been
    /// killed just after that. What they used since their last sample is not known.
    pub(crate) fn track_killed(&self, ids: &[OperationId], now: Timestamp) {
        let tracker = self.tracker();
        for id in ids {
            // A history that cannot be read or written is a finding of the health check.
            let records = tracker.operation(id).unwrap_or_default();
            if records.iter().all(|record| record.outcomes.total() == 0) {
                let _kept = tracker.append(&UsageRecord::of_killed(id, now, &records));
            }
        }
    }

    fn collection_interval(&self) -> Duration {
        seconds(self.config.monitoring_config.collection_interval, 30)
    }

    fn thresholds(&self, hold: Duration) -> Thresholds {
        let thresholds = &self.config.monitoring_config.resource_thresholds;
        let percent = |value: Option<i64>| {
            let value = value.and_then(|it| u32::try_from(it).ok());
            value.map_or(80.0, f64::from)
        };
        Thresholds {
            cpu_percent: percent(thresholds.cpu_percent),
            memory_percent: percent(thresholds.memory_percent),
            hold,
        }
    }
}

/// Returns a number of seconds of the configuration, which has been checked.
pub(crate) fn seconds(configured: Option<i64>, built_in: u64) -> Duration {
    let configured = configured.and_then(|it| u64::try_from(it).ok());
    Duration::from_secs(configured.unwrap_or(built_in))
}

fn unwritten(written: Result<(), HistoryWriteError>) -> Option<String> {
    let error = written.err()?;
    Some(format!("the usage history: {}", causes(&error).join(": ")))
}

/// Returns what 100 percent are: the limits, and the host where there is none.
fn allowance(limits: &Limits) -> Allowance {
    let host = StateTracker::host().ok();
    let cpu = match limits.cpu_percent {
        Some(limit) => Allowed {
            amount: f64::from(limit.value),
            by: format!("the CPU limit of {} %", limit.value),
        },
        None => Allowed {
            amount: host.as_ref().map_or(0.0, |host| {
                100.0 * f64::from(u32::try_from(host.cpu_count).unwrap_or(u32::MAX))
            }),
            by: "all CPUs of the host".to_owned(),
        },
    };
    let memory = match limits.memory {
        Some(limit) => Allowed {
            amount: amount(limit.value),
            by: format!("the memory limit of {}", limit.value),
        },
        None => Allowed {
            amount: host.map_or(0.0, |host| amount(Bytes(host.memory_total_bytes))),
            by: "the memory of the host".to_owned(),
        },
    };
    Allowance { cpu, memory }
}

#[expect(clippy::cast_precision_loss, reason = "a share of it is what matters")]
fn amount(bytes: Bytes) -> f64 {
    bytes.get() as f64
}
