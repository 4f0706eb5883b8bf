//! Several operations are undone (or redone) as one: after a crash all of them are, or none.
//!
//! ```text
//! layers/together   which ones, in order, and which way: from here on it will be done
//! ```
//! Each of them has its own plan and journal. The list is what makes them one: recovery goes on where
//! it ended, and where that fails it goes all the way back. A part of an operation is undone so too:
//! the list is there before the part is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    ops::Bound,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind, OperationId};
use serde::{Deserialize, Serialize};

use crate::{
    Direction, OnConflict, PortionError, RollbackManager, UndoError, Undone,
    file_error::{FileError, cannot},
    layout::Layout,
    portion::{self, Kept, Mark},
    settle::Finished,
    step::{self, step},
    undo::{self, UndoPlan},
};

/// What undoing or redoing several operations would do.
#[derive(Clone, Debug, Default)]
pub struct TogetherPlan {
    /// What would change in the workspace, each path once.
    pub changes: Vec<Change>,
    /// Paths that somebody else edited since.
    pub conflicts: Vec<PathBuf>,
    /// Edited files that would stay beside what comes back, each with its new path.
    pub kept: Vec<(PathBuf, PathBuf)>,
}

/// A part of an operation that was undone or redone.
#[derive(Clone, Debug)]
pub struct Part {
    /// What the operation had changed there.
    pub was: Vec<Change>,
    /// What became of it.
    pub done: Undone,
}

/// The list on disk.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    direction: Direction,
    /// In this order.
    ids: Vec<OperationId>,
    on_conflict: OnConflict,
    /// It failed: what was done is taken back, in the other order.
    back: bool,
}

impl TogetherPlan {
    /// Returns what these plans do together, in this order. Each of them was compared with the
    /// workspace as it is now: what an earlier one changes is no conflict of a later one.
    pub fn of(plans: impl IntoIterator<Item = UndoPlan>) -> Self {
        let mut all = Self::default();
        let mut steps: Vec<Change> = Vec::new();
        for plan in plans {
            let touched = Touched::by(&steps);
            let own = |path: &PathBuf| !touched.covers(path);
            all.conflicts.extend(plan.conflicts.into_iter().filter(own));
            let kept: Vec<_> = plan.kept.into_iter().filter(|it| own(&it.0)).collect();
            let is_kept = |it: &Change| kept.iter().any(|(_, aside)| *aside == it.path);
            let told = |it: &Change| it.kind != ChangeKind::Renamed || is_kept(it);
            steps.extend(plan.changes.into_iter().filter(told));
            all.kept.extend(kept);
        }
        all.changes = net(steps);
        all
    }
}

/// Paths that change, to find out whether another one lies below or above one of them.
struct Touched(BTreeSet<PathBuf>);

impl Touched {
    fn by(changes: &[Change]) -> Self {
        Self(changes.iter().map(|it| it.path.clone()).collect())
    }

    fn covers(&self, path: &Path) -> bool {
        let below = self
            .0
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        path.ancestors().any(|it| self.0.contains(it))
            || below.take(1).any(|it| it.starts_with(path))
    }
}

impl RollbackManager {
    /// Returns what [`RollbackManager::go_together`] would do now, without doing it.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::plan_of`].
    pub fn plan_together(
        &self,
        direction: Direction,
        ids: &[OperationId],
        on_conflict: OnConflict,
    ) -> Result<TogetherPlan, UndoError> {
        let plans = ids
            .iter()
            .map(|id| self.plan_of(direction, id, on_conflict));
        Ok(TogetherPlan::of(plans.collect::<Result<Vec<_>, _>>()?))
    }

