//! Why an operation is not undone, or not redone.

use std::path::PathBuf;

use sandbox_types::OperationId;

use crate::{Direction, commit::counted, file_error::FileError};

/// The operation is not undone (or not redone); the workspace is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// There is nothing to undo or redo under this id.
    #[error("cannot {direction} operation '{id}': nothing is kept for it")]
    Unknown {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
    },
    /// Another commit, undo or recovery takes too long.
    #[error(
        "cannot {direction} operation '{id}': the workspace is busy with another commit or undo"
    )]
    Busy {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
    },
    /// The lock could not be taken.
    #[error("cannot lock the workspace")]
    Lock {
        /// Why.
        #[source]
        source: FileError,
    },
    /// An earlier commit or undo was interrupted and cannot be completed.
    #[error("cannot undo or redo while operation '{id}' is half-way")]
    Unfinished {
        /// The earlier one.
        id: OperationId,
        /// Why it cannot be completed.
        #[source]
        source: FileError,
    },
    /// These paths were edited since.
    #[error(
        "cannot {direction} operation '{id}': {} changed since",
        counted(paths)
    )]
    Conflict {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
        /// Relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// What is kept could not be read or compared with the workspace.
    #[error("cannot plan the {direction} of operation '{id}'")]
    Plan {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The plan could not be made durable.
    #[error("cannot record the {direction} of operation '{id}'")]
    Record {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and those before it were taken back.
    #[error("cannot {direction} what operation '{id}' changed")]
    Apply {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and so did taking back those before it: recovery goes on with it.
    #[error("cannot complete the {direction} of operation '{id}' now")]
    Interrupted {
        /// Which way.
        direction: Direction,
        /// Which operation.
        id: OperationId,
        /// Why it cannot go on.
        #[source]
        source: FileError,
    },
}
