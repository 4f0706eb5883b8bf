//! Finishes or reverses what a killed process left: crash and error share this one path.

use jiff::Timestamp;
use sandbox_rollback::{FileError, RollbackManager, UpkeepError};
use sandbox_state::AppendError;
use sandbox_types::OperationId;
use serde::Serialize;

use crate::{
    checkpoint::CheckpointError, history, ledger, sandbox::Sandbox, snapshots::SnapshotError,
};

/// How many of the newest records are searched for operations that have no end.
const SEARCHED_RECORDS_MAX: usize = 64;

/// What was found and settled.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RecoveryReport {
    /// Operations whose process was killed before their changes were committed: the workspace is as
    /// before them.
    pub interrupted: Vec<OperationId>,
    /// Operations whose process was killed while it committed, or before it could say so: their
    /// changes are in the workspace.
    pub completed: Vec<OperationId>,
    /// Operations whose undo was interrupted: finished now.
    pub undone: Vec<OperationId>,
    /// Operations whose redo was interrupted: finished now.
    pub redone: Vec<OperationId>,
    /// Operations that were to be undone or redone as one, which could not be finished: as before.
    pub reversed: Vec<OperationId>,
    /// What could not be settled, and why. Nothing of it was deleted.
    pub failed: Vec<String>,
}

/// A sandbox was not settled after a crash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The transactions cannot be settled.
    #[error("cannot settle what an interrupted operation left")]
    Rollback(#[source] UpkeepError),
    /// What an interrupted operation wrote directly cannot be taken back.
    #[error("cannot take back what an interrupted operation wrote to the workspace")]
    Checkpoint(#[source] CheckpointError),
    /// A rollback of workspace and state that was interrupted cannot be finished.
    #[error("cannot finish an interrupted rollback")]
    Intent(#[source] Box<SnapshotError>),
    /// The workspace is settled, and there is no record of it.
    #[error("cannot record what was recovered")]
    Record(#[source] AppendError),
}

impl Sandbox {
    /// Settles what killed processes left. Does nothing, cheaply, when there is nothing.
    pub(crate) fn recover(&self, now: Timestamp) -> Result<RecoveryReport, RecoveryError> {
        let Some(rollback) = &self.rollback else {
            return Ok(RecoveryReport::default());
        };
        let mut recovery = rollback.recover().map_err(RecoveryError::Rollback)?;
        match self.recover_checkpoint() {
            Ok(taken_back) => recovery.interrupted.extend(taken_back),
            Err(error) => return Err(RecoveryError::Checkpoint(error)),
        }
        let record = |kind: &str, ids: &[OperationId]| {
            ids.iter()
                .try_for_each(|id| ledger::about(self.journal(), kind, id, None, now))
                .map_err(RecoveryError::Record)
        };
        let mut unrecorded = self.committed_without_record(rollback)?;
        unrecorded.retain(|id| !recovery.completed.contains(id));
        recovery.completed.extend(unrecorded);
        record(ledger::DROPPED, &recovery.interrupted)?;
        record(ledger::COMPLETED, &recovery.completed)?;
        record(ledger::UNDONE, &recovery.undone)?;
        record(ledger::REDONE, &recovery.redone)?;
        if recovery.failed.is_empty() {
            self.recover_intent(rollback, now)
                .map_err(|source| RecoveryError::Intent(Box::new(source)))?;
        }
        self.track_killed(&recovery.interrupted, now);
        self.track_killed(&recovery.completed, now);
        let report = RecoveryReport {
            failed: recovery
                .failed
                .iter()
                .map(|(id, error)| describe(id, error))
                .collect(),
            interrupted: recovery.interrupted,
            completed: recovery.completed,
            undone: recovery.undone,
            redone: recovery.redone,
            reversed: recovery.reversed,
        };
        if !report.is_empty() {
            sandbox_isolation::remove_stale_cgroups();
        }
        Ok(report)
    }

    /// Returns the operations whose process was killed between the commit and the record of it.
    /// Usually reads one record: the end of the newest operation.
    fn committed_without_record(
        &self,
        rollback: &RollbackManager,
    ) -> Result<Vec<OperationId>, RecoveryError> {
        let unended = || history::unended(self.journal(), SEARCHED_RECORDS_MAX);
        if unended().is_empty() {
            return Ok(Vec::new());
        }
        let undoable = rollback.undoable().map_err(RecoveryError::Rollback)?;
        // Read again: one of them may have ended, and been recorded, before it was found dead.
        let mut found = unended();
        found.retain(|id| undoable.contains(id));
        Ok(found)
    }
}

fn describe(id: &OperationId, error: &FileError) -> String {
    format!("{id}: {}", sandbox_types::causes(error).join(": "))
}

impl RecoveryReport {
    /// Returns whether there was nothing to settle.
    pub fn is_empty(&self) -> bool {
        self.interrupted.is_empty()
            && self.completed.is_empty()
            && self.undone.is_empty()
            && self.redone.is_empty()
            && self.reversed.is_empty()
            && self.failed.is_empty()
    }
}
