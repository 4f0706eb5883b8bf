//! Watches one operation while it runs: samples for the history, alerts from thresholds.
//!
//! Knows no clock and writes nothing: whoever runs the operation says how long it has been running,
//! and puts records and alerts where they belong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sandbox_types::{Alert, AlertMetric, OperationId, Severity};

use crate::{
    history::{GuestProcess, UsageRecord, milliseconds, operation_mark, small, whole},
    meter::Reading,
    stats::float,
    threshold::{AlertChange, Thresholds, Turn, Watchdog},
};

#[cfg(test)]
mod tests;

/// From here on an alert is critical, in percent of what is allowed.
const CRITICAL_PERCENT: f64 = 95.0;

/// What an operation is allowed to use: 100 percent, for thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// CPU time in percent of one core.
    pub cpu: Allowed,
    /// Memory in bytes.
    pub memory: Allowed,
}

/// An amount, and who set it.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// How much.
    pub amount: f64,
    /// In words, as in `the memory limit`.
    pub by: String,
}

/// Watches one operation.
#[derive(Debug)]
pub struct Vigil {
    operation: u64,
    started_at: Timestamp,
    interval: Duration,
    next_at: Duration,
    allowance: Allowance,
    watchdogs: [(AlertMetric, Watchdog); 2],
    /// Indices into `alerts` of those that have not ended.
    active: [Option<usize>; 2],
    alerts: Vec<Alert>,
    last: (Duration, Reading),
    recorded: UsageRecord,
}

/// What one sample says.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// For the history.
    pub record: UsageRecord,
    /// Alerts that began or ended.
    pub changes: Vec<AlertChange>,
}

/// What is known when the operation has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// All alerts, ended.
    pub alerts: Vec<Alert>,
    /// Those that ended only now.
    pub changes: Vec<AlertChange>,
    /// What the samples have already: the record of the end has the rest.
    pub recorded: UsageRecord,
}

impl Vigil {
    /// Begins to watch. The first sample is due at once, the others every `interval`.
    pub fn new(
        id: &OperationId,
        started_at: Timestamp,
        interval: Duration,
        thresholds: Thresholds,
        allowance: Allowance,
    ) -> Self {
        let watchdog = |threshold| Watchdog::new(threshold, thresholds.hold);
        Self {
            operation: operation_mark(id),
            started_at,
            interval,
            next_at: Duration::ZERO,
            allowance,
            watchdogs: [
                (AlertMetric::Cpu, watchdog(thresholds.cpu_percent)),
                (AlertMetric::Memory, watchdog(thresholds.memory_percent)),
            ],
            active: [None; 2],
            alerts: Vec::new(),
            last: Default::default(),
            recorded: UsageRecord::default(),
        }
    }

    /// Returns whether a sample is due when the operation has been running for `elapsed`.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.next_at
    }

    /// Takes a sample.
    pub fn observe(
        &mut self,
        elapsed: Duration,
        guest: Option<GuestProcess>,
        reading: Reading,
    ) -> Observed {
        let now = self.time(elapsed);
        let (before, last) = std::mem::replace(&mut self.last, (elapsed, reading));
        let span = elapsed.saturating_sub(before);
        let cpu = reading.cpu.saturating_sub(last.cpu);
        let mut changes = Vec::new();
        let values = [
            percent(
                100.0 * cpu.as_secs_f64() / span.as_secs_f64(),
                &self.allowance.cpu,
            ),
            percent(float(reading.memory_held_bytes), &self.allowance.memory),
        ];
        for (at, value) in values.into_iter().enumerate() {
            changes.extend(self.compare(at, elapsed, value));
        }
        let raised = changes
            .iter()
            .filter(|it| matches!(it, AlertChange::Raised(_)));
        let record = UsageRecord {
            operation: self.operation,
            at_ms: milliseconds(now),
            guest,
            samples: 1,
            alerts: small(raised.count() as u64),
            tasks_peak: small(reading.tasks),
            span_us: whole(span.as_secs_f64() * 1e6),
            cpu_us: whole(cpu.as_secs_f64() * 1e6),
            io_read_bytes: reading.io_read_bytes.saturating_sub(last.io_read_bytes),
            io_write_bytes: reading.io_write_bytes.saturating_sub(last.io_write_bytes),
            memory_peak_bytes: reading.memory_bytes,
            ..UsageRecord::default()
        };
        self.recorded.add(&record);
        self.next_at = elapsed + self.interval;
        Observed { record, changes }
    }

    /// Ends the watch, and with it every alert.
    pub fn end(mut self, elapsed: Duration) -> Watched {
        let now = self.time(elapsed);
        let changes = self.active.into_iter().flatten().map(|at| {
            self.alerts[at].resolved_at = Some(now);
            AlertChange::Resolved(self.alerts[at].clone())
        });
        let changes = changes.collect();
        Watched {
            alerts: self.alerts,
            changes,
            recorded: self.recorded,
        }
    }

    fn compare(&mut self, at: usize, elapsed: Duration, value: f64) -> Option<AlertChange> {
        let (metric, watchdog) = &mut self.watchdogs[at];
        let turn = watchdog.observe(elapsed, value);
        let (metric, threshold) = (*metric, watchdog.threshold);
        if let Some(active) = self.active[at] {
            let peak = &mut self.alerts[active].peak_percent;
            *peak = peak.max(rounded(value));
        }
        match turn? {
            Turn::Raised(since) => {
                let allowed = match metric {
                    AlertMetric::Cpu => &self.allowance.cpu,
                    AlertMetric::Memory => &self.allowance.memory,
                };
                let alert = Alert {
                    metric,
                    severity: if value >= CRITICAL_PERCENT {
                        Severity::Critical
                    } else {
                        Severity::Warning
                    },
                    value_percent: rounded(value),
                    peak_percent: rounded(value),
                    threshold_percent: threshold,
                    allowed: allowed.by.clone(),
                    since: self.time(since),
                    resolved_at: None,
                };
                self.active[at] = Some(self.alerts.len());
                self.alerts.push(alert.clone());
                Some(AlertChange::Raised(alert))
            }
            Turn::Resolved => {
                let active = self.active[at].take()?;
                self.alerts[active].resolved_at = Some(self.time(elapsed));
                Some(AlertChange::Resolved(self.alerts[active].clone()))
            }
        }
    }

    fn time(&self, elapsed: Duration) -> Timestamp {
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        self.started_at
            .checked_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }
}

/// Returns a use in percent of what is allowed; of nothing, no number.
fn percent(used: f64, allowed: &Allowed) -> f64 {
    if allowed.amount <= 0.0 {
        return f64::NAN;
    }
    100.0 * used / allowed.amount
}

fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}
