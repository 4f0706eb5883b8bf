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
    thread,
    time::Duration,
};

use jiff::Timestamp;
use sandbox_rollback::{RollbackManager, SnapshotId};
use sandbox_state::{Store, StoreError};
use sandbox_types::OperationId;
use serde::{Deserialize, Serialize};

use super::{
    SnapshotError,
    records::{self, RollbackDone},
};
use crate::{ledger, private, sandbox::Sandbox};

/// The name of the record, beside the journal.
const RECORD: &str = "rollback.json";
/// The name of the lock of the rollback that is made now.
const LOCK: &str = "rollback.lock";
/// How often who finishes a rollback tries to get the lock, and how long it waits in between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

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

    /// Whether a killed process has left an intent that nobody has finished; asked by who holds the store. Who makes or
    /// finishes a rollback holds it as long as the state's part is to come, so then nobody does.
    pub(crate) fn is_rollback_left(&self, store: &Store) -> Result<bool, SnapshotError> {
        let Some(intent) = self.intent()? else {
            return Ok(false);
        };
        if is_state_missing(&intent, store)? {
            return Ok(true);
        }
        // Once more under the lock: it may have ended meanwhile.
        let lock = self.rollback_lock()?;
        Ok(lock.is_some() && self.has_intent())
    }

    /// Finishes what a killed rollback left, for who had the sandbox open before.
    pub(super) fn finish_left(&self, now: Timestamp) -> Result<(), SnapshotError> {
        if self.has_intent() {
            self.recover(now).map_err(SnapshotError::recovery)?;
        }
        Ok(())
    }

    /// Finishes or forgets the rollback that a killed process left. Does nothing while one is made.
    /// The transactions were recovered before.
    ///
    /// First the store and then the lock, which is the other way round than who makes a rollback takes them: so the lock
    /// is only tried, and nobody waits for it.
    pub(crate) fn recover_intent(
        &self,
        rollback: &RollbackManager,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let with_state = match self.intent()? {
            Some(intent) => intent.state.is_some(),
            None => return Ok(()),
        };
        if with_state && self.is_store_busy() && self.rollback_lock()?.is_none() {
            return Ok(());
        }
        // One that is lost or damaged matters only if the state is to go back.
        let store = with_state.then(|| self.known_store());
        let Some(_lock) = self.rollback_lock_soon(with_state)? else {
            return Ok(());
        };
        // Once more: it may have ended meanwhile.
        let Some(intent) = self.intent()? else {
            return Ok(());
        };
        if intent.state.is_some() && !with_state {
            // Another one, that was killed just now: the next change of the state, or the next command, finishes it.
            return Ok(());
        }
        let undoable = rollback.undoable().map_err(SnapshotError::List)?;
        let went = match &intent.way {
            Way::Nothing => true,
            Way::Operations(ids) => !ids.iter().any(|id| undoable.contains(id)),
            Way::Snapshot(id) => undoable.contains(id),
        };
        if went {
            let store = store.transpose()?.flatten();
            self.finish_intent(&intent, store.as_ref(), now)?;
        }
        self.forget_intent()
    }

    /// Whether somebody holds the store at this moment.
    fn is_store_busy(&self) -> bool {
        let state = self.state.clone().with_busy_wait(Duration::ZERO);
        matches!(state.existing_store(), Err(StoreError::Busy { .. }))
    }

    /// As [`Sandbox::rollback_lock`]. Who holds the store tries more than once: others have the lock only for a moment,
    /// to look, or wait for that store.
    fn rollback_lock_soon(&self, with_store: bool) -> Result<Option<File>, SnapshotError> {
        for _ in 1..if with_store { LOCK_TRIES } else { 1 } {
            if let Some(lock) = self.rollback_lock()? {
                return Ok(Some(lock));
            }
            thread::park_timeout(LOCK_PAUSE);
        }
        self.rollback_lock()
    }

    fn finish_intent(
        &self,
        intent: &Intent,
        store: Option<&Store>,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        if let (Some(state), Some(store)) = (intent.state, store)
            && is_state_missing(intent, store)?
        {
            self.rollback_state_in(store, state.to, now)?;
        }
        if let Way::Operations(ids) = &intent.way {
            for id in ids {
                ledger::about(self.journal(), ledger::UNDONE, id, None, now)
                    .map_err(SnapshotError::Record)?;
            }
        }
        records::rolled_back(self.journal(), &intent.done(), now).map_err(SnapshotError::Record)
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

/// Returns whether the state is as it was when the rollback began: the store was held until it was killed, so nobody else
/// has changed it.
fn is_state_missing(intent: &Intent, store: &Store) -> Result<bool, SnapshotError> {
    let Some(state) = intent.state else {
        return Ok(false);
    };
    let sequence = store.sequence().map_err(super::with_state::read_failed)?;
    Ok(sequence == state.before && sequence != state.to)
}
