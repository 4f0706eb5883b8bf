//! What the journal of a sandbox says: one type for each kind of record.

use jiff::Timestamp;
use sandbox_state::{AppendError, Journal};
use sandbox_types::{
    CapturedOutput, OperationId, OperationReport, ReportedOperation, Verdict,
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
        cut(&mut changes.findings),
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
