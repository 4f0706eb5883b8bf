//! Undo and redo: what was done last to the workspace is taken back.
//!
//! What a commit replaced or deleted returns, and what it brought moves out; a redo does the same to
//! an undo. The plan is the inverse of the last one, compared with the workspace as it is now: what
//! was edited since is a conflict.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind, OperationId};
use serde::{Deserialize, Serialize};

mod error;
mod opened;
mod planner;

pub use error::UndoError;
pub(crate) use planner::{Done, take_back};

use crate::{
    Direction, RollbackManager, UpkeepError,
    file_error::{FileError, cannot},
    journal,
    layout::{self, CHANGES, Layout},
    manager::in_order,
    plan::Plan,
    redo, reserve, settle,
    stat::Time,
    step::step,
};

/// What an undo or a redo would do.
#[derive(Clone, Debug)]
pub struct UndoPlan {
    /// What would change in the workspace.
    pub changes: Vec<Change>,
    /// Paths that were edited since.
    pub conflicts: Vec<PathBuf>,
    /// Edited files that would stay beside what comes back, each with its new path.
    pub kept: Vec<(PathBuf, PathBuf)>,
    pub(crate) plan: Plan,
}

/// An undo or a redo that is complete and durable.
#[derive(Clone, Debug)]
pub struct Undone {
    /// What changed in the workspace.
    pub changes: Vec<Change>,
    /// Paths that had been edited since; the edits were moved aside, not lost.
    pub overwritten: Vec<PathBuf>,
    /// Edited files that stay beside what came back, each with its new path.
    pub kept: Vec<(PathBuf, PathBuf)>,
    /// Paths that somebody else changed while it ran. They were left alone.
    pub left_alone: Vec<PathBuf>,
}

/// What to do with paths that were edited since.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum OnConflict {
    /// Change nothing and fail with the list of them.
    #[default]
    Refuse,
    /// Put them back too, moving the edited files out of the workspace, to where a redo finds them.
    Force,
    /// Put them back too, and keep the edited files beside them as `NAME.edited`.
    KeepBoth,
}

impl RollbackManager {
    /// Returns the operations that can go this way: to be undone, oldest first; to be redone, the one
    /// that was undone last at the end.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn ready_to(&self, direction: Direction) -> Result<Vec<OperationId>, UpkeepError> {
        Ok(in_order(sets(self.layout(), direction)?))
    }

    /// Returns what an undo or redo would do now, without doing it.
    ///
    /// # Errors
    ///
    /// Fails when nothing is kept under this id or it cannot be read.
    pub fn plan_of(
        &self,
        direction: Direction,
        id: &OperationId,
        on_conflict: OnConflict,
    ) -> Result<UndoPlan, UndoError> {
        plan(self.layout(), (direction, id), on_conflict)
    }

    /// Undoes or redoes an operation.
    ///
    /// # Errors
    ///
    /// Fails when nothing is kept under this id, or when paths were edited since and
    /// [`OnConflict::Refuse`] was given. After any error the workspace is as before, except for
    /// [`UndoError::Interrupted`]: then recovery completes it.
    pub fn go(
        &self,
        direction: Direction,
        id: &OperationId,
        on_conflict: OnConflict,
    ) -> Result<Undone, UndoError> {
        let layout = self.layout();
        let _lock = whole(layout, (direction, id))?;
        let done = go_locked(layout, (direction, id), on_conflict)?;
        shorten_ledger(layout).map_err(|source| UndoError::Record {
            direction,
            id: id.clone(),
            source,
        })?;
        Ok(done)
    }
}

/// Takes the workspace's lock, and completes what was interrupted.
pub(crate) fn whole(
    layout: &Layout,
    (direction, id): (Direction, &OperationId),
) -> Result<OwnedFd, UndoError> {
    let lock = layout
        .exclusive()
        .map_err(|source| UndoError::Lock { source })?
        .ok_or_else(|| UndoError::Busy {
            direction,
            id: id.clone(),
        })?;
    let finished = settle::finish_journals(layout).map_err(|source| UndoError::Lock { source })?;
    match finished.failed.into_iter().next() {
        Some((id, source)) => Err(UndoError::Unfinished { id, source }),
        None => Ok(lock),
    }
}

/// Undoes or redoes one operation. The caller holds the lock of a workspace that is whole.
pub(crate) fn go_locked(
    layout: &Layout,
    (direction, id): (Direction, &OperationId),
    on_conflict: OnConflict,
) -> Result<Undone, UndoError> {
    let UndoPlan {
        changes,
        conflicts,
        kept,
        plan,
    } = plan(layout, (direction, id), on_conflict)?;
    let id = id.clone();
    if on_conflict == OnConflict::Refuse && !conflicts.is_empty() {
        let paths = conflicts;
        return Err(UndoError::Conflict {
            direction,
            id,
            paths,
        });
    }
    record(layout, (direction, &id), &plan)?;
    let left_alone = settle::finish(layout, direction, (&id, &plan)).map_err(|source| {
        let (set, (journal, _)) = (direction.set(layout, &id), direction.next());
        let id = id.clone();
        match settle::revert(layout, &set, journal, &plan) {
            Ok(()) => UndoError::Apply {
                direction,
                id,
                source,
            },
            Err(_) => UndoError::Interrupted {
                direction,
                id,
                source,
            },
        }
    })?;
    if direction == Direction::Redo {
        drop(redo::unmark(layout));
    }
    Ok(Undone {
        changes,
        overwritten: conflicts,
        kept,
        left_alone,
    })
}

