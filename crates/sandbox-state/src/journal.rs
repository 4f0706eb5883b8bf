//! The journal: an append-only file of framed, hash-chained records.
//!
//! Each record carries the SHA-256 of its content and of the record before it, so that every
//! changed, removed, inserted or moved record is found by [`Journal::verify`]. A chain alone cannot
//! show that whole records are missing *at the end*: who must be sure of that keeps the `head` of a
//! [`Verification`] elsewhere. The hash is not keyed: it shows accidents and careless edits; who may
//! rewrite the whole file can compute a new chain, and only a `head` kept elsewhere tells.
//!
//! A file that is full is kept under another name, and the chain goes on in a new one.
//!
//! The bytes are specified in `docs/reference/journal-format.md`. Hash chains for logs: Schneier and
//! Kelsey, "Secure audit logs to support computer forensics", 1999.

mod append;
mod checkpoint;
mod follow;
mod frame;
mod lookup;
mod newest_first;
mod records;
mod segments;
mod snapshot;
mod verify;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

pub use append::{AppendError, Receipt};
pub use checkpoint::Checkpoint;
pub use follow::Follower;
pub use frame::{BODY_BYTES_MAX, FORMAT_VERSION, Fault};
pub use newest_first::RecordsNewestFirst;
pub use records::{Brief, ReadError, Record, Records};
pub use segments::SEGMENT_BYTES_DEFAULT;
use snapshot::Snapshot;
pub use verify::{Damage, Verification};

/// The name of the journal in its directory.
const FILE_NAME: &str = "journal.log";

/// Kinds of records that only the journal itself writes begin with this.
const OWN_KINDS: &str = "journal.";

/// The kind of the record that says that a torn or damaged end was moved aside.
const REPAIRED: &str = "journal.repaired";

/// The journal of one sandbox: the file `journal.log` in its state directory, and the full ones before it.
///
/// It is created, mode 0600, by the first append; its directory is not. Every call opens the file anew; any number of
/// processes and threads may use it at once.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: PathBuf,
    /// A file of this length is full.
    segment_bytes: u64,
}

impl Journal {
    pub(crate) fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
        }
    }

    pub(crate) fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Returns where the file lies to which records are appended. Full ones lie beside it.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Appends a record and returns its place in the chain.
    ///
    /// The record survives the end of this process, not yet a power cut: the system writes it to
    /// storage later. Takes microseconds.
    ///
    /// A torn end, left by a crash, is moved aside first and noted by a record of its own.
    ///
    /// # Errors
    ///
    /// Fails when the payload cannot be JSON or is too large, when the file cannot be opened, read
    /// or written or is not ours alone, and when it ends with a record of a newer format. After an
    /// error the journal is as before, or has a torn end that the next append repairs.
    ///
    /// # Panics
    ///
    /// Panics when `kind` begins with `journal.`: these are the journal's own.
    pub fn append(
        &self,
        kind: &str,
        at: Timestamp,
        payload: &impl Serialize,
    ) -> Result<Receipt, AppendError> {
        append::append(self, kind, at, payload, append::Durability::System)
    }

    /// Appends a record and waits until storage has it: it survives a power cut.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`]; and when storage does not confirm, in which case nobody knows
    /// whether the record will be there after a power cut.
    ///
    /// # Panics
    ///
    /// As [`Journal::append`].
    pub fn append_synced(
        &self,
        kind: &str,
        at: Timestamp,
        payload: &impl Serialize,
    ) -> Result<Receipt, AppendError> {
        append::append(self, kind, at, payload, append::Durability::Storage)
    }

    /// Appends records, each a kind and its payload, one after the other by one write; returns the place of the last,
    /// or `None` for none. A crash may leave the first of them.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`]; then none of them is there.
    ///
    /// # Panics
    ///
    /// As [`Journal::append`].
    pub fn append_all<P: Serialize>(
        &self,
        at: Timestamp,
        records: &[(&str, P)],
    ) -> Result<Option<Receipt>, AppendError> {
        append::append_all(self, records, at, append::Durability::System)
    }

    /// Appends records as [`Journal::append_all`], and waits once until storage has them.
    ///
    /// # Errors
    ///
    /// As [`Journal::append_synced`].
    ///
    /// # Panics
    ///
    /// As [`Journal::append`].
    pub fn append_all_synced<P: Serialize>(
        &self,
        at: Timestamp,
        records: &[(&str, P)],
    ) -> Result<Option<Receipt>, AppendError> {
        append::append_all(self, records, at, append::Durability::Storage)
    }

    /// Returns the records, oldest first; those that are there now. A torn end is left out.
    ///
    /// Each record is checked, and that it continues the one before; after an error there are no
    /// more.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or is not ours alone. No file is no error.
    pub fn records(&self) -> Result<Records, ReadError> {
        Ok(Records::new(Snapshot::open(self)?))
    }

    /// Returns the records, newest first, reading only what is asked for. A torn end is left out.
    ///
    /// Each record is checked, and that the one after continues it; after an error there are no
    /// more.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or is not ours alone. No file is no error.
    pub fn records_newest_first(&self) -> Result<RecordsNewestFirst, ReadError> {
        Ok(RecordsNewestFirst::new(Snapshot::open(self)?))
    }

    /// Returns a reader of the records after number `after`, those that are there and those that
    /// come; `None` is the newest that is there now.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or is not ours alone, or when it is damaged between its
    /// end and that record. No file is no error.
    pub fn follow(&self, after: Option<u64>) -> Result<Follower, ReadError> {
        Follower::new(self, after)
    }

    /// Recomputes the whole chain.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or read, or is not ours alone. Damage is no error: it
    /// is part of the answer.
    pub fn verify(&self) -> Result<Verification, ReadError> {
        verify::verify(self)
    }
}
