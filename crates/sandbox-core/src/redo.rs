//! The undo of an operation is taken back.

use jiff::Timestamp;
use sandbox_rollback::{OnConflict, RollbackManager};
use sandbox_types::OperationId;

use crate::{
    ledger,
    review::{ReviewError, UndoOptions, UndoOutcome},
    sandbox::Sandbox,
};

impl Sandbox {
    pub(crate) fn redo(
        &self,
        options: &UndoOptions,
        now: Timestamp,
    ) -> Result<UndoOutcome, ReviewError> {
        self.check_workspace()?;
        let rollback = self.rollback()?;
        let operation = self.redo_target(rollback, options)?;
        let failed = |source| ReviewError::Redo {
            id: operation.clone(),
            source,
        };
        let plan = rollback.redo_plan(&operation).map_err(failed)?;
        if options.dry_run {
            return Ok(UndoOutcome {
                operation,
                dry_run: true,
                paths: plan.changes,
                conflicts: plan.conflicts,
            });
        }
        if !options.force && !plan.conflicts.is_empty() {
            return Err(ReviewError::RedoConflict {
                paths: plan.conflicts,
            });
        }
        let _in_use = self.enter()?;
        let on_conflict = if options.force {
            OnConflict::Force
        } else {
            OnConflict::Refuse
        };
        let redone = rollback.redo(&operation, on_conflict).map_err(failed)?;
        ledger::about(self.journal(), ledger::REDONE, &operation, None, now)
            .map_err(ReviewError::Record)?;
        self.retain(now);
        Ok(UndoOutcome {
            operation,
            dry_run: false,
            paths: redone.changes,
            conflicts: plan.conflicts,
        })
    }

    fn redo_target(
        &self,
        rollback: &RollbackManager,
        options: &UndoOptions,
    ) -> Result<OperationId, ReviewError> {
        let redoable = rollback.redoable().map_err(ReviewError::List)?;
        match &options.id {
            None => redoable.last().cloned().ok_or(ReviewError::NothingToRedo),
            Some(text) => {
                let id = self.resolve(text)?;
                if redoable.contains(&id) {
                    Ok(id)
                } else {
                    Err(ReviewError::NotRedoable { id })
                }
            }
        }
    }
}
