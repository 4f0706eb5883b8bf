//! Where the records about each operation are in the journal, so that an old one is found without reading all of it.
//!
//! The file `operations.index` beside the journal says up to which record it knows. It only saves time: where it is
//! missing, damaged or of another journal, it is made again, and what it names is read from the journal and checked.

use std::{fs, io, path::PathBuf, str};

use sandbox_state::{Checkpoint, ReadError, Record, Records, RecordsNewestFirst, hex};
use sandbox_types::{OperationId, ReportedOperation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{HistoryError, LATER, NAME_LENGTH_MIN, is_name};
use crate::{ledger, part::PART_TYPE, private, sandbox::Sandbox};

/// The name of the file.
const FILE: &str = "operations.index";
/// The version of the file.
const FORMAT: u32 = 1;
/// The file is written anew when so many records are new.
const NEW_RECORDS_MAX: u64 = 1000;

/// The first line of the file; a line for each place follows.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    /// Up to where the journal was read.
    journal: Checkpoint,
    /// Of the lines that follow, in hexadecimal.
    sha256: String,
}

/// The places of all records about operations, oldest first: a line `OFFSET WHAT OPERATION` for each.
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
    operation: Named,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Id(OperationId),
    Whole(Box<ReportedOperation>),
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
            Named::Whole(it) if kind == ledger::STARTED || kind == ledger::FINISHED => {
                self.add(offset, What::Itself, it.id.as_str());
                let whole = it.argv.get(2).filter(|_| it.type_name == PART_TYPE);
                if let Some(whole) = whole.and_then(|it| it.parse::<OperationId>().ok())
                    && kind == ledger::FINISHED
                {
                    self.add(offset, What::Later, whole.as_str());
                }
            }
            Named::Id(id) if LATER.iter().any(|(later, ..)| *later == kind) => {
                self.add(offset, What::Later, id.as_str());
            }
            Named::Whole(_) | Named::Id(_) => {}
        }
    }

    /// Returns what a file says; `None` if it is damaged or of another format.
    fn parse(bytes: &[u8]) -> Option<(Self, Checkpoint)> {
        let text = str::from_utf8(bytes).ok()?;
        let (head, lines) = text.split_once('\n')?;
        let head: Head = serde_json::from_str(head).ok()?;
        let whole = head.format == FORMAT && head.sha256 == digest(lines);
        let index = Self {
            lines: lines.to_owned(),
            damage: None,
        };
        whole.then_some((index, head.journal))
    }

    fn to_text(&self, journal: Checkpoint) -> io::Result<String> {
        let head = Head {
            format: FORMAT,
            journal,
            sha256: digest(&self.lines),
        };
        Ok(format!("{}\n{}", serde_json::to_string(&head)?, self.lines))
    }
}

fn is_about(record: &Record, id: &OperationId) -> bool {
    let mut index = Index::default();
    if let Ok(payload) = serde_json::from_value::<Payload>(record.payload.clone()) {
        index.note(0, &record.kind, payload);
    }
    !index.places_of(id).is_empty()
}

fn digest(lines: &str) -> String {
    hex(&Sha256::digest(lines))
}

impl Sandbox {
    /// Returns where the records about operations are; reads what of the journal is new.
    pub(super) fn operations_index(&self) -> Result<Index, HistoryError> {
        let known = fs::read(self.index_file()).ok();
        self.index_from(known.and_then(|bytes| Index::parse(&bytes)))
    }

    /// As [`Sandbox::operations_index`], of the journal alone.
    pub(super) fn operations_index_anew(&self) -> Result<Index, HistoryError> {
        self.index_from(None)
    }

    fn index_from(&self, known: Option<(Index, Checkpoint)>) -> Result<Index, HistoryError> {
        let mut index = Index::default();
        let mut records = None;
        let mut from = 0;
        if let Some((found, journal)) = known {
            let since = self.journal().records_since(&journal);
            records = since.map_err(HistoryError::Read)?;
            if records.is_some() {
                (index, from) = (found, journal.records);
            }
        }
        let mut records = match records {
            Some(records) => records,
            None => self.journal().records().map_err(HistoryError::Read)?,
        };
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
            // Who may only read reads all again the next time.
            drop(self.remember_index(&index, journal));
        }
        Ok(index)
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

    fn remember_index(&self, index: &Index, journal: Checkpoint) -> io::Result<()> {
        private::replace(&self.index_file(), &index.to_text(journal)?)
    }

    fn index_file(&self) -> PathBuf {
        self.directory().join(FILE)
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

    #[test]
    fn a_damaged_index_is_none() {
        let journal = Checkpoint {
            records: 4,
            bytes: 400,
            head: "ab".repeat(32),
        };
        let text = index().to_text(journal.clone()).unwrap();
        let (read, of) = Index::parse(text.as_bytes()).unwrap();
        assert_eq!((read.lines, of), (index().lines, journal));
        let damaged = text.replace("250", "251");
        assert!(Index::parse(damaged.as_bytes()).is_none());
        assert!(Index::parse(&text.as_bytes()[..text.len() - 1]).is_none());
    }
}
