//! What the journal of a sandbox says: one type for each kind of record.

use jiff::Timestamp;
use sandbox_monitor::{AlertChange, HealthState};
use sandbox_state::{AppendError, Journal};
use sandbox_types::{
    Alert, CapturedOutput, OperationId, OperationReport, ReportedOperation, Verdict,
    change::CHANGED_PATHS_LISTED_MAX,
};
use serde::{Deserialize, Serialize};

use crate::process_mark::ProcessMark;

/// An operation was cleared and is about to start.
pub(crate) const STARTED: &str = "operation.started";
/// An operation ended; the payload is its report.
pub(crate) const FINISHED: &str = "operation.finished";
/// An operation's process was killed before its changes were committed: they were dropped.
pub(crate) const DROPPED: &str = "operation.dropped";
/// An operation's process was killed while it committed or just after: the changes are in the
/// workspace.
pub(crate) const COMPLETED: &str = "operation.completed";
/// A held transaction was committed.
pub(crate) const COMMITTED: &str = "review.committed";
/// A held transaction was discarded.
pub(crate) const DISCARDED: &str = "review.discarded";
/// The changes of an operation were put back.
pub(crate) const UNDONE: &str = "operation.undone";
/// An operation used more than its threshold; the payload names both.
pub(crate) const ALERT_RAISED: &str = "alert.raised";
/// That ended, or the operation did.
pub(crate) const ALERT_RESOLVED: &str = "alert.resolved";
/// A health check is repaired now.
pub(crate) const RECOVERY_BEGUN: &str = "recovery.begun";
/// A health check was repaired: it was run again, and is healthy.
pub(crate) const RECOVERY_DONE: &str = "recovery.done";
/// A health check was not repaired.
pub(crate) const RECOVERY_FAILED: &str = "recovery.failed";
/// The state of a health check is another one than at the last look.
pub(crate) const HEALTH_CHANGED: &str = "health.changed";
/// A sandbox was made.
pub(crate) const CREATED: &str = "sandbox.created";
/// A sandbox was destroyed.
pub(crate) const DESTROYED: &str = "sandbox.destroyed";

/// The most bytes of each output stream that the journal keeps.
const OUTPUT_KEPT_BYTES: usize = 64 * 1024;

/// The payload of every record that only names an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) operation: OperationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// The payload of [`STARTED`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) operation: ReportedOperation,
    /// What the judge said, for the report of an operation whose process is killed.
    pub(crate) verdict: Verdict,
    /// Who carries it out: an operation without an end is running as long as that process is there.
    pub(crate) process: ProcessMark,
}

pub(crate) fn started(
    journal: &Journal,
    operation: ReportedOperation,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), AppendError> {
    let started = Started {
        operation,
        verdict: verdict.clone(),
        process: ProcessMark::of_this(),
    };
    journal.append(STARTED, now, &started).map(drop)
}

/// Records a report; of its output only the beginning. One that is too large for the journal is
/// recorded without what makes it large: that the operation ended matters more than its details.
pub(crate) fn finished(
    journal: &Journal,
    report: &OperationReport,
    now: Timestamp,
) -> Result<(), AppendError> {
    let too_long = |stream: &CapturedOutput| stream.data.len() > OUTPUT_KEPT_BYTES;
    let appended = if too_long(&report.stdout) || too_long(&report.stderr) {
        let mut kept = report.clone();
        for stream in [&mut kept.stdout, &mut kept.stderr] {
            let whole = whole_characters(&stream.data, OUTPUT_KEPT_BYTES);
            stream.data.truncate(whole);
        }
        journal.append(FINISHED, now, &kept)
    } else {
        journal.append(FINISHED, now, report)
    };
    match appended {
        Err(AppendError::TooLarge { .. }) => journal.append(FINISHED, now, &reduced(report)),
        appended => appended,
    }
    .map(drop)
}

/// Returns the report without its output, and with at most [`CHANGED_PATHS_LISTED_MAX`] of each of
/// its lists.
pub(crate) fn reduced(report: &OperationReport) -> OperationReport {
    let mut kept = report.clone();
    kept.stdout.data.clear();
    kept.stderr.data.clear();
    let changes = &mut kept.changes;
    let cut = [
        cut(&mut changes.paths),
        cut(&mut changes.held_because),
        cut(&mut changes.notices),
        cut(&mut kept.violations),
        cut(&mut kept.verdict.findings),
        cut(&mut kept.verdict.commands),
    ];
    changes.truncated |= cut.contains(&true);
    kept
}

/// Cuts a list, and returns whether there was something to cut.
fn cut<T>(list: &mut Vec<T>) -> bool {
    let too_long = list.len() > CHANGED_PATHS_LISTED_MAX;
    list.truncate(CHANGED_PATHS_LISTED_MAX);
    too_long
}

pub(crate) fn about(
    journal: &Journal,
    kind: &str,
    operation: &OperationId,
    note: Option<String>,
    now: Timestamp,
) -> Result<(), AppendError> {
    journal
        .append(
            kind,
            now,
            &About {
                operation: operation.clone(),
                note,
            },
        )
        .map(drop)
}

/// The payload of [`ALERT_RAISED`] and [`ALERT_RESOLVED`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AlertOf {
    pub(crate) operation: OperationId,
    pub(crate) alert: Alert,
}

pub(crate) fn alert(
    journal: &Journal,
    operation: &OperationId,
    change: &AlertChange,
    now: Timestamp,
) -> Result<(), AppendError> {
    let (kind, alert) = match change {
        AlertChange::Raised(alert) => (ALERT_RAISED, alert.clone()),
        AlertChange::Resolved(alert) => (ALERT_RESOLVED, alert.clone()),
    };
    let operation = operation.clone();
    journal
        .append(kind, now, &AlertOf { operation, alert })
        .map(drop)
}

/// The payload of [`RECOVERY_BEGUN`], [`RECOVERY_DONE`] and [`RECOVERY_FAILED`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecoveryOf {
    /// The health check.
    pub(crate) check: String,
    /// How often it was tried since it last helped, this time included.
    pub(crate) attempt: u32,
    /// What is to be done, was done, or failed.
    pub(crate) detail: String,
}

pub(crate) fn recovery(
    journal: &Journal,
    kind: &str,
    payload: &RecoveryOf,
    now: Timestamp,
) -> Result<(), AppendError> {
    journal.append(kind, now, payload).map(drop)
}

/// The payload of [`HEALTH_CHANGED`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HealthOf {
    /// The health check.
    pub(crate) check: String,
    pub(crate) from: HealthState,
    pub(crate) to: HealthState,
    pub(crate) detail: String,
}

pub(crate) fn health_changed(
    journal: &Journal,
    payload: &HealthOf,
    now: Timestamp,
) -> Result<(), AppendError> {
    journal.append(HEALTH_CHANGED, now, payload).map(drop)
}

/// Returns the largest length up to `limit` that does not cut a UTF-8 character.
pub(crate) fn whole_characters(data: &[u8], limit: usize) -> usize {
    if data.len() <= limit {
        return data.len();
    }
    (limit.saturating_sub(3)..=limit)
        .rev()
        .find(|&at| (data[at] & 0b1100_0000) != 0b1000_0000)
        .unwrap_or(limit)
}
