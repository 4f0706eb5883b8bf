//! What an operation changed is put back, and its undo is taken back: whole, or the selected paths.

use jiff::Timestamp;
use sandbox_rollback::{Direction, OnConflict, RollbackManager, UndoPlan};
use sandbox_types::{Change, OperationId};

use crate::{
    ledger,
    review::{ReviewError, UndoOptions, UndoOutcome},
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
        let (plan, is_part) = plan(rollback, direction, (&whole, &options.paths))?;
        let part_of = is_part.then(|| whole.clone());
        if options.dry_run {
            return Ok(UndoOutcome {
                operation: whole,
                dry_run: true,
                paths: plan.changes,
                conflicts: plan.conflicts,
                part_of,
            });
        }
        if !options.force && !plan.conflicts.is_empty() {
            let paths = plan.conflicts;
            return Err(match direction {
                Direction::Undo => ReviewError::Conflict { paths },
                Direction::Redo => ReviewError::RedoConflict { paths },
            });
        }
        let _in_use = self.enter()?;
        let operation = if is_part {
            self.portion(direction, (&whole, &options.paths), now)?
        } else {
            whole
        };
        let on_conflict = if options.force {
            OnConflict::Force
        } else {
            OnConflict::Refuse
        };
        let (paths, kind) = carry_out(rollback, direction, (&operation, on_conflict))?;
        ledger::about(self.journal(), kind, &operation, None, now).map_err(ReviewError::Record)?;
        self.retain(now);
        Ok(UndoOutcome {
            operation,
            dry_run: false,
            paths,
            conflicts: plan.conflicts,
            part_of,
        })
    }

    /// Returns the operation that is meant.
    fn meant(
        &self,
        direction: Direction,
        rollback: &RollbackManager,
        options: &UndoOptions,
    ) -> Result<OperationId, ReviewError> {
        let listed = match direction {
            Direction::Undo => rollback.undoable(),
            Direction::Redo => rollback.redoable(),
        };
        let listed = listed.map_err(ReviewError::List)?;
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

/// Returns what would be done, and whether that is only a part of the operation.
fn plan(
    rollback: &RollbackManager,
    direction: Direction,
    (id, globs): (&OperationId, &[String]),
) -> Result<(UndoPlan, bool), ReviewError> {
    if !globs.is_empty() {
        let part = rollback.portion_plan(direction, id, globs);
        let part = part.map_err(|source| ReviewError::Portion {
            id: id.clone(),
            source,
        })?;
        if let Some(plan) = part {
            return Ok((plan, true));
        }
    }
    let id = id.clone();
    let plan = match direction {
        Direction::Undo => rollback
            .undo_plan(&id)
            .map_err(|source| ReviewError::Undo { id, source }),
        Direction::Redo => rollback
            .redo_plan(&id)
            .map_err(|source| ReviewError::Redo { id, source }),
    };
    Ok((plan?, false))
}

/// Does it; returns what changed, and the kind of the record of it.
fn carry_out(
    rollback: &RollbackManager,
    direction: Direction,
    (id, on_conflict): (&OperationId, OnConflict),
) -> Result<(Vec<Change>, &'static str), ReviewError> {
    let operation = id.clone();
    match direction {
        Direction::Undo => rollback
            .undo(id, on_conflict)
            .map(|done| (done.changes, ledger::UNDONE))
            .map_err(|source| ReviewError::Undo {
                id: operation,
                source,
            }),
        Direction::Redo => rollback
            .redo(id, on_conflict)
            .map(|done| (done.changes, ledger::REDONE))
            .map_err(|source| ReviewError::Redo {
                id: operation,
                source,
            }),
    }
}
