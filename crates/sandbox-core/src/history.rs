//! Operations that ran, as the journal tells them.

use jiff::Timestamp;
use sandbox_state::{ReadError, Record};
use sandbox_types::{OperationId, OperationReport, ReportedOperation, Settlement};
use serde::Serialize;

use crate::{ledger, sandbox::Sandbox};

/// How far back a name is looked for when it is not written in full.
const SEARCHED_RECORDS_MAX: usize = 100_000;

/// One operation in the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// Its name.
    pub id: OperationId,
    /// When it ended, or was found dead.
    pub at: Timestamp,
    /// Its report; `None` if it was interrupted.
    pub report: Option<OperationReport>,
    /// What was executed, also when it was interrupted.
    pub argv: Vec<String>,
    /// What happened to it afterwards: `undone`, `committed`, `discarded`, `interrupted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<&'static str>,
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
    /// More than one operation has a name that begins or ends like that.
    #[error("'{id}' is the beginning or end of several operations' names")]
    Ambiguous {
        /// What was asked for.
        id: String,
    },
}

/// What later records say of an operation.
#[derive(Default)]
struct Afterwards {
    seen: Vec<(OperationId, &'static str)>,
}

impl Afterwards {
    fn note(&mut self, record: &Record, what: &'static str) -> Option<OperationId> {
        let about: ledger::About = serde_json::from_value(record.payload.clone()).ok()?;
        self.seen.push((about.operation.clone(), what));
        Some(about.operation)
    }

    /// The newest word on the operation wins: it was seen first.
    fn of(&self, id: &OperationId) -> Option<&'static str> {
        self.seen
            .iter()
            .find(|(seen, _)| seen == id)
            .map(|(_, what)| *what)
    }
}

impl Sandbox {
    /// Returns the newest `count` operations, newest first.
    pub(crate) fn log(&self, count: usize) -> Result<Vec<LogEntry>, HistoryError> {
        self.collect(count, |_| true)
    }

    /// Returns one operation by its name, or by a unique beginning or end of it.
    pub(crate) fn show(&self, text: &str) -> Result<LogEntry, HistoryError> {
        let id = self.resolve(text)?;
        let found = self.collect(1, |it| *it == id)?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| HistoryError::Unknown {
                id: text.to_owned(),
            })
    }

    /// Returns the full name of the operation that `text` begins, ends or is.
    pub(crate) fn resolve(&self, text: &str) -> Result<OperationId, HistoryError> {
        let mut matching: Option<OperationId> = None;
        let records = self
            .journal()
            .records_newest_first()
            .map_err(HistoryError::Read)?;
        for record in records.take(SEARCHED_RECORDS_MAX) {
            let record = record.map_err(HistoryError::Read)?;
            if record.kind != ledger::STARTED && record.kind != ledger::FINISHED {
                continue;
            }
            let Some(id) = operation_id(&record) else {
                continue;
            };
            if id.as_str() == text {
                return Ok(id);
            }
            let like =
                text.len() >= 4 && (id.as_str().starts_with(text) || id.as_str().ends_with(text));
            if like && matching.as_ref().is_some_and(|it| *it != id) {
                return Err(HistoryError::Ambiguous {
                    id: text.to_owned(),
                });
            }
            if like {
                matching = Some(id);
            }
        }
        matching.ok_or_else(|| HistoryError::Unknown {
            id: text.to_owned(),
        })
    }

    fn collect(
        &self,
        count: usize,
        wanted: impl Fn(&OperationId) -> bool,
    ) -> Result<Vec<LogEntry>, HistoryError> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut afterwards = Afterwards::default();
        for record in self
            .journal()
            .records_newest_first()
            .map_err(HistoryError::Read)?
        {
            if entries.len() == count && entries.iter().all(|entry| !entry.argv.is_empty()) {
                break;
            }
            let record = record.map_err(HistoryError::Read)?;
            match record.kind.as_str() {
                ledger::UNDONE => drop(afterwards.note(&record, "undone")),
                ledger::COMMITTED => drop(afterwards.note(&record, "committed")),
                ledger::DISCARDED => drop(afterwards.note(&record, "discarded")),
                ledger::INTERRUPTED => {
                    let id = afterwards.note(&record, "interrupted");
                    let entry = id.filter(&wanted).map(|id| LogEntry {
                        id,
                        at: record.at,
                        report: None,
                        argv: Vec::new(),
                        since: Some("interrupted"),
                    });
                    entries.extend(entry.filter(|_| entries.len() < count));
                }
                ledger::STARTED => name_interrupted(&mut entries, &record),
                ledger::FINISHED if entries.len() < count => {
                    entries.extend(finished(&record, &afterwards).filter(|it| wanted(&it.id)));
                }
                _ => {}
            }
        }
        Ok(entries)
    }
}

fn finished(record: &Record, afterwards: &Afterwards) -> Option<LogEntry> {
    let mut report: OperationReport = serde_json::from_value(record.payload.clone()).ok()?;
    let since = afterwards.of(report.id());
    // The report was written before the review; what became of the changes is known by now.
    match since {
        Some("committed") => report.changes.settlement = Settlement::Committed,
        Some("discarded") => report.changes.settlement = Settlement::Discarded,
        Some(_) | None => {}
    }
    Some(LogEntry {
        id: report.id().clone(),
        at: record.at,
        argv: report.operation.argv.clone(),
        report: Some(report),
        since,
    })
}

/// An interrupted operation has no report: its words stand in the record of its start.
fn name_interrupted(entries: &mut [LogEntry], record: &Record) {
    let Ok(started) = serde_json::from_value::<ledger::Started>(record.payload.clone()) else {
        return;
    };
    let nameless = entries
        .iter_mut()
        .find(|entry| entry.argv.is_empty() && entry.id == started.operation.id);
    if let Some(entry) = nameless {
        entry.argv = started.operation.argv;
    }
}

fn operation_id(record: &Record) -> Option<OperationId> {
    let operation: ReportedOperation =
        serde_json::from_value(record.payload.get("operation")?.clone()).ok()?;
    Some(operation.id)
}
