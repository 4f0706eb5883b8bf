//! The records of a journal, newest first, each checked with its place in the chain.

use serde::de::DeserializeOwned;

use super::{
    frame::{Fault, Frame},
    records::{Brief, ReadError, Record},
    snapshot::{Rest, Snapshot, Trouble},
};
use crate::Hash;

/// The records of a journal, newest first.
#[derive(Debug)]
pub struct RecordsNewestFirst {
    snapshot: Snapshot,
    end: u64,
    /// What the record after the next one says of it: its number and hash.
    expected: Option<(u64, Hash)>,
    ended: bool,
}

impl RecordsNewestFirst {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            end: snapshot.end,
            snapshot,
            expected: None,
            ended: false,
        }
    }

    /// Returns where the record begins that was read last, in bytes from the beginning of the oldest file.
    pub fn offset(&self) -> u64 {
        self.end
    }

    /// Returns the next record, of its payload only `P`: several times quicker than all of it.
    pub fn next_brief<P: DeserializeOwned>(&mut self) -> Option<Result<Brief<P>, ReadError>> {
        self.advance(Brief::of)
    }

    fn read<T>(
        &mut self,
        of: impl FnOnce(&Frame) -> Result<T, Fault>,
    ) -> Result<Option<T>, Trouble> {
        let Some(frame) = self.frame()? else {
            return Ok(None);
        };
        if let Some((sequence, hash)) = self.expected {
            if frame.sequence != sequence {
                return Err(Fault::Sequence.into());
            }
            if frame.hash != hash {
                return Err(Fault::Chain.into());
            }
        }
        self.end -= frame.length();
        let before = frame.sequence.checked_sub(1).ok_or(Fault::Sequence)?;
        let is_first = self.end == 0 && !self.snapshot.is_missing_at(0);
        if (before == 0) != is_first || (before == 0) != (frame.previous == [0; 32]) {
            return Err(Fault::Sequence.into());
        }
        self.expected = Some((before, frame.previous));
        Ok(Some(of(&frame)?))
    }

    fn advance<T>(
        &mut self,
        of: impl FnOnce(&Frame) -> Result<T, Fault>,
    ) -> Option<Result<T, ReadError>> {
        if self.ended {
            return None;
        }
        let end = self.end;
        match self.read(of) {
            Ok(record) => record.map(Ok),
            Err(trouble) => {
                self.ended = true;
                Some(Err(self.snapshot.error(end, trouble)))
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>, Trouble> {
        if self.snapshot.is_missing_at(self.end) {
            return Err(Fault::Missing.into());
        }
        if self.end == 0 {
            return Ok(None);
        }
        match self.snapshot.frame_before(self.end) {
            Err(Trouble::Fault(fault)) if self.expected.is_none() => {
                let whole = self.snapshot.last_whole()?;
                let end = whole.as_ref().map_or(0, |(_, end)| *end);
                if self.snapshot.rest_after(end)? == Rest::Damaged {
                    return Err(fault.into());
                }
                self.end = end;
                Ok(whole.map(|(frame, _)| frame))
            }
            other => other.map(Some),
        }
    }
}

impl Iterator for RecordsNewestFirst {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(Record::of)
    }
}
