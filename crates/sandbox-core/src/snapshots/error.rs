//! How taking, finding and restoring snapshots fails.

use std::path::PathBuf;

use sandbox_rollback::{
    ExportError, ImportError, RepositoryError, RestoreError, SnapshotId, UndoError, UpkeepError,
};
use sandbox_state::AppendError;
use sandbox_types::OperationId;

use crate::{
    history::HistoryError, launch_plan::PlanError, state::StateAccessError, suspend::EnterError,
};

/// Snapshots cannot be taken, found or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The sandbox has no transactions, or its workspace is gone.
    #[error(transparent)]
    NoTransactions(#[from] PlanError),
    /// The sandbox is suspended, or was destroyed.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The sandbox was destroyed.
    #[error("the sandbox was destroyed")]
    Destroyed(#[source] std::io::Error),
    /// The repository cannot be used, or has no such snapshot.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A snapshot was not written into a file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A file was not taken in.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A restore failed.
    #[error("cannot restore the snapshot {id}")]
    Restore {
        /// The snapshot.
        id: SnapshotId,
        /// Why.
        #[source]
        source: RestoreError,
    },
    /// The name is neither a snapshot's nor an operation's.
    #[error("'{target}' is neither a snapshot nor an operation of this sandbox")]
    UnknownTarget {
        /// What was asked for.
        target: String,
    },
    /// The name means several things.
    #[error("'{target}' is the beginning of several names")]
    AmbiguousTarget {
        /// What was asked for.
        target: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    History(HistoryError),
    /// The operation cannot be taken back.
    #[error("cannot roll back to before {id}: nothing is kept for it")]
    NotUndoable {
        /// The operation.
        id: OperationId,
    },
    /// Paths were asked for, and the target is an operation.
    #[error("cannot roll back single paths to before the operation {id}")]
    PathsOfOperation {
        /// The operation.
        id: OperationId,
    },
    /// Paths were edited by somebody else since.
    #[error("{} path(s) were changed since", paths.len())]
    Conflict {
        /// The paths, relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// What an undo would do cannot be found out.
    #[error("cannot plan the undo of {id}")]
    Plan {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: UndoError,
    },
    /// The state cannot be pinned, or not be rolled back.
    #[error(transparent)]
    State(#[from] StateAccessError),
    /// The journal tells of changes of another store than the one that is there.
    #[error("cannot tell the state before {id}: the store of the state was replaced since")]
    OtherStore {
        /// The operation.
        id: OperationId,
    },
    /// The workspace was not rolled back, and the state could not be put back.
    #[error("the state is rolled back, the workspace is not")]
    StateOnly {
        /// Workspace and state before all of it.
        safety: SnapshotId,
        /// What failed in the workspace.
        #[source]
        source: Box<Self>,
    },
    /// One of the operations was not taken back; those after it were.
    #[error("cannot undo {id}; the operations after it are undone")]
    Undo {
        /// The operation.
        id: OperationId,
        /// The state before all of it.
        safety: SnapshotId,
        /// Why.
        #[source]
        source: Box<UndoError>,
    },
    /// What can be undone cannot be listed.
    #[error("cannot list the transactions")]
    List(#[source] UpkeepError),
    /// It is done, and there is no record of it.
    #[error("it is done, and cannot be recorded")]
    Record(#[source] AppendError),
}
