//! What the journal of a sandbox says: one type for each kind of record.

mod event_file;
mod hearing;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use sandbox_monitor::AlertChange;
use sandbox_state::{
    AppendError, Change, Checkpoint, Journal, ReadError, Receipt, Record, Records,
    RecordsNewestFirst, StateManager, Verification, Version,
};
use sandbox_types::{
    CapturedOutput, OperationId, OperationReport, ReportedOperation, SandboxName, Verdict,
    change::CHANGED_PATHS_LISTED_MAX,
};
use serde::Serialize;

pub use hearing::HANDLER_QUEUE_MAX;

/// How much one list of a report may have, as JSON.
const LIST_BYTES_MAX: usize = 4 << 20;

use crate::{
    approvals::ApprovalEvent,
    event::{
        AboutOperation, AboutSandbox, AlertOf, EventHandler, EventKind, HealthChanged,
        OperationStarted, RecoveryOf, SandboxEvent, StateChanged,
    },
    process_mark::ProcessMark,
    registry::SandboxRecord,
};
use event_file::EventFile;
use hearing::Hearing;

/// An operation was cleared and is about to start.
pub(crate) const STARTED: &str = "operation.started";
/// An operation ended; the payload is its report.
pub(crate) const FINISHED: &str = "operation.finished";
/// An operation's process was killed before its changes were committed: they were dropped.
pub(crate) const DROPPED: &str = "operation.dropped";
/// An operation's process was killed while it committed or just after: the changes are in the
/// workspace.
pub(crate) const COMPLETED: &str = "operation.completed";
/// Somebody has asked for the end of a running operation.
pub(crate) const KILL_REQUESTED: &str = "operation.kill_requested";
/// A held transaction was committed.
pub(crate) const COMMITTED: &str = "review.committed";
/// A held transaction was discarded.
pub(crate) const DISCARDED: &str = "review.discarded";
/// The changes of an operation were put back.
pub(crate) const UNDONE: &str = "operation.undone";
/// The undo of an operation was taken back.
pub(crate) const REDONE: &str = "operation.redone";
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
/// Every process of a sandbox was frozen.
pub(crate) const SUSPENDED: &str = "sandbox.suspended";
/// A suspended sandbox goes on.
pub(crate) const RESUMED: &str = "sandbox.resumed";
/// A snapshot was taken.
pub(crate) const SNAPSHOT_CREATED: &str = "snapshot.created";
/// The workspace, or another directory, was brought back to a snapshot.
pub(crate) const SNAPSHOT_RESTORED: &str = "snapshot.restored";
/// A snapshot was deleted, by hand or by retention.
pub(crate) const SNAPSHOT_DELETED: &str = "snapshot.deleted";
/// The workspace was rolled back to a snapshot, or to just before an operation.
pub(crate) const ROLLED_BACK: &str = "rollback.done";
/// An operation waits for a person.
pub(crate) const REQUESTED: &str = "approval.requested";
/// An operation on which the judge asks was approved: by a person, an approver or a rule.
pub(crate) const GRANTED: &str = "approval.granted";
/// An operation on which the judge asks was denied.
pub(crate) const DENIED: &str = "approval.denied";
/// Nobody decided on a request in time.
pub(crate) const EXPIRED: &str = "approval.expired";
/// A rule that approves was stored.
pub(crate) const REMEMBERED: &str = "approval.remembered";
/// A rule that approves was removed.
pub(crate) const FORGOTTEN: &str = "approval.forgotten";
/// A sandbox was made.
pub(crate) const CREATED: &str = "sandbox.created";
/// A sandbox was destroyed.
pub(crate) const DESTROYED: &str = "sandbox.destroyed";

/// The snapshots are encrypted, or have another key.
pub(crate) const SNAPSHOTS_REKEYED: &str = "snapshots.rekeyed";

/// A value was stored in the state.
pub(crate) const STATE_SET: &str = "state.set";
/// A key of the state was deleted.
pub(crate) const STATE_DELETED: &str = "state.deleted";
/// A key of the state is again what it was.
pub(crate) const STATE_ROLLED_BACK: &str = "state.rolled_back";
/// The store of the state was lost, damaged or replaced, and somebody goes on with what is there.
pub(crate) const STATE_RECOVERED: &str = "state.recovered";
/// The secrets of the state were sealed with another key.
pub(crate) const STATE_REKEYED: &str = "state.rekeyed";

