//! The errors of the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::VALUE_BYTES_MAX;
use crate::{KeyError, OpenError};

/// What is wrong with a damaged store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The file is not a database.
    #[error("it is not a database")]
    NotADatabase,
    /// redb found damage.
    #[error("its pages are damaged")]
    Pages(#[source] redb::Error),
    /// redb panicked on what it read.
    #[error("its pages are damaged: {message}")]
    Panic {
        /// The message of the panic.
        message: String,
    },
    /// Nothing is read after redb panicked.
    #[error("damage was found in it before")]
    Stopped,
    /// A value is not the one that was stored under this name and number.
    #[error("version {sequence} of '{key}' in '{namespace}' was changed")]
    Value {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
        /// Its sequence.
        sequence: u64,
    },
    /// A version is missing, or one too many is there.
    #[error("versions of '{key}' in '{namespace}' are missing")]
    Missing {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
    },
    /// A secret was changed, or moved here from another place.
    #[error("version {sequence} of the secret '{key}' in '{namespace}' was changed or moved")]
    Sealed {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
        /// Its sequence.
        sequence: u64,
    },
    /// A pin is not the one that was set.
    #[error("the pin '{name}' was changed")]
    Pin {
        /// Its name.
        name: String,
    },
    /// The list of all changes does not fit the versions.
    #[error("its list of changes is damaged at {sequence}")]
    Log {
        /// The number of the change.
        sequence: u64,
    },
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its directory was not opened.
    #[error("cannot open the store {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// A new store was not created.
    #[error("cannot create the store {path}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A new store got no number, for want of random bytes.
    #[error("cannot create the store {path}")]
    Random {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// Another process has it open, and kept it for longer than the wait.
    #[error("cannot open the store {path}: busy{}", held_by(*.holder))]
    Busy {
        /// The file.
        path: PathBuf,
        /// The process that has it open, if that can be seen.
        holder: Option<u32>,
    },
    /// A newer program wrote it.
    #[error(
        "cannot open the store {path}: it has format {format}, and this program knows up to {known}"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// The newest format that is known.
        known: u64,
    },
    /// It is damaged.
    #[error("cannot open the store {path}: it is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Corruption,
    },
    /// The database failed.
    #[error("cannot open the store {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
}

/// The database failed.
#[derive(Debug)]
pub struct DatabaseError(redb::Error);

impl std::fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if matches!(self.0, redb::Error::Io(_)) {
            f.write_str("the database cannot use its file")
        } else {
            self.0.fmt(f)
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let redb::Error::Io(error) = &self.0 {
            Some(error)
        } else {
            None
        }
    }
}

fn held_by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(", held by process {pid}"))
}

/// What was asked for is not in the store.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The key never had a version of this number.
    #[error("there is no version {number} of '{key}': the newest is {newest}")]
    NoVersion {
        /// The key.
        key: String,
        /// The number.
        number: u64,
        /// The newest number; 0 if there is no such key.
        newest: u64,
    },
    /// Retention removed what was asked for.
    #[error("the value of '{key}' at {when} is no longer kept")]
    NotKept {
        /// The key.
        key: String,
        /// When: as in `version 3`.
        when: String,
    },
    /// Nothing is pinned under this name.
    #[error("there is no point in time that is called '{name}'")]
    NoPin {
        /// The name.
        name: String,
    },
    /// The store has not come so far.
    #[error("there is no sequence {sequence}: the last is {last}")]
    NoSequence {
        /// The sequence.
        sequence: u64,
        /// The last.
        last: u64,
    },
}

/// The store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreReadError {
    /// What was asked for is not there.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The key of the secrets cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was to be read is damaged.
    #[error("cannot read from the store {path}: it is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Corruption,
    },
    /// The database failed.
    #[error("cannot read from the store {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
}

/// The store cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreWriteError {
    /// What was asked for is not there.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The key of the secrets cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key has another version than the caller expected: somebody else changed it.
    #[error("cannot store '{key}': its version is {found}, not {expected}")]
    Conflict {
        /// The key.
        key: String,
        /// The expected number; 0 for no value.
        expected: u64,
        /// The number that was found; 0 for no value.
        found: u64,
    },
    /// The store was opened to read.
    #[error("cannot change the store {path}, which was opened to read")]
    ToRead {
        /// The store.
        path: PathBuf,
    },
    /// The key holds a secret, and the new value is not said to be one.
    #[error("cannot store '{key}' unsealed: it is a secret")]
    StaysSecret {
        /// The key.
        key: String,
    },
    /// A name is empty or too long.
    #[error("cannot store under a {what} of {bytes} bytes: it must have 1 to {bytes_max}")]
    Name {
        /// Which name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is possible.
        bytes_max: usize,
    },
    /// The value is too large.
    #[error("cannot store a value of {bytes} bytes: the largest has {VALUE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The store is damaged.
    #[error("cannot write to the store {path}: it is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Corruption,
    },
    /// A transaction changes a key at most once.
    #[error("cannot change the key '{key}' twice in one commit")]
    Twice {
        /// The key.
        key: String,
    },
    /// The database failed. After that it takes no more changes until it is opened again.
    #[error("cannot write to the store {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
}

/// A failure inside, before it is known where it goes.
#[derive(Debug)]
pub(super) enum Trouble {
    Damaged(Corruption),
    Database(redb::Error),
    Lookup(LookupError),
    Key(KeyError),
    Conflict {
        key: String,
        expected: u64,
        found: u64,
    },
    StaysSecret {
        key: String,
    },
}

impl Trouble {
    pub(super) fn not_kept(key: &str, when: impl Into<String>) -> Self {
        Self::Lookup(LookupError::NotKept {
            key: key.to_owned(),
            when: when.into(),
        })
    }
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        let error = error.into();
        let damaged = matches!(
            &error,
            redb::Error::Corrupted(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
                | redb::Error::TableIsNotMultimap(_)
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableDoesNotExist(_)
                | redb::Error::RepairAborted
        ) || matches!(
            &error,
            redb::Error::Io(error) if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            )
        );
        if damaged {
            Self::Damaged(Corruption::Pages(error))
        } else {
            Self::Database(error)
        }
    }
}

impl From<LookupError> for Trouble {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

impl From<KeyError> for Trouble {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl StoreReadError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database {
                path,
                source: DatabaseError(source),
            },
            Trouble::Lookup(error) => Self::Lookup(error),
            Trouble::Key(error) => Self::Key(error),
            Trouble::Conflict { .. } | Trouble::StaysSecret { .. } => {
                unreachable!("only writing refuses to write")
            }
        }
    }
}

impl StoreWriteError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database {
                path,
                source: DatabaseError(source),
            },
            Trouble::Lookup(error) => Self::Lookup(error),
            Trouble::Key(error) => Self::Key(error),
            Trouble::Conflict {
                key,
                expected,
                found,
            } => Self::Conflict {
                key,
                expected,
                found,
            },
            Trouble::StaysSecret { key } => Self::StaysSecret { key },
        }
    }
}

impl StoreError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database {
                path,
                source: DatabaseError(source),
            },
            Trouble::Key(source) => Self::Random { path, source },
            Trouble::Lookup(_) | Trouble::Conflict { .. } | Trouble::StaysSecret { .. } => {
                unreachable!("opening looks nothing up")
            }
        }
    }
}
