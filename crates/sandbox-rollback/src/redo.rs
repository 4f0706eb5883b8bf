//! Redo: the undo of an operation is taken back, and the operation can be undone again.
//!
//! The plan of a redo is the inverse of the undo's, compared with the workspace as it is now: what
//! was edited since the undo is a conflict.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, OperationId};

use crate::{
    RollbackManager, UpkeepError,
    apply::Sides,
    commit::counted,
    file_error::{FileError, cannot},
    journal,
    layout::{self, JOURNAL, Layout, REDOING, SEALED, UNDOING, UNSEALED},
    manager::in_order,
    plan::Plan,
    reserve, retention,
    settle::{self, Finished},
    stat::Time,
    step::{self, step},
    undo::{self, Done, OnConflict, UndoPlan},
};

/// A redo that is complete and durable.
#[derive(Clone, Debug)]
pub struct Redone {
    /// What changed in the workspace.
    pub changes: Vec<Change>,
    /// Paths that had been edited since the undo; the edits were moved aside, not lost.
    pub overwritten: Vec<PathBuf>,
    /// Paths that somebody else changed while the redo ran. They were left alone.
    pub left_alone: Vec<PathBuf>,
}

/// The undo is not taken back; the workspace is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedoError {
    /// There is no undo to take back under this id.
    #[error("cannot redo operation '{id}': no undo of it is kept")]
    Unknown {
        /// Which operation.
        id: OperationId,
    },
    /// Another commit, undo or recovery takes too long.
    #[error("cannot redo operation '{id}': the workspace is busy with another commit or undo")]
    Busy {
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
    #[error("cannot redo while operation '{id}' is half-way")]
    Unfinished {
        /// The earlier one.
        id: OperationId,
        /// Why it cannot be completed.
        #[source]
        source: FileError,
    },
    /// These paths were edited since the undo.
    #[error("cannot redo operation '{id}': {} changed since", counted(paths))]
    Conflict {
        /// Which operation.
        id: OperationId,
        /// Relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// What is kept could not be read or compared with the workspace.
    #[error("cannot plan the redo of operation '{id}'")]
    Plan {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The plan could not be made durable.
    #[error("cannot record the redo of operation '{id}'")]
    Record {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and those before it were taken back.
    #[error("cannot bring back what operation '{id}' changed")]
    Apply {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and so did taking back those before it: recovery goes on with it.
    #[error("cannot complete the redo of operation '{id}' now")]
    Interrupted {
        /// Which operation.
        id: OperationId,
        /// Why it cannot go on.
        #[source]
        source: FileError,
    },
}

impl RollbackManager {
    /// Returns the operations whose undo can be taken back, the one that was undone last at the end.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn redoable(&self) -> Result<Vec<OperationId>, UpkeepError> {
        Ok(in_order(sets(self.layout())?))
    }

    /// Returns what a redo would do now, without doing it.
    ///
    /// # Errors
    ///
    /// Fails when no undo is kept under this id or it cannot be read.
    pub fn redo_plan(&self, id: &OperationId) -> Result<UndoPlan, RedoError> {
        plan(self.layout(), id)
    }

    /// Puts the workspace back to after the operation's commit, in the paths that its undo changed.
    /// Then it can be undone again.
    ///
    /// # Errors
    ///
    /// Fails when no undo is kept under this id, or when paths were edited since and
    /// [`OnConflict::Refuse`] was given. After any error the workspace is as before, except for
    /// [`RedoError::Interrupted`]: then recovery completes the redo.
    pub fn redo(&self, id: &OperationId, on_conflict: OnConflict) -> Result<Redone, RedoError> {
        redo(self.layout(), id, on_conflict)
    }
}

fn redo(layout: &Layout, id: &OperationId, on_conflict: OnConflict) -> Result<Redone, RedoError> {
    let _lock = layout
        .exclusive()
        .map_err(|source| RedoError::Lock { source })?
        .ok_or_else(|| RedoError::Busy { id: id.clone() })?;
    let finished = settle::finish_journals(layout).map_err(|source| RedoError::Lock { source })?;
    if let Some((id, source)) = finished.failed.into_iter().next() {
        return Err(RedoError::Unfinished { id, source });
    }
    let UndoPlan {
        changes,
        conflicts,
        plan,
    } = plan(layout, id)?;
    if on_conflict == OnConflict::Refuse && !conflicts.is_empty() {
        return Err(RedoError::Conflict {
            id: id.clone(),
            paths: conflicts,
        });
    }
    record(layout, id, &plan)?;
    let left_alone = finish(layout, id, &plan).map_err(|source| {
        let id = id.clone();
        match settle::revert(layout, &layout.undone(&id), REDOING, &plan) {
            Ok(()) => RedoError::Apply { id, source },
            Err(_) => RedoError::Interrupted { id, source },
        }
    })?;
    // A mark that stays costs the next recovery a look.
    drop(fs::remove_file(layout.redo_mark()));
    Ok(Redone {
        changes,
        overwritten: conflicts,
        left_alone,
    })
}

/// Makes the plan durable; when this returns, it will be done.
fn record(layout: &Layout, id: &OperationId, plan: &Plan) -> Result<(), RedoError> {
    let set = layout.undone(id);
    let failed = |source| RedoError::Record {
        id: id.clone(),
        source,
    };
    let workspace = layout.workspace_ino().map_err(failed)?;
    reserve::take(&set, plan).map_err(failed)?;
    let mark = layout.redo_mark();
    let set_mark = || {
        step()?;
        fs::write(&mark, b"")?;
        step::sync_all(&fs::File::open(&layout.layers)?)
    };
    set_mark().map_err(cannot("write", &mark)).map_err(failed)?;
    journal::write(&set, REDOING, workspace, plan).map_err(|source| {
        match step().and_then(|()| fs::remove_file(set.join(REDOING))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => RedoError::Interrupted {
                id: id.clone(),
                source: cannot("withdraw", set.join(REDOING))(error),
            },
            _ => {
                reserve::release(&set);
                failed(source)
            }
        }
    })
}

/// Compares what the undo left with the workspace. The plan is the forced one.
fn plan(layout: &Layout, id: &OperationId) -> Result<UndoPlan, RedoError> {
    let set = layout.undone(id);
    let failed = |source| RedoError::Plan {
        id: id.clone(),
        source,
    };
    let Some(sealed) = layout::seal(&set, UNSEALED).map_err(failed)? else {
        return Err(RedoError::Unknown { id: id.clone() });
    };
    let compute = || {
        let workspace = layout.workspace_ino()?;
        let missing = || cannot("find", &set)(io::Error::from(io::ErrorKind::NotFound));
        let plan = journal::read(&set, UNDOING, workspace)?.ok_or_else(missing)?;
        let changes = undo::saved_changes(&set)?;
        undo::take_back(layout, &set, &Done { plan, sealed }, changes)
    };
    compute().map_err(failed)
}

/// Does the committed plan in `undone/<id>` and files the directory under `undo/`.
///
/// The plan becomes the journal that an undo takes back. Each step is durable before the next one:
/// with the undo's plan beside the new journal, the operation would look undone.
fn finish(layout: &Layout, id: &OperationId, plan: &Plan) -> Result<Vec<PathBuf>, FileError> {
    let set = layout.undone(id);
    let sides = Sides::open(&layout.workspace, &set)?;
    let left_alone = sides.apply(plan)?;
    reserve::release(&set);
    settle::note_put_back(layout, &sides, (plan, &set.join(REDOING)))?;
    retention::forget_size(&set)?;
    settle::seal(&set, SEALED).map_err(cannot("seal", &set))?;
    sides.sync()?;
    exchange_plans(&set).map_err(cannot("file", &set))?;
    settle::relocate(&set, &layout.undo(id)).map_err(cannot("file", &set))?;
    Ok(left_alone)
}

fn exchange_plans(set: &Path) -> io::Result<()> {
    let directory = fs::File::open(set)?;
    for old in [UNDOING, UNSEALED] {
        step()?;
        match fs::remove_file(set.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    step()?;
    step::sync_all(&directory)?;
    step()?;
    fs::rename(set.join(REDOING), set.join(JOURNAL))?;
    step()?;
    step::sync_all(&directory)
}

/// Returns the sets whose undo can be taken back, and when each was undone.
fn sets(layout: &Layout) -> Result<Vec<(Time, OperationId)>, FileError> {
    let mut sets = Vec::new();
    for id in layout.ids("undone")? {
        let undone = layout::seal(&layout.undone(&id), UNSEALED)?;
        sets.extend(undone.map(|time| (time, id)));
    }
    Ok(sets)
}

/// Returns the operations whose redo a killed process left half-way.
pub(crate) fn half_way(layout: &Layout) -> Result<Vec<OperationId>, FileError> {
    if !layout.redo_mark().exists() {
        return Ok(Vec::new());
    }
    let mut found = layout.ids("undone")?;
    found.retain(|id| {
        let set = layout.undone(id);
        set.join(REDOING).exists() || is_redone(&set)
    });
    Ok(found)
}

/// Returns whether all is done but the last step: the directory lies in the wrong place.
fn is_redone(set: &Path) -> bool {
    !set.join(UNDOING).exists() && !set.join(REDOING).exists() && set.join(JOURNAL).exists()
}

/// Does the redos that killed processes left.
pub(crate) fn finish_all(
    layout: &Layout,
    workspace: u64,
    finished: &mut Finished,
) -> Result<(), FileError> {
    for id in half_way(layout)? {
        let set = layout.undone(&id);
        let settled = journal::read(&set, REDOING, workspace).and_then(|plan| match plan {
            Some(plan) => finish(layout, &id, &plan),
            None => settle::relocate(&set, &layout.undo(&id))
                .map_err(cannot("file", &set))
                .map(|()| Vec::new()),
        });
        match settled {
            Ok(paths) => {
                finished.left_alone.extend(paths);
                finished.redos.push(id);
            }
            Err(error) => finished.failed.push((id, error)),
        }
    }
    let mark = layout.redo_mark();
    if finished.failed.is_empty() && mark.exists() {
        let remove = || {
            step()?;
            fs::remove_file(&mark)
        };
        remove().map_err(cannot("remove", &mark))?;
    }
    Ok(())
}