/// The most bytes of each output stream that the journal keeps.
const OUTPUT_KEPT_BYTES: usize = 64 * 1024;

/// The journal of one sandbox, and who hears of each record: all records go through
/// [`Ledger::append`].
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    sandbox: SandboxName,
    hearing: Hearing,
}

impl Ledger {
    /// Returns the ledger of a sandbox whose state lies in `directory`; nobody hears yet.
    pub(crate) fn open(directory: &Path, sandbox: &SandboxName) -> Self {
        Self {
            journal: StateManager::open(directory).journal().clone(),
            sandbox: sandbox.clone(),
            hearing: Hearing::default(),
        }
    }

    /// Writes each event also to a file.
    pub(crate) fn copy_to(&self, file: &Path) {
        self.hearing.set_file(EventFile::new(file.to_owned()));
    }

    /// Calls the handler for what is appended from now on.
    pub(crate) fn call(&self, handler: Arc<dyn EventHandler>) {
        self.hearing.add(handler);
    }

    /// Returns why the file of events is not written, if so.
    pub(crate) fn copy_failure(&self) -> Option<String> {
        self.hearing.file_failure()
    }

    /// Appends a record, and then tells who hears. What they do with it cannot fail.
    pub(crate) fn append(
        &self,
        kind: &str,
        at: Timestamp,
        payload: &impl Serialize,
    ) -> Result<Receipt, AppendError> {
        let listeners = self.hearing.listeners();
        let receipt = self.journal.append(kind, at, payload)?;
        if let Some(mut listeners) = listeners {
            // The journal has written the same payload as JSON just now.
            let data = serde_json::to_value(payload).unwrap_or_default();
            listeners.tell(SandboxEvent {
                sequence: receipt.sequence,
                at,
                sandbox: self.sandbox.clone(),
                kind: EventKind::new(kind, data),
            });
        }
        Ok(receipt)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.journal.path()
    }

    pub(crate) fn records_newest_first(&self) -> Result<RecordsNewestFirst, ReadError> {
        self.journal.records_newest_first()
    }

    pub(crate) fn records(&self) -> Result<Records, ReadError> {
        self.journal.records()
    }

    pub(crate) fn records_since(&self, known: &Checkpoint) -> Result<Option<Records>, ReadError> {
        self.journal.records_since(known)
    }

    pub(crate) fn records_at(&self, offsets: &[u64]) -> Result<Vec<Record>, ReadError> {
        self.journal.records_at(offsets)
    }

    pub(crate) fn verify(&self) -> Result<Verification, ReadError> {
        self.journal.verify()
    }

    pub(crate) fn verify_since(&self, known: &Checkpoint) -> Result<Verification, ReadError> {
        self.journal.verify_since(known)
    }
}

pub(crate) fn started(
    ledger: &Ledger,
    operation: ReportedOperation,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), AppendError> {
    let started = OperationStarted {
        operation,
        verdict: verdict.clone(),
        process: ProcessMark::of_this(),
    };
    ledger.append(STARTED, now, &started).map(drop)
}

/// Records a report; of its output only the beginning. One that is too large for the journal is
/// recorded without what makes it large: that the operation ended matters more than its details.
pub(crate) fn finished(
    ledger: &Ledger,
    report: &OperationReport,
    now: Timestamp,
) -> Result<Receipt, AppendError> {
    let too_long = |stream: &CapturedOutput| stream.data.len() > OUTPUT_KEPT_BYTES;
    let appended = if too_long(&report.stdout) || too_long(&report.stderr) {
        let mut kept = report.clone();
        for stream in [&mut kept.stdout, &mut kept.stderr] {
            let whole = whole_characters(&stream.data, OUTPUT_KEPT_BYTES);
            stream.data.truncate(whole);
        }
        ledger.append(FINISHED, now, &kept)
    } else {
        ledger.append(FINISHED, now, report)
    };
    match appended {
        Err(AppendError::TooLarge { .. }) => ledger.append(FINISHED, now, &reduced(report)),
        appended => appended,
    }
}

