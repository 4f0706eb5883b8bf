//! The versioned state of a sandbox: each change of it is a record of the journal, too.
//!
//! The store is opened for one call and closed again; `run.rs` never opens it. A change is committed
//! to the store and then recorded, while the store is still held. What a killed process committed and
//! did not record is recorded by the next change: both go through [`Sandbox::record_changes`].

mod error;
mod recovery;
mod rekey;
mod watch;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sandbox_state::{
    Change, Difference, Edit, Entry, KeySource, Listed, Pin, Put, RolledBack, Secrecy, StateError,
    StateManager, Store, Version, When, Zeroizing,
};
use sandbox_types::SandboxName;
use serde_json::Value;

use crate::{
    host::Host,
    layout::Layout,
    ledger::{self, Ledger},
    recover::RecoveryError,
    sandbox::Sandbox,
};

/// The namespace of the keys that users store.
pub(crate) const NAMESPACE: &str = "state";

/// The variable that can hold the key of the secrets instead of a file.
const KEY_VARIABLE: &str = "SANDBOX_STATE_KEY";

/// The variable that can hold a passphrase instead.
const PASSPHRASE_VARIABLE: &str = "SANDBOX_STATE_PASSPHRASE";

/// How far back the journal is searched for the last change of the state. If there is none, all
/// changes are taken for recorded: only a process that was killed at one certain moment could have
/// left one that is not, and that would have been more than so many records ago.
const SEARCHED_RECORDS_MAX: usize = 1000;

/// How a value is stored.
#[derive(Clone, Copy, Debug)]
pub struct StatePut {
    /// Whether it is sealed. A key that holds a secret takes only secrets until it is deleted.
    pub secrecy: Secrecy,
    /// The version that the key must have now, so that nobody else's change is lost; 0 for a key
    /// that is not there.
    pub expected: Option<u64>,
}

/// One change of a transaction over several keys.
#[derive(Clone, Debug)]
pub enum StateEdit {
    /// Stores a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Zeroizing<Vec<u8>>,
        /// How.
        put: StatePut,
    },
    /// Deletes a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: String,
        /// The version that the key must have now; 0 for a key that is not there.
        expected: Option<u64>,
    },
}

impl StateEdit {
    pub(crate) fn borrowed(&self) -> Edit<'_> {
        match self {
            Self::Put { key, value, put } => Edit::Put {
                key,
                value,
                secrecy: put.secrecy,
                expected: put.expected,
            },
            Self::Delete { key, expected } => Edit::Delete {
                key,
                expected: *expected,
            },
        }
    }
}

/// Returns the state of a sandbox, with the key of the secrets that the caller has.
pub(crate) fn of(host: &Host, layout: &Layout, name: &SandboxName) -> StateManager {
    let keys = given(host, "").unwrap_or_else(|| KeySource::File(layout.state_key()));
    StateManager::open(&layout.sandbox(name)).with_keys(keys)
}

/// Returns the key that a variable holds, if one does; `suffix` is at the end of its name.
fn given(host: &Host, suffix: &str) -> Option<KeySource> {
    key_in(host, (KEY_VARIABLE, PASSPHRASE_VARIABLE), suffix)
}

/// Returns the key in one of two variables, the second of which is for a passphrase.
pub(crate) fn key_in(
    host: &Host,
    (key, passphrase): (&str, &str),
    suffix: &str,
) -> Option<KeySource> {
    let variable = |name: &str| {
        let origin = format!("{name}{suffix}");
        let text = host.variable(&origin)?.to_owned();
        Some((Zeroizing::new(text), origin))
    };
    if let Some((text, origin)) = variable(key) {
        return Some(KeySource::Text { text, origin });
    }
    let (text, origin) = variable(passphrase)?;
    Some(KeySource::Passphrase { text, origin })
}

/// Keeps this process from writing core dumps from now on, so that no secret gets into one. For
/// programs that handle secrets and start nothing that should dump: children inherit it.
pub fn without_core_dumps() {
    let limit = Rlimit {
        // Not 0: that would not hold for dumps that are piped to a program (core(5)).
        current: Some(1),
        maximum: getrlimit(Resource::Core).maximum,
    };
    // Lowering one's own limit fails only where it is lower already.
    let _lowered = setrlimit(Resource::Core, limit);
}

