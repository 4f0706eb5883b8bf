//! How the repository's operations fail.

use std::path::{Path, PathBuf};

use crate::file_error::FileError;

/// The repository cannot be used, or what was asked for is not in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// There is no snapshot yet.
    #[error("there is no snapshot yet")]
    Empty,
    /// No snapshot has that id.
    #[error("there is no snapshot '{id}'")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// More than one snapshot's id begins like that.
    #[error("'{id}' is the beginning of several snapshots' ids")]
    Ambiguous {
        /// What was asked for.
        id: String,
    },
    /// What belongs to the snapshot and is kept elsewhere was not kept. There is no new snapshot.
    #[error("cannot keep what belongs to the snapshot")]
    Companion(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process changes the repository, and did so for longer than the wait.
    #[error("cannot use the repository '{}': another process changes it", path.display())]
    Busy {
        /// The repository.
        path: PathBuf,
    },
    /// It lies in the workspace, and would be a part of what it keeps.
    #[error("cannot keep snapshots in '{}': it is inside of the workspace", path.display())]
    Inside {
        /// The repository.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("cannot use the repository '{}': it has format {version}, and this program knows up to {known}", path.display())]
    Newer {
        /// The repository.
        path: PathBuf,
        /// Its format.
        version: u64,
        /// The newest format that is known.
        known: u64,
    },
    /// It is encrypted, and there is no key.
    #[error("cannot open '{}': it is encrypted, and there is no key", path.display())]
    Locked {
        /// The repository or the file.
        path: PathBuf,
    },
    /// It is encrypted with another key.
    #[error("cannot open '{}': it is encrypted with the key {sealed_with}, and the key that was given is {found}", path.display())]
    WrongKey {
        /// The repository or the file.
        path: PathBuf,
        /// The name of the key that is needed.
        sealed_with: String,
        /// The name of the key that was given.
        found: String,
    },
    /// The key cannot be read or made.
    #[error("cannot get the key of the snapshots")]
    Key(#[source] super::key::KeyFailure),
    /// It shall be encrypted, and what is in it is not.
    #[error("cannot write into the repository '{}': it shall be encrypted, and is not yet", path.display())]
    NotEncrypted {
        /// The repository.
        path: PathBuf,
    },
    /// The index is missing or damaged; it can be made again from the packs.
    #[error("cannot read the index '{}': {why}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A part of it is not what was written.
    #[error("cannot read {what} from '{}': {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was to be read.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of the repository or of the workspace cannot be read or written.
    #[error("cannot work with the repository")]
    File {
        /// Which one.
        #[source]
        source: FileError,
    },
    /// What a snapshot shall leave out cannot be understood.
    #[error("cannot take a snapshot")]
    Excludes(#[from] super::exclude::ExcludesError),
    /// What is given for a snapshot cannot be kept.
    #[error("cannot keep a {what} of {bytes} bytes: the longest has {bytes_max}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is possible.
        bytes_max: usize,
    },
}

impl From<FileError> for RepositoryError {
    fn from(source: FileError) -> Self {
        Self::File { source }
    }
}

/// Why the index did not answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// redb says so.
    Database(Box<redb::Error>),
    /// redb panicked, or a row has not the form that we write.
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl Trouble {
    pub(super) fn at(self, path: &Path) -> RepositoryError {
        let path = path.to_owned();
        match self {
            Self::Database(error) if matches!(*error, redb::Error::DatabaseAlreadyOpen) => {
                RepositoryError::Busy { path }
            }
            Self::Database(error) => {
                let why = error.to_string();
                if let redb::Error::Io(source) = *error
                    && is_the_systems(&source)
                {
                    let source = crate::file_error::cannot("use", &path)(source);
                    return RepositoryError::File { source };
                }
                RepositoryError::Index { path, why }
            }
            Self::Damaged(why) => RepositoryError::Index { path, why },
        }
    }
}

/// Returns whether the system failed; otherwise the content of the file is at fault.
fn is_the_systems(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
    )
}
