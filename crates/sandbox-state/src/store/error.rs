//! The errors of the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::VALUE_BYTES_MAX;
use crate::OpenError;

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
        /// The number of the version.
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
        source: redb::Error,
    },
}

fn held_by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(", held by process {pid}"))
}

/// The store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreReadError {
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
        source: redb::Error,
    },
}

/// The store cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreWriteError {
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
    /// The database failed. After that it takes no more changes until it is opened again.
    #[error("cannot write to the store {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
}

/// A failure inside, before it is known where it goes.
#[derive(Debug)]
pub(super) enum Trouble {
    Damaged(Corruption),
    Database(redb::Error),
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

impl StoreReadError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database { path, source },
        }
    }
}

impl StoreWriteError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database { path, source },
        }
    }
}

impl StoreError {
    pub(super) fn of(path: &Path, trouble: Trouble) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Damaged(source) => Self::Damaged { path, source },
            Trouble::Database(source) => Self::Database { path, source },
        }
    }
}
