//! The state and the snapshots: each snapshot pins the state under its own id, and a rollback can
//! take both back.
//!
//! A pin is set before its snapshot is there and removed after it is gone. So a kill leaves at most a
//! pin without a snapshot, and the next change of the snapshots removes it.

use std::cell::OnceCell;

use sandbox_rollback::{NewSnapshot, RepositoryError, SnapshotId, Taken};
use sandbox_state::{KeyBack, LookupError, StateError, StoreReadError, When};
use sandbox_types::OperationId;
use serde::Serialize;
use serde_json::Value;

use super::{SnapshotError, rollback::Target};
use crate::{ledger, sandbox::Sandbox, state::StateAccessError};

/// What a rollback did to the state, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct StateBack {
    /// The sequence number whose state is back.
    pub sequence: u64,
    /// The keys that changed, in the order of their bytes.
    pub keys: Vec<KeyBack>,
}

impl Sandbox {
    /// Takes a snapshot, and pins the state with it if there is a store.
    pub(super) fn take_with_state(&self, new: &mut NewSnapshot) -> Result<Taken, SnapshotError> {
        // Without a state it would say that there was none, and a rollback to it would delete all keys.
        let Some(store) = self.known_store_to_read()? else {
            return Ok(self.repository()?.snapshot(new)?);
        };
        let sequence = store.sequence().map_err(read_failed)?;
        // Nobody else could use the state while the workspace is read.
        drop(store);
        new.state_sequence = Some(sequence);
        let at = new.created_at;
        let pinned = OnceCell::new();
        let pin = |id: &SnapshotId| {
            let name = id.to_string();
            self.state.store()?.pin_at(&name, sequence, at)?;
            let _first = pinned.set(name);
            Ok(())
        };
        let taken = self.repository()?.snapshot_with(new, &pin);
        if let (Err(_), Some(name)) = (&taken, pinned.get()) {
            // If this fails, the next change of the snapshots does it.
            drop(self.unpin_state(name));
        }
        Ok(taken?)
    }

    /// Removes the pins of snapshots that are gone. What fails now is done the next time.
    pub(super) fn release_pins(&self) {
        drop(self.try_release_pins());
    }

    fn try_release_pins(&self) -> Result<(), SnapshotError> {
        let Some(store) = self.state.store_to_read().map_err(open_failed)? else {
            return Ok(());
        };
        // The pins first: who takes a snapshot sets its pin and completes it while nobody else can
        // read the snapshots. And not while the store is held, which that waits for.
        let pins = store.pins().map_err(read_failed)?;
        drop(store);
        let snapshots = match self.repository()?.snapshots() {
            Ok(snapshots) => snapshots,
            Err(RepositoryError::Empty) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for pin in pins {
            // Other names are of other users.
            let Ok(id) = pin.name.parse::<SnapshotId>() else {
                continue;
            };
            if !snapshots.iter().any(|snapshot| snapshot.id == id) {
                self.unpin_state(&pin.name)?;
            }
        }
        Ok(())
    }

    /// Returns which state a snapshot has. One that was taken before there was any has the empty one.
    pub(super) fn state_of_snapshot(&self, id: &str) -> Result<When, SnapshotError> {
        let snapshot = self.snapshot_of(id)?;
        Ok(match snapshot.state_sequence {
            Some(_) => When::Pin(snapshot.id.to_string()),
            None => When::Sequence(0),
        })
    }

    /// Returns the sequence number of the state that a rollback goes to.
    pub(super) fn sequence_of(&self, target: &Target) -> Result<u64, SnapshotError> {
        match target {
            Target::Operation(id) => self.sequence_before(id),
            Target::Snapshot(id) => match self.state_of_snapshot(&id.to_string())? {
                When::Pin(name) => {
                    let store = self.known_store_to_read()?;
                    let pins = store.map_or_else(|| Ok(Vec::new()), |it| it.pins());
                    let mut pins = pins.map_err(read_failed)?.into_iter();
                    let pin = pins.find(|pin| pin.name == name);
                    pin.map(|pin| pin.sequence)
                        .ok_or_else(|| read_failed(LookupError::NoPin { name }.into()))
                }
                When::Newest | When::Version(_) | When::Sequence(_) | When::Time(_) => Ok(0),
            },
        }
    }

    /// Returns the sequence number that the state had when an operation began: that of the last
    /// change that the journal has before it.
    fn sequence_before(&self, id: &OperationId) -> Result<u64, SnapshotError> {
        let unread = |source| SnapshotError::State(StateAccessError::Journal(source));
        let mut found = false;
        let mut newer = u64::MAX;
        for record in self.journal().records_newest_first().map_err(unread)? {
            let record = record.map_err(unread)?;
            match record.kind.as_str() {
                ledger::STARTED => {
                    let operation = record.payload.pointer("/operation/id");
                    found |= operation.and_then(Value::as_str) == Some(id.as_str());
                }
                // What was before is of a store that is gone.
                ledger::STATE_RECOVERED if !found => {
                    return Err(SnapshotError::OtherStore { id: id.clone() });
                }
                ledger::STATE_RECOVERED => {
                    let sequence = record.payload.get("sequence").and_then(Value::as_u64);
                    return Ok(sequence.unwrap_or(0));
                }
                ledger::STATE_SET | ledger::STATE_DELETED | ledger::STATE_ROLLED_BACK => {
                    let sequence = record.payload.get("sequence").and_then(Value::as_u64);
                    let sequence = sequence.unwrap_or(0);
                    if sequence > newer {
                        // It counted anew: the numbers before are of a store that is gone.
                        return Err(SnapshotError::OtherStore { id: id.clone() });
                    }
                    if found {
                        return Ok(sequence);
                    }
                    newer = sequence;
                }
                _ => {}
            }
        }
        if found {
            Ok(0)
        } else {
            Err(SnapshotError::NotUndoable { id: id.clone() })
        }
    }

    pub(super) fn state_plan(&self, sequence: u64) -> Result<Vec<KeyBack>, SnapshotError> {
        match self.known_store_to_read()? {
            Some(store) => store
                .rollback_plan(crate::state::NAMESPACE, sequence)
                .map_err(read_failed),
            None if sequence == 0 => Ok(Vec::new()),
            None => Err(read_failed(
                LookupError::NoSequence { sequence, last: 0 }.into(),
            )),
        }
    }
}

fn open_failed(error: sandbox_state::StoreError) -> SnapshotError {
    SnapshotError::State(StateError::from(error).into())
}

pub(super) fn read_failed(error: StoreReadError) -> SnapshotError {
    SnapshotError::State(StateError::from(error).into())
}
