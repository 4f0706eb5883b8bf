//! Appending a record: lock, look at the last frame, write one frame.

mod error;

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    FILE_NAME, Journal, OWN_KINDS, REPAIRED,
    frame::{Draft, DraftError, FIRST_FILE_VERSION, FORMAT_VERSION, Fault, Frame},
    records::Body,
    segments,
    snapshot::{Rest, Snapshot, Trouble},
};
use crate::{
    Hash, OpenError,
    files::{Directory, Lock, storage},
    hash::hex,
};

pub use error::AppendError;

/// The place of a new record in the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// Its hash, which the next record will contain.
    pub hash: Hash,
}

/// How far a record must have come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Durability {
    /// To the system: survives the process.
    System,
    /// To storage: survives a power cut.
    Storage,
}

pub(super) fn append(
    journal: &Journal,
    kind: &str,
    at: Timestamp,
    payload: &impl Serialize,
    durability: Durability,
) -> Result<Receipt, AppendError> {
    let drafts = [draft(kind, at, payload)?];
    append_drafts(journal, &drafts, at, durability)
}

/// Appends records one after the other, by one write.
pub(super) fn append_all<P: Serialize>(
    journal: &Journal,
    records: &[(&str, P)],
    at: Timestamp,
    durability: Durability,
) -> Result<Option<Receipt>, AppendError> {
    let drafts = records
        .iter()
        .map(|(kind, payload)| draft(kind, at, payload));
    let drafts: Vec<Draft> = drafts.collect::<Result<_, _>>()?;
    if drafts.is_empty() {
        return Ok(None);
    }
    append_drafts(journal, &drafts, at, durability).map(Some)
}

fn draft(kind: &str, at: Timestamp, payload: &impl Serialize) -> Result<Draft, AppendError> {
    assert!(
        !kind.starts_with(OWN_KINDS),
        "kinds in '{OWN_KINDS}' are the journal's own"
    );
    Draft::new(&Body { at, kind, payload }).map_err(|error| refused(kind, error))
}

fn append_drafts(
    journal: &Journal,
    drafts: &[Draft],
    at: Timestamp,
    durability: Durability,
) -> Result<Receipt, AppendError> {
    loop {
        let end = End::open(journal)?;
        let Some(written) = end.write(drafts, at, journal.segment_bytes)? else {
            // It was full, or another process has found it full: there is a new one.
            continue;
        };
        if durability == Durability::Storage {
            // Without the lock: others may append meanwhile, which does not disturb.
            storage::sync(&end.file).map_err(|source| AppendError::Sync {
                path: end.path.clone(),
                source,
            })?;
        }
        return Ok(written);
    }
}

fn refused(kind: &str, error: DraftError) -> AppendError {
    let kind = kind.to_owned();
    match error {
        DraftError::Serialize(source) => AppendError::Serialize { kind, source },
        DraftError::TooLarge(bytes) => AppendError::TooLarge { kind, bytes },
        DraftError::TooDeep => AppendError::TooDeep { kind },
    }
}

/// The journal, opened for one append.
struct End {
    directory: Arc<Directory>,
    file: Arc<File>,
    path: PathBuf,
}

/// The last whole record, and what has to be said before the next one.
struct Tail {
    version: u8,
    sequence: u64,
    hash: Hash,
    offset: u64,
    note: Option<Vec<u8>>,
    /// Nothing, or the anchor alone, is in the file: it is not full, however short a full one is.
    is_new_file: bool,
}

impl End {
    fn open(journal: &Journal) -> Result<Self, AppendError> {
        let path = journal.path();
        // Each append reads the end: without NOATIME, it would change the file's inode once more.
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOATIME;
        let gone = || OpenError::System(io::ErrorKind::NotFound.into());
        // The directory is never made: its sandbox was destroyed if it is not there.
        let opened = Directory::open(&journal.directory).and_then(|directory| {
            let directory = directory.ok_or_else(gone)?;
            let file = directory.file(FILE_NAME, flags)?;
            Ok((directory, file.ok_or_else(gone)?))
        });
        match opened {
            Ok((directory, file)) => Ok(Self {
                directory: Arc::new(directory),
                file: Arc::new(file),
                path,
            }),
            Err(source) => Err(AppendError::Open { path, source }),
        }
    }

