//! How taking, finding and restoring snapshots fails.

use std::path::PathBuf;

use sandbox_rollback::{
    ExportError, ImportError, RepositoryError, RestoreError, SnapshotId, UndoError, UpkeepError,
};
use sandbox_state::AppendError;
use sandbox_types::{OperationId, SandboxName};

use crate::{
    history::HistoryError, launch_plan::PlanError, recover::RecoveryError, review::ReviewError,
    state::StateAccessError, suspend::EnterError,
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
    /// Several snapshots have this tag.
    #[error("'{tag}' is the tag of {} snapshots", snapshots.len())]
    SeveralTagged {
        /// What was asked for.
        tag: String,
        /// The snapshots, oldest first.
        snapshots: Vec<SnapshotId>,
    },
    /// The directory to restore to lies in a workspace.
    #[error("cannot restore to {}: it lies in the workspace of '{name}', where no transaction would hold it", path.display())]
    IntoWorkspace {
        /// The directory.
        path: PathBuf,
        /// The sandbox.
        name: SandboxName,
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
    /// The operations changed no such path.
    #[error("cannot roll back '{globs}': none of the operations changed it")]
    NothingSelected {
        /// The patterns.
        globs: String,
    },
    /// The selected paths cannot be taken out of an operation.
    #[error("cannot take single paths of {id} back")]
    Part {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: Box<ReviewError>,
    },
    /// Another rollback is made.
    #[error("another rollback of this sandbox is made now")]
    Busy,
    /// A rollback that was killed is not finished yet. Nothing was done.
    #[error("an interrupted rollback is not finished yet")]
    Left,
    /// What a killed process left cannot be settled. Nothing was done.
    #[error("cannot settle what was interrupted before")]
    Recovery(#[source] Box<RecoveryError>),
    /// What a rollback is about to do cannot be written down or read.
    #[error("cannot write down the rollback in {}", path.display())]
    Intent {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
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
    /// The state could not be rolled back, and the workspace not be put back either.
    #[error("the workspace is rolled back, the state is not yet")]
    WorkspaceOnly {
        /// What failed in the state.
        #[source]
        source: Box<Self>,
    },
    /// The operations are not undone: all of them or none.
    #[error("cannot roll back to {target}")]
    Undo {
        /// The snapshot or operation.
        target: String,
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

impl SnapshotError {
    pub(super) fn recovery(error: RecoveryError) -> Self {
        Self::Recovery(Box::new(error))
    }
}
