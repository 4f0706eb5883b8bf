//! What was written without a transaction becomes one afterwards.
//!
//! The older content is staged as for a restore, and stays aside: that is what a commit leaves. So
//! the undo set that this makes is like any other.

use sandbox_types::{Change, ChangeKind, OperationId};

use super::{RestoreError, Selection, prepare};
use crate::{
    RollbackManager,
    apply::Sides,
    commit::{CommitError, Committed, save_changes},
    file_error::FileError,
    journal,
    layout::JOURNAL,
    repository::{Repository, SnapshotId, session::Session},
    settle,
    survey::Survey,
    transaction::Transaction,
};

impl Repository {
    /// Keeps what the workspace had at the snapshot for an undo of `operation`, which changed it
    /// directly since then.
    ///
    /// # Errors
    ///
    /// Fails when the snapshot is damaged, or when a file cannot be read or written. Then the
    /// workspace is as the operation left it, and nothing can be undone.
    pub fn keep_since(
        &self,
        id: &SnapshotId,
        operation: &OperationId,
    ) -> Result<Committed, RestoreError> {
        let session = Session::read(self)?;
        let snapshot = session.find(&id.to_string())?;
        let layout = &session.repository.layout;
        crate::repository::take::start(layout)?;
        let transaction = RollbackManager::with_layout(layout)
            .begin(operation)
            .map_err(RestoreError::Begin)?;
        let everything = Selection::new(&[])?;
        let prepared = prepare(&session, &snapshot, &everything, (&transaction, false));
        let survey = match prepared {
            Ok((survey, _notes)) if !survey.plan.is_empty() => survey,
            ended => {
                // If it cannot be moved away now, recovery does so.
                drop(transaction.discard());
                return ended.map(|_nothing| Committed {
                    changes: Vec::new(),
                    undoable: false,
                    left_alone: Vec::new(),
                });
            }
        };
        adopt(&transaction, survey).map_err(RestoreError::Commit)
    }
}

/// Files the transaction as if its commit had brought what is in the workspace.
fn adopt(tx: &Transaction, survey: Survey) -> Result<Committed, CommitError> {
    let (layout, id) = (&tx.layout, &tx.id);
    let _lock = layout
        .exclusive()
        .map_err(|source| CommitError::Lock { source })?
        .ok_or_else(|| CommitError::Busy { id: id.clone() })?;
    let record = |source: FileError| CommitError::Record {
        id: id.clone(),
        source,
    };
    let changes: Vec<Change> = survey.changes.into_iter().map(mirrored).collect();
    let plan = survey.plan.inverse();
    save_changes(&tx.set, &changes).map_err(record)?;
    Sides::open(&layout.workspace, &tx.set)
        .and_then(|sides| sides.sync())
        .map_err(record)?;
    journal::write(&tx.set, JOURNAL, tx.workspace_ino, &plan).map_err(record)?;
    // Each of its moves finds itself done.
    let left_alone =
        settle::finish_commit(layout, id, &plan).map_err(|source| CommitError::Interrupted {
            id: id.clone(),
            source,
        })?;
    Ok(Committed {
        changes,
        undoable: true,
        left_alone,
    })
}

/// The survey is that of the way back.
fn mirrored(change: Change) -> Change {
    let kind = match change.kind {
        ChangeKind::Created => ChangeKind::Deleted,
        ChangeKind::Deleted => ChangeKind::Created,
        kind @ (ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Renamed) => kind,
    };
    Change { kind, ..change }
}
