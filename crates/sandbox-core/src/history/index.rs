//! Where the records about each operation are in the journal, so that an old one is found without reading all of it.
//!
//! The file `operations.index` beside the journal says up to which record it knows. It only saves time: where it is
//! missing, damaged or of another journal, it is made again, and what it names is read from the journal and checked.

mod file;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sandbox_state::{Checkpoint, ReadError, Record, Records, RecordsNewestFirst};
use sandbox_types::OperationId;
use serde::Deserialize;

use super::{HistoryError, NAME_LENGTH_MIN, afterwards::LATER, is_name};
use crate::{ledger, part::PART_TYPE, record_subject::Subject, sandbox::Sandbox};
use file::Appending;

/// The name of the file.
const FILE: &str = "operations.index";
/// What is new is appended to the file when it is so many records.
const NEW_RECORDS_MAX: u64 = 1000;
/// After an operation no more records than these are read: a file that is missing is made by who asks for it.
const CAUGHT_UP_MAX: u64 = 4096;

/// The places of all records about operations, oldest first: a line `OFFSET WHAT OPERATION` for each, among lines that
/// are about the file.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: String,
    /// Why older operations are not known.
    damage: Option<ReadError>,
}

/// What a record at a place says of the operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    /// Its start or its end.
    Itself,
    /// What happened to it later, or the end of an operation that is a part of it.
    Later,
}

/// What is asked of the payload of a record.
#[derive(Deserialize)]
struct Payload {
    operation: Subject,
}

impl Index {
    /// Returns the full name of the operation that `text` begins, ends or is.
    pub(super) fn resolve(&mut self, text: &str) -> Result<OperationId, HistoryError> {
        let mut matching: Option<OperationId> = None;
        let mut ambiguous = false;
        for (_, what, id) in self.places() {
            if what != What::Itself || !is_name(id, text) {
                continue;
            }
            let Ok(id) = id.parse::<OperationId>() else {
                continue;
            };
            if id.as_str() == text {
                return Ok(id);
            }
            ambiguous |= matching.as_ref().is_some_and(|it| *it != id);
            matching = Some(id);
        }
        let id = text.to_owned();
        match (matching, self.damage.take()) {
            (Some(_), _) if ambiguous => Err(HistoryError::Ambiguous { id }),
            (Some(only), _) => Ok(only),
            (None, Some(damage)) => Err(HistoryError::Read(damage)),
            (None, None) if id.len() < NAME_LENGTH_MIN => Err(HistoryError::Short { id }),
            (None, None) => Err(HistoryError::Unknown { id }),
        }
    }

    /// Returns where the records about an operation are, newest first.
    pub(super) fn places_of(&self, id: &OperationId) -> Vec<u64> {
        let of_it = self.places().filter(|(.., name)| *name == id.as_str());
        let mut places: Vec<u64> = of_it.map(|(offset, ..)| offset).collect();
        places.reverse();
        places
    }

    fn places(&self) -> impl Iterator<Item = (u64, What, &str)> {
        self.lines.lines().filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let offset = words.next()?.parse().ok()?;
            let what = match words.next()? {
                "itself" => What::Itself,
                "later" => What::Later,
                _ => return None,
            };
            Some((offset, what, words.next()?))
        })
    }

    fn add(&mut self, offset: u64, what: What, id: &str) {
        let what = match what {
            What::Itself => "itself",
            What::Later => "later",
        };
        let offset = offset.to_string();
        for word in [offset.as_str(), " ", what, " ", id, "\n"] {
            self.lines.push_str(word);
        }
    }

    /// Reads the rest of the journal.
    fn read_on(&mut self, records: &mut Records) -> Result<(), ReadError> {
        loop {
            let offset = records.offset();
            let Some(brief) = records.next_brief::<Payload>() else {
                return Ok(());
            };
            let brief = brief?;
            if let Some(payload) = brief.payload {
                self.note(offset, &brief.kind, payload);
            }
        }
    }

    /// What a damaged journal has after the damage.
    fn of_the_end(mut records: RecordsNewestFirst) -> Self {
        let mut found = Vec::new();
        let mut index = Self::default();
        while let Some(record) = records.next() {
            let record = match record {
                Ok(record) => record,
                Err(damage) => {
                    index.damage = Some(damage);
                    break;
                }
            };
            if let Ok(payload) = serde_json::from_value::<Payload>(record.payload) {
                found.push((records.offset(), record.kind, payload));
            }
        }
        for (offset, kind, payload) in found.into_iter().rev() {
            index.note(offset, &kind, payload);
        }
        index
    }

    fn note(&mut self, offset: u64, kind: &str, payload: Payload) {
        match payload.operation {
            Subject::Whole(it) if kind == ledger::STARTED || kind == ledger::FINISHED => {
                self.add(offset, What::Itself, it.id.as_str());
                let whole = it.argv.get(2).filter(|_| it.type_name == PART_TYPE);
                if let Some(whole) = whole.and_then(|it| it.parse::<OperationId>().ok())
                    && kind == ledger::FINISHED
                {
                    self.add(offset, What::Later, whole.as_str());
                }
            }
            Subject::Id(id) if LATER.iter().any(|(later, ..)| *later == kind) => {
                self.add(offset, What::Later, id.as_str());
            }
            Subject::Whole(_) | Subject::Id(_) => {}
        }
    }
}