/// Returns the report without its output, and with lists that are bounded.
pub(crate) fn reduced(report: &OperationReport) -> OperationReport {
    let mut kept = report.clone();
    kept.stdout.data.clear();
    kept.stderr.data.clear();
    cut_lists(&mut kept);
    kept
}

/// Cuts each list of a report to [`CHANGED_PATHS_LISTED_MAX`] entries and [`LIST_BYTES_MAX`]: a guest may give files
/// names that are longer than all else together.
pub(crate) fn cut_lists(report: &mut OperationReport) {
    let changes = &mut report.changes;
    let cut = [
        cut(&mut changes.paths),
        cut(&mut changes.held_because),
        cut(&mut changes.notices),
        cut(&mut changes.findings),
        cut(&mut report.violations),
        cut(&mut report.error),
        cut(&mut report.verdict.findings),
        cut(&mut report.verdict.commands),
    ];
    changes.truncated |= cut.contains(&true);
}

/// Cuts a list, and returns whether there was something to cut.
fn cut<T: Serialize>(list: &mut Vec<T>) -> bool {
    let mut left = LIST_BYTES_MAX;
    let kept = list.iter().take(CHANGED_PATHS_LISTED_MAX).take_while(|it| {
        let bytes = serde_json::to_string(it).map_or(usize::MAX, |text| text.len());
        left.checked_sub(bytes).map(|less| left = less).is_some()
    });
    let kept = kept.count();
    let is_cut = kept < list.len();
    list.truncate(kept);
    is_cut
}

pub(crate) fn about(
    ledger: &Ledger,
    kind: &str,
    operation: &OperationId,
    note: Option<String>,
    now: Timestamp,
) -> Result<(), AppendError> {
    ledger
        .append(
            kind,
            now,
            &AboutOperation {
                operation: operation.clone(),
                note,
            },
        )
        .map(drop)
}

/// Records what became of a request or a rule.
pub(crate) fn approval(
    ledger: &Ledger,
    kind: &str,
    event: &ApprovalEvent,
    now: Timestamp,
) -> Result<(), AppendError> {
    ledger.append(kind, now, event).map(drop)
}

/// Records that an alert began or ended.
pub(crate) fn alert(
    ledger: &Ledger,
    operation: &OperationId,
    change: &AlertChange,
    now: Timestamp,
) -> Result<(), AppendError> {
    let (kind, alert) = match change {
        AlertChange::Raised(alert) => (ALERT_RAISED, alert.clone()),
        AlertChange::Resolved(alert) => (ALERT_RESOLVED, alert.clone()),
    };
    let operation = operation.clone();
    ledger
        .append(kind, now, &AlertOf { operation, alert })
        .map(drop)
}

/// Records how a repair goes: `kind` is one of those that begin with `RECOVERY_`.
pub(crate) fn recovery(
    ledger: &Ledger,
    kind: &str,
    repair: &RecoveryOf,
    now: Timestamp,
) -> Result<(), AppendError> {
    ledger.append(kind, now, repair).map(drop)
}

/// Records that a health check says something else than before.
pub(crate) fn health_changed(
    ledger: &Ledger,
    change: &HealthChanged,
    now: Timestamp,
) -> Result<(), AppendError> {
    ledger.append(HEALTH_CHANGED, now, change).map(drop)
}

/// Records that a sandbox was made or destroyed.
pub(crate) fn lifecycle(
    ledger: &Ledger,
    kind: &str,
    record: &SandboxRecord,
    now: Timestamp,
) -> Result<(), AppendError> {
    let about = AboutSandbox {
        sandbox: record.name.clone(),
        workspace: record.workspace.clone(),
    };
    ledger.append(kind, now, &about).map(drop)
}

/// Records that a version of a key was made: that, never the value.
pub(crate) fn state_changed(
    ledger: &Ledger,
    change: Change,
    now: Timestamp,
) -> Result<(), AppendError> {
    let version = change.version;
    let kind = match version {
        Version {
            restores: Some(_), ..
        } => STATE_ROLLED_BACK,
        Version { deleted: true, .. } => STATE_DELETED,
        _ => STATE_SET,
    };
    let changed = StateChanged {
        namespace: change.namespace,
        key: change.key,
        version: version.version,
        sequence: version.sequence,
        secret: version.secret,
        deleted: version.deleted,
        restores: version.restores,
    };
    ledger.append(kind, now, &changed).map(drop)
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
