//! The records of a journal, oldest first, each checked with its place in the chain.

use std::{borrow::Cow, io, path::PathBuf};

use jiff::Timestamp;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{
    REPAIRED,
    follow::Place,
    frame::{self, Fault, Frame},
    snapshot::{Ahead, Rest, Snapshot, Trouble},
};
use crate::{Hash, OpenError};

/// One record of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// When it happened, as its writer said.
    pub at: Timestamp,
    /// What kind of event it is, as in `operation`.
    pub kind: String,
    /// What is said of it.
    pub payload: serde_json::Value,
    /// Its hash, which the next record contains.
    pub hash: Hash,
}

/// The journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file was not opened.
    #[error("cannot open the journal {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The system failed to read it.
    #[error("cannot read the journal {path} at byte {offset}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// A record is damaged.
    #[error("cannot trust the journal {path} at byte {offset}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins, or ends when reading newest first.
        offset: u64,
        /// What is wrong with it.
        source: Fault,
    },
}

/// The body of a record, as it is written.
#[derive(Serialize)]
pub(super) struct Body<'a, T> {
    pub(super) at: Timestamp,
    pub(super) kind: &'a str,
    pub(super) payload: &'a T,
}

/// The body of a record, as it is read.
#[derive(Deserialize)]
pub(super) struct OwnedBody {
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) payload: serde_json::Value,
}

/// A body that is checked and not kept.
#[derive(Deserialize)]
struct CheckedBody<'a> {
    at: Timestamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[expect(dead_code, reason = "that it is JSON is all that is asked")]
    payload: IgnoredAny,
}

/// What verification asks of a record.
pub(super) struct Checked {
    pub(super) hash: Hash,
    /// The whole record, if it says that something was moved aside.
    pub(super) repaired: Option<Record>,
}

impl Checked {
    fn of(frame: &Frame) -> Result<Self, Fault> {
        let body = frame.body();
        let hash = frame.hash;
        // `IgnoredAny` takes any depth, a reader does not: with so few brackets none can be too deep.
        if frame::opening(body) > frame::DEPTH_MAX {
            let record = Record::of(frame)?;
            let repaired = (record.kind == REPAIRED).then_some(record);
            return Ok(Self { hash, repaired });
        }
        let checked: CheckedBody<'_> =
            serde_json::from_slice(body).map_err(|_not_a_body| Fault::Body)?;
        let is_repair = checked.kind == REPAIRED;
        let repaired = is_repair.then(|| Record::of(frame)).transpose()?;
        Ok(Self { hash, repaired })
    }
}

impl Record {
    pub(super) fn of(frame: &Frame) -> Result<Self, Fault> {
        let body: OwnedBody =
            serde_json::from_slice(frame.body()).map_err(|_not_a_body| Fault::Body)?;
        Ok(Self {
            sequence: frame.sequence,
            at: body.at,
            kind: body.kind,
            payload: body.payload,
            hash: frame.hash,
        })
    }
}

/// One record, of its payload only what is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief<P> {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// When it happened, as its writer said.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: String,
    /// What was asked for; `None` if the payload does not have it.
    pub payload: Option<P>,
    /// Its hash, which the next record contains.
    pub hash: Hash,
}

impl<P: DeserializeOwned> Brief<P> {
    pub(super) fn of(frame: &Frame) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Named<P> {
            at: Timestamp,
            kind: String,
            payload: P,
        }
        let (sequence, hash) = (frame.sequence, frame.hash);
        if let Ok(named) = serde_json::from_slice::<Named<P>>(frame.body()) {
            return Ok(Self {
                sequence,
                at: named.at,
                kind: named.kind,
                payload: Some(named.payload),
                hash,
            });
        }
        let checked: CheckedBody<'_> =
            serde_json::from_slice(frame.body()).map_err(|_not_a_body| Fault::Body)?;
        Ok(Self {
            sequence,
            at: checked.at,
            kind: checked.kind.into_owned(),
            payload: None,
            hash,
        })
    }
}

/// The records of a journal, oldest first.
#[derive(Debug)]
pub struct Records {
    snapshot: Snapshot,
    ahead: Ahead,
    offset: u64,
    sequence: u64,
    previous: Hash,
    ended: bool,
}

impl Records {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            ahead: Ahead::default(),
            offset: 0,
            sequence: 0,
            previous: [0; 32],
            ended: false,
        }
    }

    /// Reads on from `place`.
    pub(super) fn from(snapshot: Snapshot, place: Place) -> Self {
        Self {
            offset: place.offset,
            sequence: place.sequence,
            previous: place.previous,
            ..Self::new(snapshot)
        }
    }

    /// Returns where the next record begins, and what is before it.
    pub(super) fn place(&self) -> Place {
        Place {
            offset: self.offset,
            sequence: self.sequence,
            previous: self.previous,
        }
    }

    /// The records after one whose end, number and hash are known.
    pub(super) fn after(snapshot: Snapshot, offset: u64, last: (u64, Hash)) -> Self {
        let (sequence, previous) = last;
        Self {
            offset,
            sequence,
            previous,
            ..Self::new(snapshot)
        }
    }

    fn read<T>(&mut self, of: impl FnOnce(&Frame) -> Result<T, Fault>) -> Result<T, Trouble> {
        if self.snapshot.is_missing_at(self.offset) {
            return Err(Fault::Missing.into());
        }
        let frame = self.snapshot.frame_ahead(self.offset, &mut self.ahead)?;
        if frame.sequence != self.sequence + 1 {
            return Err(Fault::Sequence.into());
        }
        if frame.previous != self.previous {
            return Err(Fault::Chain.into());
        }
        let record = of(&frame)?;
        self.offset += frame.length();
        self.sequence = frame.sequence;
        self.previous = frame.hash;
        Ok(record)
    }

    /// Checks the next record, as reading it does.
    pub(super) fn check_next(&mut self) -> Option<Result<Checked, ReadError>> {
        self.advance(Checked::of)
    }

    pub(super) fn advance<T>(
        &mut self,
        of: impl FnOnce(&Frame) -> Result<T, Fault>,
    ) -> Option<Result<T, ReadError>> {
        let is_end = self.offset == self.snapshot.end;
        if self.ended || is_end && !self.snapshot.is_missing_at(self.offset) {
            return None;
        }
        let trouble = match self.read(of) {
            Ok(record) => return Some(Ok(record)),
            Err(trouble) => trouble,
        };
        self.ended = true;
        if matches!(trouble, Trouble::Fault(Fault::Missing)) {
            return Some(Err(self.snapshot.error(self.offset, trouble)));
        }
        match self.rest() {
            Ok(Rest::Torn) => None,
            Ok(Rest::Damaged | Rest::Nothing) => {
                Some(Err(self.snapshot.error(self.offset, trouble)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Returns where the next record begins, in bytes from the beginning of the oldest file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the name of the file that has the byte at `offset`, and its place there.
    pub(super) fn place_in_file(&self, offset: u64) -> (String, u64) {
        let (path, offset) = self.snapshot.place_of(offset);
        let name = path.file_name().unwrap_or_default();
        (name.to_string_lossy().into_owned(), offset)
    }

    /// Returns how long the files were when they were opened.
    pub(super) fn file_bytes(&self) -> u64 {
        self.snapshot.end
    }

    /// Says what follows the records that were read.
    pub(super) fn rest(&self) -> Result<Rest, ReadError> {
        self.snapshot
            .rest_after(self.offset)
            .map_err(|error| self.snapshot.error(self.offset, error.into()))
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(Record::of)
    }
}