    /// Undoes (or redoes) several operations in this order, as one: after a crash all are undone or
    /// none, once [`RollbackManager::recover`] has run.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::go`]. After an error none of them is undone, except for
    /// [`UndoError::Interrupted`]: then recovery goes on with it.
    pub fn go_together(
        &self,
        direction: Direction,
        ids: &[OperationId],
        on_conflict: OnConflict,
    ) -> Result<Vec<Undone>, UndoError> {
        let Some(first) = ids.first() else {
            return Ok(Vec::new());
        };
        let layout = self.layout();
        let _lock = undo::whole(layout, (direction, first))?;
        let paths = self.plan_together(direction, ids, on_conflict)?.conflicts;
        if on_conflict == OnConflict::Refuse && !paths.is_empty() {
            let id = first.clone();
            return Err(UndoError::Conflict {
                direction,
                id,
                paths,
            });
        }
        let failed = |source| UndoError::Record {
            direction,
            id: first.clone(),
            source,
        };
        let mut list = List {
            direction,
            ids: ids.to_vec(),
            on_conflict,
            back: false,
        };
        begin_new(layout, &list).map_err(failed)?;
        let done = ids
            .iter()
            .map(|id| undo::go_locked(layout, (direction, id), on_conflict))
            .collect::<Result<Vec<_>, _>>();
        if let Err(error) = done {
            if matches!(error, UndoError::Interrupted { .. }) {
                // That one is half-way: when it has been completed, recovery goes on with the list.
                return Err(error);
            }
            return Err(match go_back(layout, &mut list) {
                Ok(()) => error,
                Err(source) => UndoError::Interrupted {
                    direction,
                    id: first.clone(),
                    source,
                },
            });
        }
        end(layout).map_err(failed)?;
        undo::shorten_ledger(layout).map_err(failed)?;
        done
    }

    /// Makes what is kept of the selected paths an operation of its own, `part`, and undoes (or
    /// redoes) that; the rest stays. `None` if all is selected, and nothing was done. After a crash
    /// both are done or nothing.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::portion`] and [`RollbackManager::go`].
    pub fn go_part(
        &self,
        (direction, id): (Direction, &OperationId),
        (globs, part): (&[String], &OperationId),
        on_conflict: OnConflict,
    ) -> Result<Option<Part>, PortionError> {
        let layout = self.layout();
        let _lock = portion::whole(layout, id)?;
        let kept = Kept::read(layout, direction, id)?;
        let Some(halves) = kept.halves(layout, globs)? else {
            return Ok(None);
        };
        let planned = kept.plan(layout, direction, (halves.0.clone(), on_conflict))?;
        if on_conflict == OnConflict::Refuse && !planned.conflicts.is_empty() {
            return Err(PortionError::Conflict {
                id: id.clone(),
                paths: planned.conflicts,
            });
        }
        let failed = |source| PortionError::Prepare {
            id: id.clone(),
            source,
        };
        let list = List {
            direction,
            ids: vec![part.clone()],
            on_conflict,
            back: false,
        };
        begin_new(layout, &list).map_err(failed)?;
        let mark = Mark {
            direction,
            id: id.clone(),
            part: part.clone(),
        };
        let parted = portion::part_set(layout, &mark, &halves);
        match &parted {
            // Recovery completes it, and undoes the part too.
            Err(PortionError::Move { .. }) => parted?,
            Err(_) => {
                // If this fails, recovery finds no such part.
                drop(end(layout));
                parted?;
            }
            Ok(()) => {}
        }
        let done = undo::go_locked(layout, (direction, part), on_conflict);
        if !matches!(done, Err(UndoError::Interrupted { .. })) {
            end(layout).map_err(failed)?;
        }
        let done = done.map_err(|source| PortionError::Go {
            id: id.clone(),
            source: Box::new(source),
        })?;
        let was = halves.0.changes;
        Ok(Some(Part { was, done }))
    }
}

/// Returns what all changes together do to each path.
fn net(steps: Vec<Change>) -> Vec<Change> {
    // Whether the path was there before, and the last change of it.
    let mut paths: BTreeMap<PathBuf, (bool, Change)> = BTreeMap::new();
    for change in steps {
        let was_there = match change.kind {
            ChangeKind::Created | ChangeKind::Renamed => false,
            ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Deleted => true,
        };
        let Some((before, last)) = paths.get_mut(&change.path) else {
            paths.insert(change.path.clone(), (was_there, change));
            continue;
        };
        let kind = match (*before, last.kind, change.kind) {
            (_, _, ChangeKind::Deleted) => ChangeKind::Deleted,
            (false, ..) => ChangeKind::Created,
            (true, ChangeKind::Metadata, ChangeKind::Metadata) => ChangeKind::Metadata,
            (true, ..) => ChangeKind::Modified,
        };
        *last = Change { kind, ..change };
    }
    let differs = |(before, change): (bool, Change)| {
        (before || change.kind != ChangeKind::Deleted).then_some(change)
    };
    paths.into_values().filter_map(differs).collect()
}

