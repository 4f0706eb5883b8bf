//! Finishes or reverses what a killed process left: crash and error share this one path.

use jiff::Timestamp;
use sandbox_rollback::{FileError, UpkeepError};
use sandbox_state::AppendError;
use sandbox_types::OperationId;
use serde::Serialize;

use crate::{ledger, sandbox::Sandbox};

/// What was found and settled.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RecoveryReport {
    /// Operations whose process was killed before their changes were committed: the workspace is as
    /// before them.
    pub interrupted: Vec<OperationId>,
    /// Operations whose process was killed while it committed: finished now.
    pub completed: Vec<OperationId>,
    /// Operations whose undo was interrupted: finished now.
    pub undone: Vec<OperationId>,
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
        let recovery = rollback.recover().map_err(RecoveryError::Rollback)?;
        let record = |id: &OperationId, note: &str| {
            ledger::about(
                self.journal(),
                ledger::INTERRUPTED,
                id,
                Some(note.to_owned()),
                now,
            )
            .map_err(RecoveryError::Record)
        };
        for id in &recovery.interrupted {
            record(id, "its process was killed; its changes were dropped")?;
        }
        for id in &recovery.completed {
            record(
                id,
                "its process was killed while its changes were moved; that was finished",
            )?;
        }
        for id in &recovery.undone {
            ledger::about(self.journal(), ledger::UNDONE, id, None, now)
                .map_err(RecoveryError::Record)?;
        }
        let report = RecoveryReport {
            failed: recovery
                .failed
                .iter()
                .map(|(id, error)| describe(id, error))
                .collect(),
            interrupted: recovery.interrupted,
            completed: recovery.completed,
            undone: recovery.undone,
        };
        if !report.is_empty() {
            sandbox_isolation::remove_stale_cgroups();
        }
        Ok(report)
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
            && self.failed.is_empty()
    }
}