    fn lock(&self) -> Result<Lock<'_>, AppendError> {
        Lock::exclusive(&self.file).map_err(|source| AppendError::Lock {
            path: self.path.clone(),
            source,
        })
    }

    /// Writes the records after the last whole one; `None` if the file is full, and not the newest any more.
    fn write(
        &self,
        drafts: &[Draft],
        at: Timestamp,
        segment_bytes: u64,
    ) -> Result<Option<Receipt>, AppendError> {
        let _lock = self.lock()?;
        let Some(size) = self.size_unless_sealed()? else {
            return Ok(None);
        };
        let tail = self.tail(size, at)?;
        if tail.offset >= segment_bytes && tail.note.is_none() && !tail.is_new_file {
            let last = (tail.sequence, tail.hash);
            // A file that is too long is better than a record that is not written.
            if segments::seal(&self.directory, &self.file, last, at).is_ok() {
                return Ok(None);
            }
        }
        let mut bytes = tail.note.unwrap_or_default();
        bytes.reserve(drafts.iter().map(Draft::frame_bytes).sum());
        let mut last = Receipt {
            sequence: tail.sequence,
            hash: tail.hash,
        };
        for draft in drafts {
            let sequence = last.sequence + 1;
            let hash = draft.finish_into(&mut bytes, tail.version, sequence, &last.hash);
            last = Receipt { sequence, hash };
        }
        if let Err(source) = storage::append(&self.file, &bytes) {
            // A part may have been written. If it cannot be taken back, the next append finds it.
            storage::cut(&self.file, tail.offset).ok();
            let path = self.path.clone();
            return Err(AppendError::Write { path, source });
        }
        Ok(Some(last))
    }

    /// Returns the length of the file; `None` if another process has sealed it between open and lock.
    fn size_unless_sealed(&self) -> Result<Option<u64>, AppendError> {
        let newest = self.directory.inode_of(FILE_NAME);
        let known = newest.and_then(|newest| Ok((newest, self.file.metadata()?)));
        match known {
            // The sandbox was destroyed between open and lock: nobody would ever see the record.
            Ok((None, _)) => Err(self.unread(io::ErrorKind::NotFound.into())),
            Ok((Some((newest, _)), this)) => Ok((newest == this.ino()).then_some(this.len())),
            Err(error) => Err(self.unread(error)),
        }
    }

    fn unread(&self, source: io::Error) -> AppendError {
        AppendError::Tail {
            path: self.path.clone(),
            source,
        }
    }

    fn tail(&self, size: u64, at: Timestamp) -> Result<Tail, AppendError> {
        let failed = |source| self.unread(source);
        if size == 0 && !self.has_sealed().map_err(failed)? {
            // Once in the life of a journal: from here on, its name survives a power cut.
            self.sync_name()?;
            return Ok(Tail::first());
        }
        let snapshot = Snapshot::of(self.path.clone(), Arc::clone(&self.file), size);
        match snapshot.frame_before(size) {
            Ok(frame) => {
                let tail = Tail::after(&frame, size);
                // Only the anchor is there: whoever sealed the file before has not synced this name.
                if tail.is_new_file {
                    self.sync_name()?;
                }
                Ok(tail)
            }
            Err(Trouble::System(error)) => Err(failed(error)),
            Err(Trouble::Fault(Fault::Version)) => Err(AppendError::Newer {
                path: self.path.clone(),
            }),
            Err(Trouble::Fault(_)) => {
                // What is left may lie in the file before.
                let directory = Arc::clone(&self.directory);
                let file = Arc::clone(&self.file);
                let snapshot = Snapshot::locked(self.path.clone(), directory, file);
                let snapshot = snapshot.map_err(failed)?;
                let whole = snapshot.last_whole().map_err(failed)?;
                let mut tail = match &whole {
                    Some((frame, end)) => Tail::after(frame, *end),
                    None => Tail::first(),
                };
                let rest = snapshot.rest_after(tail.offset).map_err(failed)?;
                let begins = snapshot.newest_start();
                if begins > 0 {
                    tail.version = FORMAT_VERSION;
                }
                tail.offset = tail.offset.saturating_sub(begins);
                let torn_bytes = size - tail.offset;
                self.repair(&mut tail, rest, torn_bytes, at)
                    .map_err(|source| AppendError::Repair {
                        path: self.path.clone(),
                        source,
                    })?;
                Ok(tail)
            }
        }
    }

    fn sync_name(&self) -> Result<(), AppendError> {
        self.directory.sync().map_err(|source| AppendError::Sync {
            path: self.path.clone(),
            source,
        })
    }

    /// Moves what follows the last whole record to a file of its own, and prepares the record that
    /// says so.
    fn repair(&self, tail: &mut Tail, rest: Rest, bytes: u64, at: Timestamp) -> io::Result<()> {
        let mut hasher = Sha256::new();
        io::copy(&mut self.from(tail.offset)?, &mut HashWriter(&mut hasher))?;
        let sha256 = hex(&hasher.finalize());
        // Named by its content: a second try after a crash writes the same file again.
        let name = format!("journal.torn-{}", &sha256[..16]);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut kept = self
            .directory
            .file(&name, flags)
            .map_err(io::Error::other)?
            .ok_or(io::ErrorKind::NotFound)?;
        io::copy(&mut self.from(tail.offset)?, &mut kept)?;
        storage::sync(&kept)?;
        self.directory.sync()?;
        storage::cut(&self.file, tail.offset)?;

        let payload = serde_json::json!({
            "offset": tail.offset,
            "bytes": bytes,
            "sha256": sha256,
            "kept_as": name,
            "torn": rest == Rest::Torn,
        });
        let draft = Draft::new(&Body {
            at,
            kind: REPAIRED,
            payload: &payload,
        });
        let draft = draft.map_err(|_impossible| io::ErrorKind::InvalidData)?;
        let (note, hash) = draft.finish(tail.version, tail.sequence + 1, &tail.hash);
        tail.sequence += 1;
        tail.hash = hash;
        tail.note = Some(note);
        Ok(())
    }

    fn has_sealed(&self) -> io::Result<bool> {
        Ok(!segments::sealed(&self.directory, Some(&self.file))?.is_empty())
    }

    fn from(&self, offset: u64) -> io::Result<impl io::Read + '_> {
        (&*self.file).seek(SeekFrom::Start(offset))?;
        Ok(&*self.file)
    }
}

impl Tail {
    fn first() -> Self {
        Self {
            version: FIRST_FILE_VERSION,
            sequence: 0,
            hash: [0; 32],
            offset: 0,
            note: None,
            is_new_file: true,
        }
    }

    fn after(frame: &Frame, offset: u64) -> Self {
        Self {
            version: frame.version,
            sequence: frame.sequence,
            hash: frame.hash,
            offset,
            note: None,
            is_new_file: frame.version == FORMAT_VERSION && frame.length() == offset,
        }
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
