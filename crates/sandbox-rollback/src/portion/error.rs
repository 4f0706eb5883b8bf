//! Why no part of an operation is taken.

use std::path::PathBuf;

use sandbox_types::OperationId;

use crate::{GateError, UndoError, commit::counted, file_error::FileError};

/// No part of an operation is taken; all is as before, except after [`PortionError::Move`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortionError {
    /// A path is not a glob.
    #[error("cannot select changes")]
    Glob(#[source] GateError),
    /// No change is selected.
    #[error("cannot select changes: nothing that operation '{id}' changed matches {globs}")]
    Nothing {
        /// The operation.
        id: OperationId,
        /// The globs.
        globs: String,
    },
    /// A directory moves as a whole, and only something in it is selected.
    #[error("cannot select only a part of '{}': the directory came or goes as a whole", .path.display())]
    Whole {
        /// The directory.
        path: PathBuf,
    },
    /// Two names of one file would be parted.
    #[error("cannot select '{}' without the other names of the same file", .path.display())]
    HardLink {
        /// One of its names.
        path: PathBuf,
    },
    /// A file or directory went from one path to the other, and only one of them is selected.
    #[error("cannot select only one of '{}' and '{}': one was renamed to the other", .from.display(), .to.display())]
    Renamed {
        /// The old path.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// The selected paths were edited since.
    #[error(
        "cannot undo or redo a part of operation '{id}': {} changed since",
        counted(paths)
    )]
    Conflict {
        /// The operation.
        id: OperationId,
        /// Relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// The part was taken out, and is not undone (or redone).
    #[error("cannot undo or redo a part of operation '{id}'")]
    Go {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: Box<UndoError>,
    },
    /// A directory is closed to its owner.
    #[error("cannot select '{}': the directory is closed to its owner", .path.display())]
    Closed {
        /// What is kept in it.
        path: PathBuf,
    },
    /// Nothing is kept under this id.
    #[error("cannot select changes of operation '{id}': nothing is kept for it")]
    Unknown {
        /// Which operation.
        id: OperationId,
    },
    /// Another commit, undo or recovery takes too long.
    #[error("cannot select changes: the workspace is busy with another commit or undo")]
    Busy,
    /// An earlier commit or undo was interrupted and cannot be completed.
    #[error("cannot select changes while operation '{id}' is half-way")]
    Unfinished {
        /// The earlier one.
        id: OperationId,
        /// Why it cannot be completed.
        #[source]
        source: FileError,
    },
    /// What is kept could not be read or compared with the workspace.
    #[error("cannot read what is kept of operation '{id}'")]
    Read {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The new set could not be prepared.
    #[error("cannot prepare a part of operation '{id}'")]
    Prepare {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A file did not move: recovery goes on with it.
    #[error("cannot complete the part of operation '{id}' now")]
    Move {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
}
