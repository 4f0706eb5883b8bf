//! Operations that ran, as the journal tells them.

mod afterwards;
mod index;

use std::collections::BTreeSet;

use jiff::Timestamp;
use sandbox_state::{ReadError, Record};
use sandbox_types::{OperationId, OperationReport, Outcome, ReportedOperation, Settlement};
use serde::Serialize;

use afterwards::{Afterwards, LATER};
use index::Index;

use crate::{
    draft::Draft,
    event::{AboutOperation, OperationStarted},
    ledger::{self, Ledger},
    sandbox::Sandbox,
};

/// One operation in the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// Its name.
    pub id: OperationId,
    /// When it ended; when it was interrupted, the time of its start.
    pub at: Timestamp,
    /// Its report, with the settlement as it is now.
    pub report: OperationReport,
    /// What was executed.
    pub argv: Vec<String>,
    /// What happened to it afterwards: `undone`, `committed`, `discarded`; by recovery: `completed`
    /// (its commit), `dropped` (its changes); `interrupted` if there is nothing but its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<&'static str>,
    /// Whether its process was killed before it could write a report. This one then says what the
    /// journal knows, and nothing of what the operation printed and used.
    pub interrupted: bool,
}

/// The operation cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Read(#[source] ReadError),
    /// No operation has that name.
    #[error("there is no operation '{id}' in this sandbox")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// An operation of that name has run, or runs.
    #[error("the operation '{id}' has run in this sandbox already, or runs")]
    Used {
        /// The name.
        id: OperationId,
    },
    /// What was asked for is too short to name one.
    #[error(
        "'{id}' is too short: an operation's name, or at least four characters of its beginning or end"
    )]
    Short {
        /// What was asked for.
        id: String,
    },
    /// More than one operation has a name that begins or ends like that.
    #[error("'{id}' is the beginning or end of several operations' names")]
    Ambiguous {
        /// What was asked for.
        id: String,
    },
}

/// After an operation what is known of the journal is written when so many records are new, so that whoever asks first,
/// after thousands of operations, does not read them all.
const REMEMBERED_EVERY: u64 = 512;

/// How many records an undo looks at for what cannot be undone.
const LOOKED_BACK_MAX: usize = 10_000;

impl Sandbox {
    /// Returns the newest `count` operations, newest first.
    pub(crate) fn log(&self, count: usize) -> Result<Vec<LogEntry>, HistoryError> {
        self.collect(count)
    }

