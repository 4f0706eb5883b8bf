//! What an operation changed is put back, and its undo is taken back: whole, or the selected paths.

use jiff::Timestamp;
use sandbox_rollback::{Direction, OnConflict, PortionError, RollbackManager, UndoError, UndoPlan};
use sandbox_types::{OperationId, told_changes};

use crate::{
    ledger,
    review::{KeptEdit, ReviewError, UndoOptions, UndoOutcome},
    sandbox::Sandbox,
};

impl Sandbox {
    /// Undoes or redoes an operation.
    pub(crate) fn go(
        &self,
        direction: Direction,
        options: &UndoOptions,
        now: Timestamp,
    ) -> Result<UndoOutcome, ReviewError> {
        self.check_workspace()?;
        let rollback = self.rollback()?;
        let whole = self.meant(direction, rollback, options)?;
        let direct_since = if direction == Direction::Undo && options.id.is_none() {
            // For a warning only: a damaged journal keeps nobody from undoing.
            self.direct_since(&whole).unwrap_or_default()
        } else {
            Vec::new()
        };
        let on_conflict = options.on_conflict;
        let ordered = (whole.clone(), options.paths.as_slice(), on_conflict);
        let faster = |error| unless_gone((rollback, direction), &whole, error);
        let (plan, is_part) = plan(rollback, direction, &ordered).map_err(faster)?;
        if options.dry_run {
            return Ok(UndoOutcome {
                part_of: is_part.then(|| whole.clone()),
                operation: whole,
                dry_run: true,
                paths: told_changes(&plan.changes).into_owned(),
                conflicts: plan.conflicts,
                kept: kept(plan.kept),
                direct_since,
            });
        }
        if on_conflict == OnConflict::Refuse && !plan.conflicts.is_empty() {
            return Err(conflict(direction, plan.conflicts));
        }
        let _in_use = self.enter()?;
        let parted = if is_part {
            self.go_part(direction, &ordered, now)?
        } else {
            None
        };
        // Another caller may have left nothing but what is selected: then it is the whole.
        let (operation, done) = if let Some(part) = parted {
            part
        } else {
            let done = rollback.go(direction, &whole, on_conflict);
            let done = done.map_err(|source| faster(failed(direction, &whole, source)))?;
            (whole.clone(), done)
        };
        let kind = match direction {
            Direction::Undo => ledger::UNDONE,
            Direction::Redo => ledger::REDONE,
        };
        ledger::about(self.journal(), kind, &operation, None, now).map_err(ReviewError::Record)?;
        self.retain(now);
        Ok(UndoOutcome {
            part_of: (operation != whole).then_some(whole),
            operation,
            dry_run: false,
            paths: told_changes(&done.changes).into_owned(),
            conflicts: done.overwritten,
            kept: kept(done.kept),
            direct_since,
        })
    }

    /// Returns the operation that is meant.
    fn meant(
        &self,
        direction: Direction,
        rollback: &RollbackManager,
        options: &UndoOptions,
    ) -> Result<OperationId, ReviewError> {
        let listed = rollback.ready_to(direction).map_err(ReviewError::List)?;
        let Some(text) = &options.id else {
            return listed.last().cloned().ok_or(match direction {
                Direction::Undo => ReviewError::NothingToUndo,
                Direction::Redo => ReviewError::NothingToRedo,
            });
        };
        let id = self.resolve(text)?;
        match direction {
            _ if listed.contains(&id) => Ok(id),
            Direction::Undo => Err(ReviewError::NotUndoable { id }),
            Direction::Redo => Err(ReviewError::NotRedoable { id }),
        }
    }
}

/// What is undone or redone: an operation, the globs that select of it, and what edits become.
pub(crate) type Ordered<'a> = (OperationId, &'a [String], OnConflict);

/// Returns what would be done, and whether that is only a part of the operation.
fn plan(
    rollback: &RollbackManager,
    direction: Direction,
    (id, globs, on_conflict): &Ordered<'_>,
) -> Result<(UndoPlan, bool), ReviewError> {
    if !globs.is_empty() {
        let part = rollback.portion_plan(direction, id, (globs, *on_conflict));
        if let Some(plan) = part.map_err(|source| portion_failed(direction, id, source))? {
            return Ok((plan, true));
        }
    }
    let plan = rollback.plan_of(direction, id, *on_conflict);
    Ok((plan.map_err(|source| failed(direction, id, source))?, false))
}

/// Returns why an operation is not undone or redone: another process has done it, or else `error`.
fn unless_gone(
    (rollback, direction): (&RollbackManager, Direction),
    id: &OperationId,
    error: ReviewError,
) -> ReviewError {
    match rollback.ready_to(direction) {
        Ok(ready) if !ready.contains(id) => ReviewError::Meanwhile { id: id.clone() },
        Ok(_) | Err(_) => error,
    }
}

/// Returns why an operation is not undone or redone.
fn failed(direction: Direction, id: &OperationId, source: UndoError) -> ReviewError {
    let id = id.clone();
    match (direction, source) {
        // Edited between the plan and the lock.
        (_, UndoError::Conflict { paths, .. }) => conflict(direction, paths),
        (Direction::Undo, source) => ReviewError::Undo { id, source },
        (Direction::Redo, source) => ReviewError::Redo { id, source },
    }
}

/// Returns why a part of an operation is not undone or redone.
pub(crate) fn portion_failed(
    direction: Direction,
    id: &OperationId,
    source: PortionError,
) -> ReviewError {
    if let PortionError::Conflict { paths, .. } = source {
        return conflict(direction, paths);
    }
    ReviewError::Portion {
        id: id.clone(),
        source,
    }
}

fn conflict(direction: Direction, paths: Vec<std::path::PathBuf>) -> ReviewError {
    match direction {
        Direction::Undo => ReviewError::Conflict { paths },
        Direction::Redo => ReviewError::RedoConflict { paths },
    }
}

pub(crate) fn kept(pairs: Vec<(std::path::PathBuf, std::path::PathBuf)>) -> Vec<KeptEdit> {
    let edit = |(path, kept_as)| KeptEdit { path, kept_as };
    pairs.into_iter().map(edit).collect()
}