fn is_about(record: &Record, id: &OperationId) -> bool {
    let mut index = Index::default();
    if let Ok(payload) = serde_json::from_value::<Payload>(record.payload.clone()) {
        index.note(0, &record.kind, payload);
    }
    !index.places_of(id).is_empty()
}

impl Sandbox {
    /// Returns where the records about operations are; reads what of the journal is new.
    pub(super) fn operations_index(&self) -> Result<Index, HistoryError> {
        let text = fs::read_to_string(self.index_file()).ok();
        self.index_from(text.and_then(|text| Some((file::check(&text)?, text))))
    }

    /// As [`Sandbox::operations_index`], of the journal alone.
    pub(super) fn operations_index_anew(&self) -> Result<Index, HistoryError> {
        self.index_from(None)
    }

    /// Reads on from what is known, if the journal continues it.
    fn index_from(&self, known: Option<(Checkpoint, String)>) -> Result<Index, HistoryError> {
        let mut index = Index::default();
        let mut records = None;
        let mut from = 0;
        if let Some((journal, text)) = known {
            let since = self.journal().records_since(&journal);
            records = since.map_err(HistoryError::Read)?;
            if records.is_some() {
                (index.lines, from) = (text, journal.records);
            }
        }
        let mut records = match records {
            Some(records) => records,
            None => self.journal().records().map_err(HistoryError::Read)?,
        };
        let known_bytes = index.lines.len();
        match index.read_on(&mut records) {
            Ok(()) => {}
            // Newer operations than the damage are found as before.
            Err(ReadError::Damaged { .. }) => {
                let newest = self.journal().records_newest_first();
                return newest.map(Index::of_the_end).map_err(HistoryError::Read);
            }
            Err(error) => return Err(HistoryError::Read(error)),
        }
        if let Some(journal) = records.checkpoint()
            && journal.records - from > NEW_RECORDS_MAX
        {
            let path = self.index_file();
            // Who may only read reads all again the next time.
            drop(match from {
                0 => file::replace(&path, &index.lines, journal),
                _ => append(&path, from, &index.lines[known_bytes..], journal),
            });
        }
        Ok(index)
    }

    /// Brings the file up to date, after the record of an operation's end, if that is soon done.
    pub(super) fn index_after(&self, sequence: u64) {
        let path = self.index_file();
        let known = match Appending::open(&path) {
            Some(appending) if appending.known.records >= sequence => return,
            Some(appending) => Some(appending),
            None => None,
        };
        let from = known.as_ref().map_or(0, |it| it.known.records);
        if sequence - from > CAUGHT_UP_MAX {
            return;
        }
        let records = match &known {
            Some(appending) => self.journal().records_since(&appending.known),
            None if path.exists() => return,
            None => self.journal().records().map(Some),
        };
        let Ok(Some(mut records)) = records else {
            return;
        };
        let mut index = Index::default();
        if index.read_on(&mut records).is_ok()
            && let Some(journal) = records.checkpoint()
        {
            // Without it, who asks for an old operation reads more.
            drop(match known {
                Some(appending) => appending.append(&index.lines, journal),
                None => file::replace(&path, &index.lines, journal),
            });
        }
    }

    /// Returns the record at a place; `None` if it is not about that operation.
    pub(super) fn record_of(
        &self,
        place: u64,
        id: &OperationId,
    ) -> Result<Option<Record>, HistoryError> {
        let records = self.journal().records_at(&[place]);
        let record = records.map_err(HistoryError::Read)?.pop();
        Ok(record.filter(|record| is_about(record, id)))
    }

    fn index_file(&self) -> PathBuf {
        self.directory().join(FILE)
    }
}

/// Appends what came after the record `from`, unless somebody else has done so.
fn append(path: &Path, from: u64, lines: &str, journal: Checkpoint) -> io::Result<()> {
    match Appending::open(path) {
        Some(appending) if appending.known.records == from => appending.append(lines, journal),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        index.add(0, What::Itself, "0190a000-aaaa");
        index.add(100, What::Itself, "0190a000-aaaa");
        index.add(250, What::Itself, "0190a000-bbbb");
        index.add(300, What::Later, "0190a000-aaaa");
        index
    }

    #[test]
    fn names_are_found_by_their_beginnings_and_ends() {
        let mut index = index();
        let mut resolve = |text: &str| index.resolve(text).map(String::from).ok();
        assert_eq!(resolve("0190a000-bbbb").as_deref(), Some("0190a000-bbbb"));
        assert_eq!(resolve("aaaa").as_deref(), Some("0190a000-aaaa"));
        assert_eq!(resolve("0190"), None, "it is ambiguous");
        assert_eq!(resolve("aaa"), None, "it is too short");
        assert_eq!(resolve("cccc"), None);
        let id = "0190a000-aaaa".parse().unwrap();
        assert_eq!(index.places_of(&id), [300, 100, 0]);
    }
}
