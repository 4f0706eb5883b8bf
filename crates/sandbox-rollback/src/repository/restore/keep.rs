//! What was written without a transaction becomes one afterwards.
//!
//! The older content is staged as for a restore, and stays aside: that is what a commit leaves. So
//! the undo set that this makes is like any other.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind, OperationId};

use super::{RestoreError, Selection, prepare};
use crate::{
    RollbackManager,
    apply::Sides,
    commit::{CommitError, Committed, save_changes},
    file_error::{FileError, cannot},
    journal,
    layout::JOURNAL,
    ledger::{Ledger, State},
    plan::{Move, Plan},
    repository::{
        Repository, SnapshotId,
        scan::Seen,
        seen::{self, SeenDirectory},
        session::Session,
        take,
    },
    settle,
    step::step,
    survey::Survey,
    transaction::Transaction,
    tree::Tree,
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
        take::start(layout)?;
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
        let mut copies = Vec::new();
        if let Some(seen) = take::seen_by(&session, &snapshot.id)? {
            copies = originals(&seen, staged(&transaction, &survey.plan)?);
        }
        adopt(&transaction, survey, &copies).map_err(RestoreError::Commit)
    }
}

/// What an undo will bring, by directory and name.
type Staged = BTreeMap<PathBuf, Vec<(OsString, State)>>;

/// Returns all that an undo will bring, and what it will only give other attributes.
fn staged(tx: &Transaction, plan: &Plan) -> Result<Staged, FileError> {
    let mut found = Staged::new();
    let mut add = |path: &Path, state| {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let entry = (name.to_owned(), state);
            found.entry(parent.to_owned()).or_default().push(entry);
        }
    };
    for directory in &plan.directories {
        add(&directory.path, (directory.ino, directory.ctime));
    }
    let upper = Tree::open(tx.upper())?;
    let brings = |it: &&Move| matches!(it, Move::Exchange { .. } | Move::Attach { .. });
    let brought = plan.moves.iter().filter(brings);
    let mut stack: Vec<_> = brought.map(|it| it.path().to_owned()).collect();
    while let Some(path) = stack.pop() {
        let read = || -> io::Result<_> {
            let Some(stat) = upper.find(&path)? else {
                return Ok(None);
            };
            let inside = if stat.is_dir() {
                upper.names(&path)?
            } else {
                Vec::new()
            };
            Ok(Some((stat, inside)))
        };
        match read() {
            Ok(None) => {}
            Ok(Some((stat, inside))) => {
                add(&path, (stat.ino, stat.ctime));
                stack.extend(inside.into_iter().map(|name| path.join(name)));
            }
            // It is closed to us: what is in it stays unknown, and looks edited.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(upper.cannot("read", &path)(error)),
        }
    }
    Ok(found)
}

/// Returns what each of them stands for: what was there when the snapshot was taken.
fn originals(seen: &Seen, staged: Staged) -> Vec<(State, State)> {
    let mut pairs = Vec::new();
    for (directory, entries) in staged {
        let row = seen.row(&seen::row_of(&directory));
        let Some(row) = row.as_deref().and_then(SeenDirectory::read) else {
            continue;
        };
        for (name, copy) in entries {
            let original = row.find(name.as_bytes());
            let original = original.and_then(|it| seen::state_of(it.key));
            pairs.extend(original.map(|original| (copy, original)));
        }
    }
    pairs
}

/// Files the transaction as if its commit had brought what is in the workspace.
fn adopt(
    tx: &Transaction,
    survey: Survey,
    copies: &[(State, State)],
) -> Result<Committed, CommitError> {
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
    let ledger = layout.ledger();
    step()
        .and_then(|()| Ledger::append_copies(&ledger, copies))
        .map_err(cannot("write", &ledger))
        .map_err(record)?;
    Sides::open(layout, &tx.set)
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