/// Makes the plan durable; when this returns, it will be done.
fn record(
    layout: &Layout,
    (direction, id): (Direction, &OperationId),
    plan: &Plan,
) -> Result<(), UndoError> {
    let (set, (name, _)) = (direction.set(layout, id), direction.next());
    let failed = |source| UndoError::Record {
        direction,
        id: id.clone(),
        source,
    };
    let workspace = layout.workspace_ino().map_err(failed)?;
    reserve::take(&set, plan).map_err(failed)?;
    if direction == Direction::Redo {
        redo::mark(layout).map_err(failed)?;
    }
    journal::write(&set, name, workspace, plan).map_err(|source| {
        let path = set.join(name);
        match step().and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => UndoError::Interrupted {
                direction,
                id: id.clone(),
                source: cannot("withdraw", path)(error),
            },
            _ => {
                reserve::release(&set);
                failed(source)
            }
        }
    })
}

/// Compares what is kept with the workspace.
fn plan(
    layout: &Layout,
    (direction, id): (Direction, &OperationId),
    on_conflict: OnConflict,
) -> Result<UndoPlan, UndoError> {
    let set = direction.set(layout, id);
    let id = id.clone();
    let compute = || {
        let Some(done) = last_done(layout, direction, &set)? else {
            return Ok(None);
        };
        let changes = saved_changes(&set)?;
        let changes = match direction {
            Direction::Undo => mirrored(changes),
            Direction::Redo => changes,
        };
        take_back(layout, &set, (&done, on_conflict), changes).map(Some)
    };
    match compute() {
        Ok(Some(plan)) => Ok(plan),
        Ok(None) => Err(UndoError::Unknown { direction, id }),
        Err(source) => Err(UndoError::Plan {
            direction,
            id,
            source,
        }),
    }
}

/// Returns the plan that was done last, and when; `None` if nothing was done here.
fn last_done(layout: &Layout, direction: Direction, set: &Path) -> Result<Option<Done>, FileError> {
    let (journal, seal) = direction.last();
    let sealed = layout::seal(set, seal)?;
    let plan = journal::read(set, journal, layout.workspace_ino()?)?;
    match (plan, sealed) {
        (Some(plan), Some(sealed)) => Ok(Some(Done { plan, sealed })),
        (Some(_), None) if direction == Direction::Undo => Err(missing(set.join(seal))),
        (None, Some(_)) if direction == Direction::Redo => Err(missing(set.join(journal))),
        _ => Ok(None),
    }
}

fn missing(path: PathBuf) -> FileError {
    cannot("find", path)(io::Error::from(io::ErrorKind::NotFound))
}

/// Returns the sets that can go this way, and when each was sealed.
fn sets(layout: &Layout, direction: Direction) -> Result<Vec<(Time, OperationId)>, FileError> {
    let mut sets = Vec::new();
    for id in layout.ids(direction.part())? {
        let sealed = layout::seal(&direction.set(layout, &id), direction.last().1)?;
        sets.extend(sealed.map(|time| (time, id)));
    }
    Ok(sets)
}

/// The ledger only matters to older undo sets: without any it may go.
pub(crate) fn shorten_ledger(layout: &Layout) -> Result<(), FileError> {
    if layout.ids(Direction::Undo.part())?.is_empty() {
        let path = layout.ledger();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns what the commit changed.
pub(crate) fn saved_changes(set: &Path) -> Result<Vec<Change>, FileError> {
    let path = set.join(CHANGES);
    let read = || Ok(serde_json::from_slice(&fs::read(&path)?)?);
    read().map_err(cannot::<io::Error>("read", &path))
}

/// Returns the changes that take these back.
pub(crate) fn mirrored(changes: Vec<Change>) -> Vec<Change> {
    let came: BTreeMap<PathBuf, PathBuf> = changes
        .iter()
        .filter_map(|it| Some((it.from.clone()?, it.path.clone())))
        .collect();
    let mirror = |change: Change| Change {
        kind: match change.kind {
            ChangeKind::Created | ChangeKind::Renamed => ChangeKind::Deleted,
            ChangeKind::Deleted => ChangeKind::Created,
            ChangeKind::Modified => ChangeKind::Modified,
            ChangeKind::Metadata => ChangeKind::Metadata,
        },
        from: came
            .get(&change.path)
            .filter(|_| change.kind == ChangeKind::Deleted)
            .cloned(),
        ..change
    };
    changes.into_iter().map(mirror).collect()
}