    /// Returns one operation by its name, or by a unique beginning or end of it.
    pub(crate) fn show(&self, text: &str) -> Result<LogEntry, HistoryError> {
        match self.shown(self.operations_index()?, text) {
            Ok(Some(entry)) => return Ok(entry),
            // What was remembered of the journal may be wrong.
            Ok(None) | Err(HistoryError::Read(ReadError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
        let found = self.shown(self.operations_index_anew()?, text)?;
        found.ok_or_else(|| HistoryError::Unknown {
            id: text.to_owned(),
        })
    }

    /// Returns one operation as an index tells it; `None` if that names a record that is about something else. What is
    /// older than the record that tells the operation is not read.
    fn shown(&self, mut index: Index, text: &str) -> Result<Option<LogEntry>, HistoryError> {
        let id = index.resolve(text)?;
        let mut afterwards = Afterwards::default();
        for place in index.places_of(&id) {
            let Some(record) = self.record_of(place, &id)? else {
                return Ok(None);
            };
            let entry = self.entry_of(&record, &mut afterwards);
            if let Some(entry) = entry.filter(|it| it.id == id) {
                return Ok(Some(entry));
            }
        }
        Err(HistoryError::Unknown {
            id: text.to_owned(),
        })
    }

    /// Returns the end of an operation that has started, if it has one. Only what is newer than its start is read.
    pub(crate) fn end_of(&self, id: &OperationId) -> Result<Option<LogEntry>, HistoryError> {
        let mut afterwards = Afterwards::default();
        let records = self.journal().records_newest_first();
        for record in records.map_err(HistoryError::Read)? {
            let record = record.map_err(HistoryError::Read)?;
            match record.kind.as_str() {
                ledger::FINISHED if operation_id(&record).as_ref() == Some(id) => {
                    return Ok(finished(&record, &mut afterwards));
                }
                ledger::STARTED if operation_id(&record).as_ref() == Some(id) => {
                    return Ok(self.interrupted(&record, &afterwards));
                }
                _ => afterwards.note(&record),
            }
        }
        Ok(None)
    }

    /// Checks that no operation of this name runs, or ran: what was refused before it ran may be asked for again.
    pub(crate) fn check_unused(&self, id: &OperationId) -> Result<(), HistoryError> {
        let running = self.running().map_err(HistoryError::Read)?;
        let used = HistoryError::Used { id: id.clone() };
        if running.iter().any(|it| it.id == *id) {
            return Err(used);
        }
        match self.show(id.as_str()) {
            Ok(entry) if entry.id == *id => {
                let refused = matches!(
                    entry.report.outcome,
                    Outcome::Denied | Outcome::ApprovalRequired | Outcome::Error
                );
                let settled = entry.report.changes.settlement;
                let is_free = refused && !entry.interrupted && settled != Settlement::Pending;
                if is_free { Ok(()) } else { Err(used) }
            }
            Ok(_)
            | Err(
                HistoryError::Unknown { .. }
                | HistoryError::Short { .. }
                | HistoryError::Ambiguous { .. },
            ) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the operations that wrote to the workspace directly since the last that the journal says of `id`, newest
    /// first. Older records than [`LOOKED_BACK_MAX`] are not looked at.
    pub(crate) fn direct_since(&self, id: &OperationId) -> Result<Vec<OperationId>, HistoryError> {
        let mut direct = Vec::new();
        let records = self.journal().records_newest_first();
        for record in records.map_err(HistoryError::Read)?.take(LOOKED_BACK_MAX) {
            let record = record.map_err(HistoryError::Read)?;
            if LATER.iter().any(|(kind, ..)| record.kind == *kind) {
                let about = record.payload.get("operation").and_then(|it| it.as_str());
                if about == Some(id.as_str()) {
                    break;
                }
            }
            if record.kind == ledger::FINISHED {
                let Some(ended) = operation_id(&record) else {
                    continue;
                };
                if ended == *id {
                    break;
                }
                if wrote_directly(&record) {
                    direct.push(ended);
                }
            }
        }
        Ok(direct)
    }

    /// Returns the full name of the operation that `text` begins, ends or is; one that runs is found without reading
    /// the whole journal.
    pub(crate) fn resolve_running(&self, text: &str) -> Result<OperationId, HistoryError> {
        let running = self.running().map_err(HistoryError::Read)?;
        let mut like = running.iter().filter(|it| is_name(it.id.as_str(), text));
        match (like.next(), like.next()) {
            (Some(only), None) => Ok(only.id.clone()),
            (Some(_), Some(_)) => Err(HistoryError::Ambiguous {
                id: text.to_owned(),
            }),
            (None, _) => self.resolve(text),
        }
    }

    /// Returns the full name of the operation that `text` begins, ends or is.
    pub(crate) fn resolve(&self, text: &str) -> Result<OperationId, HistoryError> {
        self.operations_index()?.resolve(text)
    }

    /// Remembers what runs and where operations are told, after the record of an operation's end, if it is time for that.
    pub(crate) fn remember_after(&self, sequence: u64) {
        // An operation has two records, and others have theirs: one of two numbers is seldom missed.
        if sequence % REMEMBERED_EVERY < 2 {
            drop(self.running_by_journal());
            self.index_after(sequence);
        }
    }

    fn collect(&self, count: usize) -> Result<Vec<LogEntry>, HistoryError> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut afterwards = Afterwards::default();
        let mut records = self
            .journal()
            .records_newest_first()
            .map_err(HistoryError::Read)?;
        while entries.len() < count
            && let Some(record) = records.next()
        {
            let record = record.map_err(HistoryError::Read)?;
            entries.extend(self.entry_of(&record, &mut afterwards));
        }
        Ok(entries)
    }

    /// Returns the operation that a record tells the end of, or the start if there is no end; otherwise remembers what
    /// it says of others. Newer records came before.
    fn entry_of(&self, record: &Record, afterwards: &mut Afterwards) -> Option<LogEntry> {
        match record.kind.as_str() {
            ledger::FINISHED => finished(record, afterwards),
            ledger::STARTED => self.interrupted(record, afterwards),
            _ => {
                afterwards.note(record);
                None
            }
        }
    }

    /// Returns what is known of an operation that started, has no end, and is not running.
    fn interrupted(&self, record: &Record, afterwards: &Afterwards) -> Option<LogEntry> {
        let started: OperationStarted = serde_json::from_value(record.payload.clone()).ok()?;
        let id = started.operation.id.clone();
        if afterwards.reported.contains(&id) || started.process.is_alive() {
            return None;
        }
        let settlement = afterwards.settlement.get(&id).copied();
        let settlement = settlement.unwrap_or_else(|| {
            let has = |ids: Result<Vec<OperationId>, _>| ids.is_ok_and(|ids| ids.contains(&id));
            match self.rollback.as_ref() {
                Some(rollback) if has(rollback.undoable()) => Settlement::Committed,
                // Held, and then nothing more could be written down: a full disk, as a rule.
                Some(rollback) if has(rollback.pending()) => Settlement::Pending,
                Some(_) => Settlement::Discarded,
                None => Settlement::None,
            }
        });
        let since = afterwards.since.get(&id).copied().unwrap_or("interrupted");
        Some(LogEntry {
            argv: started.operation.argv.clone(),
            at: record.at,
            report: Draft::of_started(self, started.operation, record.at)
                .interrupted(started.verdict, settlement),
            since: Some(since),
            interrupted: true,
            id,
        })
    }
}

/// Whether the report in a record is of an operation that ran and has no transaction.
fn wrote_directly(record: &Record) -> bool {
    let text = |pointer| record.payload.pointer(pointer).and_then(|it| it.as_str());
    let did_not_run = ["denied", "approval_required", "error"];
    text("/changes/settlement") == Some("none")
        && text("/outcome").is_some_and(|it| !did_not_run.contains(&it))
        && (text("/outcome") != Some("failed") || record.payload["exit_code"].is_number())
}

/// The shortest beginning or end of a name.
const NAME_LENGTH_MIN: usize = 4;

/// Whether `text` is the name of an operation, or a beginning or end of it that is long enough.
fn is_name(id: &str, text: &str) -> bool {
    id == text || text.len() >= NAME_LENGTH_MIN && (id.starts_with(text) || id.ends_with(text))
}

fn finished(record: &Record, afterwards: &mut Afterwards) -> Option<LogEntry> {
    let mut report: OperationReport = serde_json::from_value(record.payload.clone()).ok()?;
    let id = report.id().clone();
    afterwards.reported.insert(id.clone());
    afterwards.note_part(&report);
    afterwards.without_parts(&id, &mut report.changes);
    // The report was written before the review; what became of the changes is known by now.
    if let Some(settlement) = afterwards.settlement.get(&id) {
        report.changes.settlement = *settlement;
    }
    Some(LogEntry {
        at: record.at,
        argv: report.operation.argv.clone(),
        report,
        since: afterwards.since.get(&id).copied(),
        interrupted: false,
        id,
    })
}

/// Returns the operations among the newest `count` records that started and have no end, and whose
/// process is gone. None if the newest record is an end: then every kill before it is settled.
/// A journal that cannot be read has none: whoever asks for its records is told so.
pub(crate) fn unended(journal: &Ledger, count: usize) -> Vec<OperationId> {
    let mut ended = BTreeSet::new();
    let mut unended = Vec::new();
    let records = journal.records_newest_first().into_iter().flatten();
    for (at, record) in records.take(count).map_while(Result::ok).enumerate() {
        match record.kind.as_str() {
            ledger::STARTED => {
                let started = serde_json::from_value::<OperationStarted>(record.payload);
                unended.extend(
                    started
                        .ok()
                        .filter(|it| !ended.contains(&it.operation.id) && !it.process.is_alive())
                        .map(|it| it.operation.id),
                );
            }
            ledger::FINISHED if at == 0 => return Vec::new(),
            ledger::FINISHED => ended.extend(operation_id(&record)),
            kind if LATER.iter().any(|(later, ..)| *later == kind) => {
                if at == 0 {
                    return Vec::new();
                }
                let about = serde_json::from_value::<AboutOperation>(record.payload);
                ended.extend(about.ok().map(|it| it.operation));
            }
            // About something else, as an alert of an operation that may still run.
            _ => {}
        }
    }
    unended
}

pub(crate) fn operation_id(record: &Record) -> Option<OperationId> {
    let operation: ReportedOperation =
        serde_json::from_value(record.payload.get("operation")?.clone()).ok()?;
    Some(operation.id)
}
