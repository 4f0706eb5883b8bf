//! The usage history of one sandbox: a file of records of one length, appended by any process.
//!
//! An append is one lock and one write; nothing is synced. A record that a crash cut off is left out
//! by readers and overwritten by the next append. Every 2 MiB the file is shortened: single records
//! become minutes, minutes become hours, see `shorten.rs`. The bytes are specified in
//! `docs/reference/history-format.md`.

pub(crate) mod buckets;
mod outcomes;
mod record;
mod shorten;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

pub use buckets::Buckets;
pub use outcomes::Outcomes;
pub(crate) use record::{Figure, UNIT_SHIFT, milliseconds, small, whole};
pub use record::{GuestProcess, HISTORY_FORMAT, Resolution, Total, UsageRecord, operation_mark};

use record::RECORD_BYTES;

/// The name of the file in the sandbox's directory.
const FILE_NAME: &str = "usage.log";
/// What the file is called while it is written anew.
const NEW_FILE_NAME: &str = "usage.log.new";
/// The file is shortened when an append fills another one of these.
const BLOCK_BYTES: u64 = 2 * 1024 * 1024;
/// The largest file that is read; a whole one is smaller by far.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A record was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryWriteError {
    /// The file cannot be opened or locked.
    #[error("cannot open the usage history {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record cannot be written. The file is as before.
    #[error("cannot append to the usage history {}", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record is written, and the file cannot be shortened. The next append that fills a block
    /// tries again.
    #[error("cannot shorten the usage history {}", path.display())]
    Shorten {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The history cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the usage history {}", path.display())]
pub struct HistoryReadError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// What the file has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// In the order of the file: sums of older times first, then single records as they came.
    pub records: Vec<UsageRecord>,
    /// Records that are not as they were written, left out.
    pub damaged: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Where the history of a sandbox lies.
#[derive(Clone, Debug)]
pub(crate) struct HistoryFile {
    directory: PathBuf,
}

impl HistoryFile {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    pub(crate) fn append(&self, record: &UsageRecord) -> Result<(), HistoryWriteError> {
        let path = self.path();
        let (mut file, length) = match self.open_locked() {
            Ok(opened) => opened,
            Err(source) => return Err(HistoryWriteError::Open { path, source }),
        };
        let written = cut_torn_end(&file, length)
            .and_then(|()| file.write_all(&record.encode()))
            .inspect_err(|_| {
                // A disk that is full may have taken a part; the next append cuts it off as well.
                let _cut = file.set_len(whole_records(length));
            });
        if let Err(source) = written {
            return Err(HistoryWriteError::Append { path, source });
        }
        let before = whole_records(length);
        if before / BLOCK_BYTES == (before + RECORD_BYTES as u64) / BLOCK_BYTES {
            return Ok(());
        }
        self.shorten(record.at_ms)
            .map_err(|source| HistoryWriteError::Shorten { path, source })
    }

    /// Returns what the file has; nothing if there is none.
    pub(crate) fn read(&self) -> Result<History, HistoryReadError> {
        self.read_file().map_err(|source| HistoryReadError {
            path: self.path(),
            source,
        })
    }

    fn read_file(&self) -> io::Result<History> {
        let bytes = match self.open(OFlags::RDONLY) {
            Ok(file) => {
                let length = file.metadata()?.len();
                if length > FILE_BYTES_MAX {
                    return Err(io::Error::other("it is larger than any history"));
                }
                read_to_end(file, length)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
            Err(error) => return Err(error),
        };
        let mut history = History {
            bytes: bytes.len() as u64,
            ..History::default()
        };
        let (whole, _torn) = bytes.as_chunks::<RECORD_BYTES>();
        for record in whole {
            match UsageRecord::decode(record) {
                Some(record) => history.records.push(record),
                None => history.damaged += 1,
            }
        }
        Ok(history)
    }

    /// Opens the file alone, and returns its length.
    fn open_locked(&self) -> io::Result<(File, u64)> {
        loop {
            let file = self.open(OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?;
            file.lock()?;
            let metadata = file.metadata()?;
            // Without a name it was shortened meanwhile: another file has taken its place.
            if metadata.nlink() > 0 {
                return Ok((file, metadata.len()));
            }
        }
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        // NONBLOCK: a FIFO in its place must not make us wait.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::open(self.path(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(File::from(file)),
            Err(Errno::LOOP) => Err(io::Error::other("a symbolic link is in its place")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes the file anew. The caller holds its lock.
    fn shorten(&self, now_ms: u64) -> io::Result<()> {
        let records = shorten::shorten(self.read_file()?.records, now_ms);
        let bytes: Vec<u8> = records.iter().flat_map(UsageRecord::encode).collect();
        let new = self.directory.join(NEW_FILE_NAME);
        // What a crash left of an earlier one.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&new, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&bytes)?;
        // Else a power cut could leave the new name with nothing behind it.
        file.sync_data()?;
        fs::rename(&new, self.path())
    }
}

const fn whole_records(length: u64) -> u64 {
    length - length % RECORD_BYTES as u64
}

fn cut_torn_end(file: &File, length: u64) -> io::Result<()> {
    if whole_records(length) == length {
        return Ok(());
    }
    file.set_len(whole_records(length))
}

fn read_to_end(mut file: File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