/// Does the list that a killed process left.
pub(crate) fn finish(layout: &Layout, finished: &mut Finished) -> Result<(), FileError> {
    let Some(mut list) = read(layout)? else {
        return Ok(());
    };
    if !finished.failed.is_empty() {
        // One of them may be half-way: it goes on when that is mended.
        return Ok(());
    }
    let done = match list.direction {
        Direction::Undo => &mut finished.undos,
        Direction::Redo => &mut finished.redos,
    };
    done.retain(|id| !list.ids.contains(id));
    if !list.back {
        match go_on(layout, &list, &mut finished.left_alone) {
            Ok(()) => {
                let filed = |id: &&OperationId| list.direction.back().set(layout, id).exists();
                done.extend(list.ids.iter().filter(filed).cloned());
                return end(layout);
            }
            Err(UndoError::Interrupted { id, source, .. }) => {
                // As above: the list waits for it.
                finished.failed.push((id, source));
                return Ok(());
            }
            Err(_) => {}
        }
    }
    match go_back(layout, &mut list) {
        Ok(()) => finished.reversed.extend(list.ids),
        Err(error) => {
            let first = list.ids.into_iter().next();
            finished.failed.extend(first.map(|id| (id, error)));
        }
    }
    Ok(())
}

/// Does what is left to do. What was edited after the crash stays in the workspace.
fn go_on(layout: &Layout, list: &List, left_alone: &mut Vec<PathBuf>) -> Result<(), UndoError> {
    let on_conflict = match list.on_conflict {
        OnConflict::Refuse | OnConflict::KeepBoth => OnConflict::KeepBoth,
        OnConflict::Force => OnConflict::Force,
    };
    for id in &list.ids {
        if list.direction.set(layout, id).exists() {
            let done = undo::go_locked(layout, (list.direction, id), on_conflict)?;
            left_alone.extend(done.left_alone);
        }
    }
    Ok(())
}

/// Takes back what was done.
fn go_back(layout: &Layout, list: &mut List) -> Result<(), FileError> {
    if !list.back {
        list.back = true;
        begin(layout, list)?;
    }
    let direction = list.direction.back();
    for id in list.ids.iter().rev() {
        if direction.set(layout, id).exists() {
            undo::go_locked(layout, (direction, id), OnConflict::KeepBoth)
                .map_err(|error| cause(layout, error))?;
        }
    }
    end(layout)
}

fn cause(layout: &Layout, error: UndoError) -> FileError {
    match error {
        UndoError::Lock { source }
        | UndoError::Unfinished { source, .. }
        | UndoError::Plan { source, .. }
        | UndoError::Record { source, .. }
        | UndoError::Apply { source, .. }
        | UndoError::Interrupted { source, .. } => source,
        UndoError::Unknown { .. } | UndoError::Busy { .. } | UndoError::Conflict { .. } => {
            cannot("take back", layout.together())(io::Error::other(error))
        }
    }
}

/// Returns the operations that recovery would go on with, and which way.
pub(crate) fn half_way(layout: &Layout) -> Result<Vec<(Direction, OperationId)>, FileError> {
    let Some(list) = read(layout)? else {
        return Ok(Vec::new());
    };
    let direction = if list.back {
        list.direction.back()
    } else {
        list.direction
    };
    let ids = list.ids.into_iter();
    Ok(ids
        .filter(|id| direction.set(layout, id).exists())
        .map(|id| (direction, id))
        .collect())
}

fn read(layout: &Layout) -> Result<Option<List>, FileError> {
    let path = layout.together();
    let read = || match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    read().map_err(cannot::<io::Error>("read", &path))
}

/// Writes the list; when this returns, it is durable.
fn begin(layout: &Layout, list: &List) -> Result<(), FileError> {
    let path = layout.together();
    let draft = path.with_extension("new");
    let write = || {
        step()?;
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(list)?)?;
        step()?;
        step::sync_all(&file)?;
        step()?;
        fs::rename(&draft, &path)?;
        step()?;
        step::sync_all(&File::open(&layout.layers)?)
    };
    write().map_err(cannot::<io::Error>("write", &path))
}

/// As [`begin`], where there is no list yet.
fn begin_new(layout: &Layout, list: &List) -> Result<(), FileError> {
    begin(layout, list).inspect_err(|_| {
        // One that stays is done by recovery.
        drop(step().and_then(|()| fs::remove_file(layout.together())));
    })
}

/// Removes the list, durably: what is done after it must not be taken for a part of it.
fn end(layout: &Layout) -> Result<(), FileError> {
    let path = layout.together();
    let remove = || {
        step()?;
        fs::remove_file(&path)?;
        step()?;
        step::sync_all(&File::open(&layout.layers)?)
    };
    remove().map_err(cannot("remove", &path))
}
