//! How the manager's operations fail.

use std::path::PathBuf;

use sandbox_types::OperationId;

use crate::file_error::FileError;

/// The layers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The workspace is not a directory that can be read.
    #[error("cannot use '{}' as a workspace: it is not an absolute path of a directory", .path.display())]
    Workspace {
        /// The workspace.
        path: PathBuf,
    },
    /// One of the directories cannot be made or read.
    #[error("cannot prepare the layers")]
    Prepare {
        /// Which one.
        #[source]
        source: FileError,
    },
    /// Files cannot be renamed from one to the other.
    #[error("cannot keep layers in '{}': it is not on the same mount as the workspace", .layers.display())]
    OtherFileSystem {
        /// The layers.
        layers: PathBuf,
    },
    /// The layers would be part of what they protect.
    #[error("cannot keep layers in '{}': it is inside of the workspace", .layers.display())]
    Inside {
        /// The layers.
        layers: PathBuf,
    },
    /// The layers were said to be in the workspace.
    #[error("cannot keep layers in '{}': it is not inside of the workspace", .layers.display())]
    Outside {
        /// The layers.
        layers: PathBuf,
    },
    /// Other users may reach the layers.
    #[error("cannot keep layers in '{}': it must belong to this user with mode 0700", .layers.display())]
    Exposed {
        /// The layers.
        layers: PathBuf,
    },
}

/// No transaction was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// There is already something under this id.
    #[error("cannot begin operation '{id}': its id is in use")]
    Exists {
        /// The id.
        id: OperationId,
    },
    /// A commit, undo or recovery takes too long.
    #[error("cannot begin operation '{id}': the workspace is busy with a commit or undo")]
    Busy {
        /// The id.
        id: OperationId,
    },
    /// The directories could not be made.
    #[error("cannot prepare the layers of operation '{id}'")]
    Prepare {
        /// The id.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// A held transaction cannot be taken up again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// Nothing waits under this id.
    #[error("cannot resume operation '{id}': it does not wait for review")]
    NotHeld {
        /// The id.
        id: OperationId,
    },
    /// Somebody else decides on it right now.
    #[error("cannot resume operation '{id}': another process works on it")]
    Busy {
        /// The id.
        id: OperationId,
    },
    /// Its record cannot be read.
    #[error("cannot read the record of operation '{id}'")]
    Record {
        /// The id.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// The layers could not be listed, recovered, thinned out or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// Another commit, undo or recovery takes too long.
    #[error("cannot look after the layers: the workspace is busy with another commit or undo")]
    Busy,
    /// An operation still runs.
    #[error("cannot remove the layers: operation '{id}' is still in use")]
    InUse {
        /// Which one.
        id: OperationId,
    },
    /// A file could not be read, moved or deleted.
    #[error("cannot look after the layers")]
    File {
        /// Which one.
        #[source]
        source: FileError,
    },
}

impl From<FileError> for UpkeepError {
    fn from(source: FileError) -> Self {
        Self::File { source }
    }
}
