//! Records by their place, for who remembers where they are: an index need not read the journal again.

use serde::de::DeserializeOwned;

use super::{
    Checkpoint, Journal,
    checkpoint::unhex,
    records::{Brief, ReadError, Record, Records},
    snapshot::{Snapshot, Trouble},
};
use crate::hash::hex;

impl Journal {
    /// Returns the records after those that `known` has; `None` if the journal does not continue it. What is before it
    /// is not checked: [`Journal::verify`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::records`].
    pub fn records_since(&self, known: &Checkpoint) -> Result<Option<Records>, ReadError> {
        let snapshot = Snapshot::open(self)?;
        let (Some(head), true) = (unhex(&known.head), snapshot.end >= known.bytes) else {
            return Ok(None);
        };
        if snapshot.missing().is_some() {
            return Ok(None);
        }
        match snapshot.frame_before(known.bytes) {
            Ok(last) if (last.sequence, last.hash) == (known.records, head) => Ok(Some(
                Records::after(snapshot, known.bytes, (known.records, head)),
            )),
            Ok(_) | Err(Trouble::Fault(_)) => Ok(None),
            Err(trouble) => Err(snapshot.error(known.bytes, trouble)),
        }
    }

    /// Returns the records that begin at these places, as [`Records::offset`] told them, in the same order. Each is
    /// checked by itself, not its place in the chain.
    ///
    /// # Errors
    ///
    /// As [`Journal::records`], and when no whole record begins at one of them.
    pub fn records_at(&self, offsets: &[u64]) -> Result<Vec<Record>, ReadError> {
        let snapshot = Snapshot::open(self)?;
        let read = |offset: u64| {
            let frame = snapshot.frame_at(offset)?;
            Ok(Record::of(&frame)?)
        };
        offsets
            .iter()
            .map(|offset| read(*offset).map_err(|trouble| snapshot.error(*offset, trouble)))
            .collect()
    }
}

impl Records {
    /// Returns the next record, of its payload only what a `P` has. Otherwise as the iterator.
    pub fn next_brief<P: DeserializeOwned>(&mut self) -> Option<Result<Brief<P>, ReadError>> {
        self.advance(Brief::of)
    }

    /// Returns how far was read; `None` if nothing was.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let place = self.place();
        (place.sequence > 0).then(|| Checkpoint {
            records: place.sequence,
            bytes: place.offset,
            head: hex(&place.previous),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;
    use serde::Deserialize;

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    #[derive(Debug, Deserialize, Eq, PartialEq)]
    struct Numbered {
        number: u64,
    }

    #[test]
    fn records_are_read_on_and_found_by_their_place() {
        let directory = tempfile::tempdir().unwrap();
        // Several files: each record is at a place of all of them.
        let journal = Journal::at(directory.path()).with_segment_bytes(600);
        for number in 0..10 {
            let payload = serde_json::json!({ "number": number, "more": [1] });
            journal.append("n", AT, &payload).unwrap();
        }
        journal.append("other", AT, &"text").unwrap();
        let mut records = journal.records().unwrap();
        let (mut places, mut numbers, mut middle) = (Vec::new(), Vec::new(), None);
        loop {
            let offset = records.offset();
            let Some(brief) = records.next_brief::<Numbered>() else {
                break;
            };
            let brief = brief.unwrap();
            if let Some(it) = brief.payload {
                places.push(offset);
                numbers.push(it.number);
            }
            if numbers.len() == 5 {
                middle = middle.or_else(|| records.checkpoint());
            }
        }
        assert_eq!(numbers, (0..10).collect::<Vec<u64>>());
        let found = journal.records_at(&[places[7], places[2]]).unwrap();
        let found: Vec<_> = found.iter().map(|it| &it.payload["number"]).collect();
        assert_eq!(found, [7, 2]);
        journal.records_at(&[places[7] + 1]).unwrap_err();
        for behind in [1 << 20, u64::MAX] {
            let refused = journal.records_at(&[behind]).unwrap_err();
            assert!(matches!(refused, ReadError::Damaged { .. }), "{refused:?}");
        }
        let middle = middle.unwrap();
        let rest = journal.records_since(&middle).unwrap().unwrap();
        let rest = rest.filter(|it| it.as_ref().unwrap().kind == "n").count();
        assert_eq!(rest, 5);
        // The control: one that is no part of it.
        let other = Checkpoint {
            head: "00".repeat(32),
            ..middle.clone()
        };
        assert!(journal.records_since(&other).unwrap().is_none());
        fs::remove_file(directory.path().join("journal-000001.log")).unwrap();
        assert!(journal.records_since(&middle).unwrap().is_none());
    }

    #[test]
    fn many_are_appended_as_one_by_one() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (many, single) = (Journal::at(one.path()), Journal::at(other.path()));
        let records: Vec<(&str, u32)> = (0..100).map(|number| ("n", number)).collect();
        assert_eq!(many.append_all::<u32>(AT, &[]).unwrap(), None);
        let last = many.append_all_synced(AT, &records).unwrap().unwrap();
        let mut expected = None;
        for (kind, number) in &records {
            expected = Some(single.append(kind, AT, number).unwrap());
        }
        assert_eq!(Some(last), expected);
        let bytes = [many, single].map(|it| fs::read(it.path()).unwrap());
        assert_eq!(bytes[0], bytes[1]);
    }
}
