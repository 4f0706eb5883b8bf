//! What the journal of a sandbox says: one type for each kind of record.

use jiff::Timestamp;
use sandbox_state::{AppendError, Journal};
use sandbox_types::{CapturedOutput, OperationId, OperationReport, ReportedOperation};
use serde::{Deserialize, Serialize};

/// An operation was cleared and is about to start.
pub(crate) const STARTED: &str = "operation.started";
/// An operation ended; the payload is its report.
pub(crate) const FINISHED: &str = "operation.finished";
/// An operation was found dead: its process was killed.
pub(crate) const INTERRUPTED: &str = "operation.interrupted";
/// A held transaction was committed.
pub(crate) const COMMITTED: &str = "review.committed";
/// A held transaction was discarded.
pub(crate) const DISCARDED: &str = "review.discarded";
/// The changes of an operation were put back.
pub(crate) const UNDONE: &str = "operation.undone";
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
}

pub(crate) fn started(
    journal: &Journal,
    operation: ReportedOperation,
    now: Timestamp,
) -> Result<(), AppendError> {
    journal
        .append(STARTED, now, &Started { operation })
        .map(drop)
}

/// Records a report; of its output only the beginning.
pub(crate) fn finished(
    journal: &Journal,
    report: &OperationReport,
    now: Timestamp,
) -> Result<(), AppendError> {
    let too_long = |stream: &CapturedOutput| stream.data.len() > OUTPUT_KEPT_BYTES;
    if !too_long(&report.stdout) && !too_long(&report.stderr) {
        return journal.append(FINISHED, now, report).map(drop);
    }
    let mut kept = report.clone();
    for stream in [&mut kept.stdout, &mut kept.stderr] {
        let whole = whole_characters(&stream.data, OUTPUT_KEPT_BYTES);
        stream.data.truncate(whole);
    }
    journal.append(FINISHED, now, &kept).map(drop)
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