impl Sandbox {
    pub(crate) fn state_set(
        &self,
        key: &str,
        value: &[u8],
        put: StatePut,
        now: Timestamp,
    ) -> Result<Version, StateAccessError> {
        let put = Put {
            at: now,
            secrecy: put.secrecy,
            expected: put.expected,
        };
        self.change(now, |store| {
            Ok(store
                .put(NAMESPACE, key, value, put)
                .map_err(StateError::from)?)
        })
    }

    /// Makes several changes in one commit.
    pub(crate) fn state_apply(
        &self,
        edits: &[Edit<'_>],
        now: Timestamp,
    ) -> Result<Vec<(String, Version)>, StateAccessError> {
        self.change(now, |store| {
            let made = store.apply(NAMESPACE, edits, now);
            Ok(made.map_err(StateError::from)?)
        })
    }

    pub(crate) fn state_diff(
        &self,
        before: &When,
        after: &When,
    ) -> Result<Vec<Difference>, StateAccessError> {
        let Some(store) = self.known_store_to_read()? else {
            return Ok(Vec::new());
        };
        let found = store.diff(NAMESPACE, before, after);
        Ok(found.map_err(StateError::from)?)
    }

    pub(crate) fn state_delete(
        &self,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Version>, StateAccessError> {
        self.change(now, |store| {
            let deleted = store.delete(NAMESPACE, key, now);
            Ok(deleted.map_err(StateError::from)?)
        })
    }

    pub(crate) fn state_rollback(
        &self,
        key: &str,
        version: u64,
        now: Timestamp,
    ) -> Result<Version, StateAccessError> {
        self.change(now, |store| {
            let restored = store.rollback(NAMESPACE, key, version, now);
            Ok(restored.map_err(StateError::from)?)
        })
    }

    /// Makes the whole state what it was at `sequence`, in one commit, in a store that is open.
    pub(crate) fn rollback_state_in(
        &self,
        store: &Store,
        sequence: u64,
        now: Timestamp,
    ) -> Result<RolledBack, StateAccessError> {
        self.change_in(store, now, |store| rollback_to(store, sequence, now))
    }

    /// Makes the keys that begin with `prefix` what they were at `sequence`, in one commit.
    pub(crate) fn rollback_state_prefix(
        &self,
        prefix: &str,
        sequence: u64,
        now: Timestamp,
    ) -> Result<RolledBack, StateAccessError> {
        self.change(now, |store| {
            let restored = store.rollback_prefix((NAMESPACE, prefix), sequence, now);
            Ok(restored.map_err(StateError::from)?)
        })
    }

    pub(crate) fn state_get(
        &self,
        key: &str,
        when: &When,
    ) -> Result<Option<Entry>, StateAccessError> {
        Ok(match self.known_store_to_read()? {
            Some(store) => store.get(NAMESPACE, key, when).map_err(StateError::from)?,
            None => self.state.get(NAMESPACE, key, when)?,
        })
    }

    pub(crate) fn state_list(&self, prefix: &str) -> Result<Vec<Listed>, StateAccessError> {
        let Some(store) = self.known_store_to_read()? else {
            return Ok(Vec::new());
        };
        Ok(store.list(NAMESPACE, prefix).map_err(StateError::from)?)
    }

    pub(crate) fn state_history(&self, key: &str) -> Result<Vec<Version>, StateAccessError> {
        let Some(store) = self.known_store_to_read()? else {
            return Ok(Vec::new());
        };
        Ok(store.history(NAMESPACE, key).map_err(StateError::from)?)
    }

    /// Returns the number that names the state as it is now.
    pub(crate) fn state_sequence(&self) -> Result<u64, StateAccessError> {
        Ok(self.state.sequence()?)
    }

    /// Keeps the state as it is now under a name, until it is unpinned. The name of a pin that is
    /// there keeps what it holds.
    pub(crate) fn pin_state(&self, name: &str, now: Timestamp) -> Result<Pin, StateAccessError> {
        let _in_use = self.in_use().map_err(StateAccessError::Gone)?;
        Ok(self.state.pin(name, now)?)
    }

    /// Gives a pinned state up, and returns whether there was one.
    pub(crate) fn unpin_state(&self, name: &str) -> Result<bool, StateAccessError> {
        Ok(self.state.unpin(name)?)
    }

    /// Changes the state, and records what changed.
    fn change<T>(
        &self,
        now: Timestamp,
        work: impl FnOnce(&Store) -> Result<T, StateAccessError>,
    ) -> Result<T, StateAccessError> {
        // Without it the sandbox was destroyed, and its directory must not be made again.
        let _in_use = self.in_use().map_err(StateAccessError::Gone)?;
        let store = self.store_to_change(now)?;
        self.change_in(&store, now, work)
    }

    /// Opens the store for a change, after what a killed rollback left of it is done: that one held the store until it
    /// was killed, and what it had written down must not meet a later change.
    fn store_to_change(&self, now: Timestamp) -> Result<Store, StateAccessError> {
        let open = || -> Result<Store, StateAccessError> {
            match self.known_store()? {
                Some(store) => Ok(store),
                None => Ok(self.state.store().map_err(StateError::from)?),
            }
        };
        let store = open()?;
        if !self.has_left_rollback(&store)? {
            return Ok(store);
        }
        drop(store);
        self.recover(now)
            .map_err(|source| StateAccessError::Rollback(Box::new(source)))?;
        let store = open()?;
        if self.has_left_rollback(&store)? {
            return Err(StateAccessError::RollbackLeft);
        }
        Ok(store)
    }

    /// Whether a process was killed in the middle of a rollback, and nobody has finished that yet.
    fn has_left_rollback(&self, store: &Store) -> Result<bool, StateAccessError> {
        self.is_rollback_left(store).map_err(|source| {
            StateAccessError::Rollback(Box::new(RecoveryError::Intent(Box::new(source))))
        })
    }

    fn change_in<T>(
        &self,
        store: &Store,
        now: Timestamp,
        work: impl FnOnce(&Store) -> Result<T, StateAccessError>,
    ) -> Result<T, StateAccessError> {
        let before = store.sequence().map_err(StateError::from)?;
        if let Some(recorded) = self.recorded_sequence()? {
            self.record_changes(store, recorded, now)?;
        }
        let done = work(store)?;
        self.record_changes(store, before, now)?;
        Ok(done)
    }

    /// Records the changes after `sequence`.
    fn record_changes(
        &self,
        store: &Store,
        sequence: u64,
        now: Timestamp,
    ) -> Result<(), StateAccessError> {
        let changes = store.changes(sequence).map_err(StateError::from)?;
        let users = |change: &Change| change.namespace == NAMESPACE;
        for change in changes.into_iter().filter(users) {
            ledger::state_changed(self.journal(), change, now).map_err(StateAccessError::Record)?;
        }
        Ok(())
    }

    /// Returns the sequence up to which changes are recorded; `None` if that is too long ago to be
    /// searched for.
    pub(crate) fn recorded_sequence(&self) -> Result<Option<u64>, StateAccessError> {
        recorded_among(self.journal(), SEARCHED_RECORDS_MAX)
    }
}

fn rollback_to(
    store: &Store,
    sequence: u64,
    now: Timestamp,
) -> Result<RolledBack, StateAccessError> {
    let restored = store.rollback_to(NAMESPACE, sequence, now);
    Ok(restored.map_err(StateError::from)?)
}

/// Like [`Sandbox::recorded_sequence`], within the newest `count` records of a journal.
fn recorded_among(ledger: &Ledger, count: usize) -> Result<Option<u64>, StateAccessError> {
    let records = ledger.records_newest_first();
    let mut records = records.map_err(StateAccessError::Journal)?;
    for _ in 0..count {
        let Some(record) = records.next() else {
            return Ok(Some(0));
        };
        let record = record.map_err(StateAccessError::Journal)?;
        let kinds = [
            ledger::STATE_SET,
            ledger::STATE_DELETED,
            ledger::STATE_ROLLED_BACK,
            ledger::STATE_RECOVERED,
            ledger::STATE_REKEYED,
        ];
        if kinds.contains(&record.kind.as_str()) {
            return Ok(record.payload.get("sequence").and_then(Value::as_u64));
        }
    }
    Ok(None)
}

pub use error::StateAccessError;
pub use recovery::StateRecovered;
pub use rekey::{RekeyError, RekeyedSandbox};
pub use watch::StateStream;

#[cfg(test)]
mod tests;
