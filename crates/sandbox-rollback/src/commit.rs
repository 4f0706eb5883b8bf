//! Commit: the changes of a transaction enter the workspace, all of them or none.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, OperationId};

use crate::{
    apply::Sides,
    attributes::Attributes,
    file_error::{FileError, cannot},
    journal,
    layout::{CHANGES, JOURNAL, Layout, make_private},
    ledger::Ledger,
    plan::{Move, Plan},
    renames, reserve, settle,
    stat::{Stat, Time},
    step::step,
    survey::Survey,
    transaction::Transaction,
    tree::Tree,
};

/// A commit that is complete and durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What changed in the workspace.
    pub changes: Vec<Change>,
    /// Whether there is something to undo.
    pub undoable: bool,
    /// Paths that somebody else changed while the commit ran. They were left alone.
    pub left_alone: Vec<PathBuf>,
}

/// The changes are not in the workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another commit, undo or recovery takes too long.
    #[error("cannot commit operation '{id}': the workspace is busy with another commit or undo")]
    Busy {
        /// Whose changes.
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
    #[error("cannot commit while operation '{id}' is half-way")]
    Unfinished {
        /// The earlier one.
        id: OperationId,
        /// Why it cannot be completed.
        #[source]
        source: FileError,
    },
    /// The workspace is not the directory that the transaction began on.
    #[error("cannot commit: '{}' was replaced by another directory", .path.display())]
    WorkspaceReplaced {
        /// The workspace.
        path: PathBuf,
    },
    /// Somebody else changed these paths since the transaction began.
    #[error(
        "cannot commit: {} changed in the workspace since the operation began",
        counted(paths)
    )]
    Conflict {
        /// Relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// The paths could not be looked at again.
    #[error("cannot check the workspace for other changes")]
    Check {
        /// Why.
        #[source]
        source: FileError,
    },
    /// The plan could not be made durable.
    #[error("cannot record the commit of operation '{id}'")]
    Record {
        /// Whose changes.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and those before it were taken back.
    #[error("cannot bring the changes of operation '{id}' into the workspace")]
    Apply {
        /// Whose changes.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and so did taking back those before it: recovery goes on with it.
    #[error("cannot complete the commit of operation '{id}' now")]
    Interrupted {
        /// Whose changes.
        id: OperationId,
        /// Why it cannot go on.
        #[source]
        source: FileError,
    },
    /// The commit failed, and the changes could not be held for review.
    #[error("cannot hold the changes of operation '{id}' after its commit failed")]
    Hold {
        /// Whose changes.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// Returns a short text for a list of paths.
pub(crate) fn counted(paths: &[PathBuf]) -> String {
    match paths {
        [] => "nothing".to_owned(),
        [one] => format!("'{}'", one.display()),
        [first, rest @ ..] => format!("'{}' and {} more", first.display(), rest.len()),
    }
}

pub(crate) fn commit(transaction: Transaction, survey: Survey) -> Result<Committed, CommitError> {
    let changes = survey.changes.clone();
    match attempt(&transaction, survey) {
        Ok(Some(left_alone)) => Ok(Committed {
            changes,
            undoable: true,
            left_alone,
        }),
        Ok(None) => {
            // Nothing to keep. If it cannot be removed, recovery removes it: nothing is lost.
            drop(transaction.discard());
            Ok(Committed {
                changes,
                undoable: false,
                left_alone: Vec::new(),
            })
        }
        Err(error @ CommitError::Interrupted { .. }) => Err(error),
        Err(error) => match hold(&transaction) {
            Ok(()) => Err(error),
            Err(source) => Err(CommitError::Hold {
                id: transaction.id.clone(),
                source,
            }),
        },
    }
}

fn hold(transaction: &Transaction) -> Result<(), FileError> {
    reserve::release(&transaction.set);
    transaction.mark_held()
}

/// As [`commit`], but what fails is dropped: whoever prepared it can prepare it again.
pub(crate) fn commit_or_drop(
    transaction: Transaction,
    survey: Survey,
) -> Result<Committed, CommitError> {
    let changes = survey.changes.clone();
    match attempt(&transaction, survey) {
        Ok(Some(left_alone)) => Ok(Committed {
            changes,
            undoable: true,
            left_alone,
        }),
        Err(error @ CommitError::Interrupted { .. }) => Err(error),
        ended => {
            // If it cannot be moved away now, recovery does so.
            drop(transaction.discard());
            ended.map(|_nothing| Committed {
                changes,
                undoable: false,
                left_alone: Vec::new(),
            })
        }
    }
}

/// Commits; returns the paths left alone, or `None` if there was nothing to do.
///
/// The order is what makes it safe:
/// 1. lock, and complete what was interrupted: the workspace is whole;
/// 2. check every path: nobody else's work is overwritten;
/// 3. sync: the new content is durable before any name points to it;
/// 4. journal: from here on it will be done, whatever happens;
/// 5. apply, seal, sync, file under `undo/`.
fn attempt(tx: &Transaction, survey: Survey) -> Result<Option<Vec<PathBuf>>, CommitError> {
    let (layout, id) = (&tx.layout, &tx.id);
    let _lock = layout
        .exclusive()
        .map_err(|source| CommitError::Lock { source })?
        .ok_or_else(|| CommitError::Busy { id: id.clone() })?;
    let check = |source| CommitError::Check { source };
    let workspace = layout.open_workspace().map_err(check)?;
    if workspace.stat().map_err(check)?.ino != tx.workspace_ino {
        return Err(CommitError::WorkspaceReplaced {
            path: layout.workspace.clone(),
        });
    }
    let finished = settle::finish_journals(layout).map_err(check)?;
    if let Some((id, source)) = finished.failed.into_iter().next() {
        return Err(CommitError::Unfinished { id, source });
    }
    let Survey {
        mut conflicts,
        mut plan,
        changes,
        twins,
        ..
    } = survey;
    if plan.is_empty() && conflicts.is_empty() {
        return Ok(None);
    }
    recheck(&workspace, &mut plan, tx.started, &mut conflicts).map_err(check)?;
    if !conflicts.is_empty() {
        return Err(CommitError::Conflict { paths: conflicts });
    }
    let record = |source| CommitError::Record {
        id: id.clone(),
        source,
    };
    renames::fold(&mut plan, twins);
    save_changes(&tx.set, &changes).map_err(record)?;
    reserve::take(&tx.set, &plan).map_err(record)?;
    Sides::open(layout, &tx.set)
        .and_then(|sides| sides.sync())
        .map_err(record)?;
    journal::write(&tx.set, JOURNAL, tx.workspace_ino, &plan).or_else(|source| {
        withdraw_journal(layout, id).map_err(|source| CommitError::Interrupted {
            id: id.clone(),
            source,
        })?;
        Err(record(source))
    })?;
    settle::finish_commit(layout, id, &plan)
        .map(Some)
        .map_err(|source| {
            let id = id.clone();
            match settle::revert_commit(layout, &id, &plan) {
                Ok(()) => CommitError::Apply { id, source },
                Err(_) => CommitError::Interrupted { id, source },
            }
        })
}

/// Makes sure that a journal that could not be made durable is not done later.
fn withdraw_journal(layout: &Layout, id: &OperationId) -> Result<(), FileError> {
    let set = layout.tx(id);
    let remove = || {
        step()?;
        match fs::remove_file(set.join(JOURNAL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    };
    remove().map_err(cannot("withdraw", set.join(JOURNAL)))
}

/// Saves the list of changes, and makes the directory for what the plan sets aside.
pub(crate) fn save_changes(set: &Path, changes: &[Change]) -> Result<(), FileError> {
    let path = set.join(CHANGES);
    let save = || {
        step()?;
        make_private(&set.join("kept"))?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&serde_json::to_vec(changes)?)
    };
    save().map_err(cannot::<io::Error>("write", &path))
}

/// Looks at every path of the plan again, now that nobody else commits.
fn recheck(
    workspace: &Tree,
    plan: &mut Plan,
    started: Time,
    conflicts: &mut Vec<PathBuf>,
) -> Result<(), FileError> {
    let nothing_undone = Ledger::default();
    for change in &plan.moves {
        let path = change.path();
        let look = || -> io::Result<bool> {
            let present = workspace.find(path)?;
            Ok(match change {
                Move::Attach { .. } | Move::Rename { .. } | Move::MakeDirectory { .. } => {
                    present.is_none() && parent_is_there(workspace, path)?
                }
                Move::Exchange { leaving, .. } | Move::Detach { leaving, .. } => {
                    let same = |stat: Stat| (stat.ino, stat.ctime) == (leaving.ino, leaving.ctime);
                    let dir = present.is_some_and(|stat| stat.is_dir());
                    present.is_some_and(same)
                        && !(dir
                            && nothing_undone
                                .first_changed(workspace, path, started)?
                                .is_some())
                }
            })
        };
        if !look().map_err(workspace.cannot("check", path))? {
            conflicts.push(path.to_owned());
        }
    }
    for directory in &mut plan.directories {
        let path = directory.path.clone();
        let mut look = || -> io::Result<bool> {
            let Some(stat) = workspace.find(&path)?.filter(|s| s.ino == directory.ino) else {
                return Ok(false);
            };
            if stat.ctime == directory.ctime {
                return Ok(true);
            }
            if !stat.is_dir() {
                return Ok(false);
            }
            // Another commit changed names in it since the survey: that time is the newer one.
            let dir = workspace.directory(&path)?;
            let now = Attributes::read(&dir, OsStr::new(""))?;
            let same = now.same_but_time(&directory.before);
            directory.after.mtime = directory.after.mtime.max(now.mtime);
            directory.ctime = stat.ctime;
            directory.before = now;
            Ok(same)
        };
        if !look().map_err(workspace.cannot("check", &path))? {
            conflicts.push(path);
        }
    }
    conflicts.sort_unstable();
    conflicts.dedup();
    Ok(())
}

fn parent_is_there(workspace: &Tree, path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok(workspace.find(parent)?.is_some_and(|stat| stat.is_dir()))
}
