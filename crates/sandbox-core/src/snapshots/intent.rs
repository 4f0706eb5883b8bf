//! What a rollback is about to do, written down before it begins.
//!
//! ```text
//! lock -> safety snapshot -> intent -> workspace -> state -> records -> forget the intent
//! ```
//! The workspace's part is one commit of its own (a restore, or several undos as one), and so is the
//! state's. Who is killed in between leaves the intent: the next one to open the sandbox looks whether
//! the workspace was rolled back, and then does the rest; otherwise nothing was done. So does a process that had it open
//! before, when it changes the state or rolls back: see `Sandbox::store_to_change`.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use jiff::Timestamp;
use sandbox_rollback::{RollbackManager, SnapshotId};
use sandbox_state::StateError;
use sandbox_types::OperationId;
use serde::{Deserialize, Serialize};

use super::{
    SnapshotError,
    records::{self, RollbackDone},
};
use crate::{ledger, private, sandbox::Sandbox, state::StateAccessError};

/// The name of the record, beside the journal.
const RECORD: &str = "rollback.json";
/// The name of the lock of the rollback that is made now.
const LOCK: &str = "rollback.lock";

/// A rollback that has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The snapshot or the operation, in full.
    pub(super) target: String,
    pub(super) way: Way,
    pub(super) safety: Option<SnapshotId>,
    pub(super) state: Option<StateIntent>,
}

/// How the workspace goes back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Way {
    /// It is as it should be.
    Nothing,
    /// These operations are undone, in this order.
    Operations(Vec<OperationId>),
    /// This operation restores a snapshot.
    Snapshot(OperationId),
}

/// How the state goes back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StateIntent {
    /// Its sequence number when the rollback began.
    pub(super) before: u64,
    /// The one that it goes back to.
    pub(super) to: u64,
}

impl Intent {
    fn done(&self) -> RollbackDone {
        let (operation, undone) = match &self.way {
            Way::Nothing => (None, Vec::new()),
            Way::Operations(ids) => (None, ids.clone()),
            Way::Snapshot(id) => (Some(id.clone()), Vec::new()),
        };
        RollbackDone {
            target: self.target.clone(),
            operation,
            undone,
            safety: self.safety,
            state_sequence: self.state.map(|it| it.to),
        }
    }
}

impl Sandbox {
    /// Takes the lock of the rollback that is made now; `None` if another process makes one.
    pub(super) fn rollback_lock(&self) -> Result<Option<File>, SnapshotError> {
        let path = self.rollback_file(LOCK);
        private::try_lock(&path).map_err(|source| SnapshotError::Intent {
            path: path.clone(),
            source,
        })
    }

    /// Whether a rollback is written down.
    pub(super) fn has_intent(&self) -> bool {
        self.rollback_file(RECORD).exists()
    }

    /// Writes the intent down; when this returns, it is durable.
    pub(super) fn intend(&self, intent: &Intent) -> Result<(), SnapshotError> {
        let path = self.rollback_file(RECORD);
        let write = || private::replace(&path, &serde_json::to_string(intent)?);
        write().map_err(|source| SnapshotError::Intent {
            path: path.clone(),
            source,
        })
    }

    /// The rollback has ended, whichever way.
    pub(super) fn forget_intent(&self) -> Result<(), SnapshotError> {
        let path = self.rollback_file(RECORD);
        let forget = || {
            fs::remove_file(&path)?;
            path.parent().map_or(Ok(()), private::sync)
        };
        forget().map_err(|source| SnapshotError::Intent {
            path: path.clone(),
            source,
        })
    }

    /// Whether a killed process has left an intent that nobody has finished. One that is made now is none of these.
    pub(crate) fn is_rollback_left(&self) -> Result<bool, SnapshotError> {
        if !self.has_intent() {
            return Ok(false);
        }
        // Once more under the lock: it may have ended meanwhile.
        let lock = self.rollback_lock()?;
        Ok(lock.is_some() && self.has_intent())
    }

    /// Finishes or forgets the rollback that a killed process left. Does nothing while one is made.
    /// The transactions were recovered before.
    pub(crate) fn recover_intent(
        &self,
        rollback: &RollbackManager,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        if !self.has_intent() {
            return Ok(());
        }
        let Some(_lock) = self.rollback_lock()? else {
            return Ok(());
        };
        // Once more: it may have ended meanwhile.
        let Some(intent) = self.intent()? else {
            return Ok(());
        };
        let undoable = rollback.undoable().map_err(SnapshotError::List)?;
        let went = match &intent.way {
            Way::Nothing => true,
            Way::Operations(ids) => !ids.iter().any(|id| undoable.contains(id)),
            Way::Snapshot(id) => undoable.contains(id),
        };
        if went {
            self.finish_intent(&intent, now)?;
        }
        self.forget_intent()
    }

    fn finish_intent(&self, intent: &Intent, now: Timestamp) -> Result<(), SnapshotError> {
        if let Some(state) = intent.state
            && self.intended_state_is_missing(state)?
        {
            self.rollback_state_to(state.to, now)?;
        }
        if let Way::Operations(ids) = &intent.way {
            for id in ids {
                ledger::about(self.journal(), ledger::UNDONE, id, None, now)
                    .map_err(SnapshotError::Record)?;
            }
        }
        records::rolled_back(self.journal(), &intent.done(), now).map_err(SnapshotError::Record)
    }

    /// Returns whether the state is as it was when the rollback began: the store was held until it
    /// was killed, so nobody else has changed it.
    fn intended_state_is_missing(&self, state: StateIntent) -> Result<bool, SnapshotError> {
        let sequence = match self.known_store_to_read()? {
            Some(store) => store
                .sequence()
                .map_err(|it| SnapshotError::State(StateAccessError::from(StateError::from(it))))?,
            None => 0,
        };
        Ok(sequence == state.before && sequence != state.to)
    }

    fn intent(&self) -> Result<Option<Intent>, SnapshotError> {
        let path = self.rollback_file(RECORD);
        let read = || match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        read().map_err(|source| SnapshotError::Intent {
            path: path.clone(),
            source,
        })
    }

    fn rollback_file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }
}
