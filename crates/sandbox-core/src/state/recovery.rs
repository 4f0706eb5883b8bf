//! A store that is lost, damaged, or an older copy of itself is noticed, because the journal knows how far it was; and
//! one can go on with what is there, which the journal then knows too.

use std::{fs, path::PathBuf};

use jiff::Timestamp;
use sandbox_state::{StateError, StateManager, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::{SEARCHED_RECORDS_MAX, StateAccessError, recorded_among};
use crate::{
    ledger::{self, Ledger},
    sandbox::Sandbox,
};

/// From where somebody goes on after the store of the state was lost, damaged or replaced.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct StateRecovered {
    /// The last change that the journal had.
    pub recorded: u64,
    /// The last change that the store has; 0 if there is none.
    pub sequence: u64,
    /// Where the damaged store was moved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<PathBuf>,
}

/// Opens the store of a sandbox as `open` does; its last change is looked for in the newest `count` records of its journal; `None` if
/// there never was one.
pub(super) fn known_store(
    state: &StateManager,
    ledger: &Ledger,
    count: usize,
    open: impl FnOnce(&StateManager) -> Result<Option<Store>, StoreError>,
) -> Result<Option<Store>, StateAccessError> {
    // Before the store: a change is committed first and recorded then.
    let recorded = recorded_among(ledger, count)?;
    let store = open(state).map_err(StateError::from)?;
    let path = state.store_path();
    let Some(store) = store else {
        let recorded = match recorded {
            Some(recorded) => recorded,
            // Whoever lost it long ago lost it all the same.
            None => recorded_among(ledger, usize::MAX)?.unwrap_or(0),
        };
        return if recorded == 0 {
            Ok(None)
        } else {
            Err(StateAccessError::Lost { path, recorded })
        };
    };
    let sequence = store.sequence().map_err(StateError::from)?;
    match recorded {
        Some(recorded) if recorded > sequence => Err(StateAccessError::Older {
            path,
            sequence,
            recorded,
        }),
        Some(_) | None => Ok(Some(store)),
    }
}

impl Sandbox {
    /// Opens the store; `None` if there never was one.
    pub(crate) fn known_store(&self) -> Result<Option<Store>, StateAccessError> {
        let open = StateManager::existing_store;
        known_store(&self.state, self.journal(), SEARCHED_RECORDS_MAX, open)
    }

    /// Opens the store to read, with other readers; `None` if there never was one.
    pub(crate) fn known_store_to_read(&self) -> Result<Option<Store>, StateAccessError> {
        let open = StateManager::store_to_read;
        known_store(&self.state, self.journal(), SEARCHED_RECORDS_MAX, open)
    }

    /// Returns the last change that the journal has, if there is no store with it. Only the newest records are read;
    /// whoever uses the state looks at all.
    pub(crate) fn lost_state(&self) -> Option<u64> {
        if self.state.store_path().exists() {
            return None;
        }
        let recorded = recorded_among(self.journal(), SEARCHED_RECORDS_MAX);
        recorded.ok().flatten().filter(|recorded| *recorded > 0)
    }

    /// Goes on with the store as it is; a damaged one is moved aside. `None` if nothing is wrong.
    pub(crate) fn recover_state(
        &self,
        now: Timestamp,
    ) -> Result<Option<StateRecovered>, StateAccessError> {
        let _in_use = self.in_use().map_err(StateAccessError::Gone)?;
        let recorded = recorded_among(self.journal(), usize::MAX)?.unwrap_or(0);
        let (sequence, moved_to) = match self.state.existing_store() {
            Ok(None) => (0, None),
            Ok(Some(store)) => match store.verify() {
                Ok(found) if found.sequence >= recorded => return Ok(None),
                Ok(found) => (found.sequence, None),
                Err(_damaged) => {
                    drop(store);
                    (0, Some(self.move_store_aside(now)?))
                }
            },
            Err(StoreError::Damaged { .. }) => (0, Some(self.move_store_aside(now)?)),
            Err(error) => return Err(StateError::from(error).into()),
        };
        if recorded == 0 && moved_to.is_none() {
            return Ok(None);
        }
        let recovered = StateRecovered {
            recorded,
            sequence,
            moved_to,
        };
        let written = self
            .journal()
            .append(ledger::STATE_RECOVERED, now, &recovered);
        written.map_err(StateAccessError::Record)?;
        Ok(Some(recovered))
    }

    fn move_store_aside(&self, now: Timestamp) -> Result<PathBuf, StateAccessError> {
        let path = self.state.store_path();
        let aside = path.with_extension(format!("redb.damaged-{}", now.as_second()));
        fs::rename(&path, &aside).map_err(|source| StateAccessError::Aside { path, source })?;
        Ok(aside)
    }
}
