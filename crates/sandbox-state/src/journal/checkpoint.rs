//! Verification from where an earlier one ended: only what was appended since is read.

use serde::{Deserialize, Serialize};

use super::{
    FILE_NAME, Journal,
    frame::Fault,
    records::{ReadError, Records},
    snapshot::Snapshot,
    verify::{Damage, Verification, continue_from},
};
use crate::{Hash, hash::hex};

/// How far a journal was verified. Kept somewhere else than the journal, it also shows later that
/// records were removed from the end, or that all were written anew.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How many records.
    pub records: u64,
    /// Where the last of them ends.
    pub bytes: u64,
    /// Its hash, in hexadecimal.
    pub head: String,
}

impl Verification {
    /// Returns from where the next verification can go on; `None` if this one found damage or nothing.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.damage.is_some() {
            return None;
        }
        Some(Checkpoint {
            records: self.records,
            bytes: self.bytes - self.torn_tail.unwrap_or(0),
            head: self.head.clone()?,
        })
    }
}

impl Journal {
    /// Recomputes the chain after `known`, which must continue it. What was changed before that is not
    /// found: [`Journal::verify`] does.
    ///
    /// # Errors
    ///
    /// As [`Journal::verify`].
    pub fn verify_since(&self, known: &Checkpoint) -> Result<Verification, ReadError> {
        let snapshot = Snapshot::open(self)?;
        if let Some(file) = snapshot.missing() {
            return Ok(damaged(
                known,
                &snapshot,
                file.to_owned(),
                0,
                Fault::Missing,
            ));
        }
        let head = unhex(&known.head);
        let (Some(head), true) = (head, snapshot.end >= known.bytes) else {
            let offset = snapshot.end - snapshot.newest_start();
            // Fewer bytes than were there.
            let what = Fault::Length;
            return Ok(damaged(
                known,
                &snapshot,
                FILE_NAME.to_owned(),
                offset,
                what,
            ));
        };
        let records = Records::after(snapshot, known.bytes, (known.records, head));
        continue_from(records, known.records, Some(head))
    }
}

/// What is said of a journal that is not as far as it was.
fn damaged(
    known: &Checkpoint,
    snapshot: &Snapshot,
    file: String,
    offset: u64,
    what: Fault,
) -> Verification {
    Verification {
        records: known.records,
        bytes: snapshot.end,
        head: None,
        damage: Some(Damage {
            sequence: known.records,
            file,
            offset,
            what,
        }),
        torn_tail: None,
        repairs: 0,
    }
}

/// Returns the hash that `text` has in hexadecimal.
pub(super) fn unhex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (hex(&hash) == text).then_some(hash)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;

    fn journal(directory: &TempDir, records: u64) -> Journal {
        let journal = Journal::at(directory.path());
        for n in 0..records {
            journal.append("n", Timestamp::UNIX_EPOCH, &n).unwrap();
        }
        journal
    }

    #[test]
    fn only_what_is_new_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(&directory, 3);
        let known = journal.verify().unwrap().checkpoint().unwrap();
        assert_eq!(known.records, 3);
        journal.append("n", Timestamp::UNIX_EPOCH, &3).unwrap();
        let since = journal.verify_since(&known).unwrap();
        assert_eq!(since, journal.verify().unwrap());
        let known = since.checkpoint().unwrap();
        assert_eq!(journal.verify_since(&known).unwrap().records, 4);
        // What is before it is not read.
        let mut bytes = fs::read(journal.path()).unwrap();
        bytes[60] ^= 1;
        fs::write(journal.path(), bytes).unwrap();
        assert_eq!(journal.verify_since(&known).unwrap().damage, None);
        assert!(journal.verify().unwrap().damage.is_some());
    }

    #[test]
    fn a_journal_that_was_cut_or_written_anew_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(&directory, 5);
        let known = journal.verify().unwrap().checkpoint().unwrap();
        let whole = fs::read(journal.path()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let first = self::journal(&other, 3);
        // Whole records are missing at the end: a verification by itself cannot see that.
        fs::copy(first.path(), journal.path()).unwrap();
        assert_eq!(journal.verify().unwrap().damage, None);
        assert!(journal.verify_since(&known).unwrap().damage.is_some());
        // Another one of the same length, and more.
        first.append("m", Timestamp::UNIX_EPOCH, &3).unwrap();
        first.append("n", Timestamp::UNIX_EPOCH, &4).unwrap();
        first.append("n", Timestamp::UNIX_EPOCH, &5).unwrap();
        fs::copy(first.path(), journal.path()).unwrap();
        assert_eq!(journal.verify().unwrap().damage, None);
        assert!(journal.verify_since(&known).unwrap().damage.is_some());
        fs::write(journal.path(), whole).unwrap();
        assert_eq!(journal.verify_since(&known).unwrap().damage, None);
    }

    #[test]
    fn no_journal_has_no_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let none = Journal::at(directory.path()).verify().unwrap();
        assert_eq!(none.checkpoint(), None);
    }

    #[test]
    fn what_is_no_hash_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(&directory, 1);
        let good = journal.verify().unwrap().checkpoint().unwrap();
        for head in [
            "",
            "zz",
            &good.head.to_uppercase().replace(char::is_numeric, "A"),
        ] {
            let bad = Checkpoint {
                head: head.to_owned(),
                ..good.clone()
            };
            assert!(
                journal.verify_since(&bad).unwrap().damage.is_some(),
                "{head}"
            );
        }
    }
}
