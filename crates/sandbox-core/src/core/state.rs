//! The front door of the versioned state.

use std::sync::Arc;

use sandbox_state::{Difference, Entry, Listed, Pin, RolledBack, Version, When, Zeroizing};

use super::{SandboxCore, in_background};
use crate::{
    events::EventsError,
    home::now,
    sandbox::Sandbox,
    state::{StateAccessError, StateEdit, StatePut, StateRecovered, StateStream},
};

impl SandboxCore {
    /// Stores a new version of a key of the state.
    ///
    /// # Errors
    ///
    /// Fails when the key or value is too long, the key has another version than was expected or
    /// holds a secret and the value is none, the key of the secrets cannot be used, another process
    /// holds the store for too long, or it is damaged. Then nothing was stored.
    pub async fn state_set(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        put: StatePut,
    ) -> Result<Version, StateAccessError> {
        let (key, value) = (key.to_owned(), Zeroizing::new(value.into()));
        self.with_state(move |it| it.state_set(&key, &value, put, now()))
            .await
    }

    /// Returns a value of a key of the state; `None` if there was none, or it was deleted.
    ///
    /// # Errors
    ///
    /// Fails when there is no such version, pin or sequence or it is no longer kept, the key of the
    /// secrets cannot be used, another process holds the store for too long, or it is damaged.
    pub async fn state_get(
        &self,
        key: &str,
        when: When,
    ) -> Result<Option<Entry>, StateAccessError> {
        let key = key.to_owned();
        self.with_state(move |it| it.state_get(&key, &when)).await
    }

    /// Returns the keys of the state that begin with `prefix` and are not deleted.
    ///
    /// # Errors
    ///
    /// Fails when another process holds the store for too long, or it is damaged.
    pub async fn state_list(&self, prefix: &str) -> Result<Vec<Listed>, StateAccessError> {
        let prefix = prefix.to_owned();
        self.with_state(move |it| it.state_list(&prefix)).await
    }

    /// Returns the versions of a key that are kept, oldest first; none if the key never was.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::state_list`].
    pub async fn state_history(&self, key: &str) -> Result<Vec<Version>, StateAccessError> {
        let key = key.to_owned();
        self.with_state(move |it| it.state_history(&key)).await
    }

    /// Deletes a key of the state; `None` if there was none. Older versions stay.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::state_set`].
    pub async fn state_delete(&self, key: &str) -> Result<Option<Version>, StateAccessError> {
        let key = key.to_owned();
        self.with_state(move |it| it.state_delete(&key, now()))
            .await
    }

    /// Makes an old version of a key the newest one again, as a new version.
    ///
    /// # Errors
    ///
    /// Fails when there is no such version or it is no longer kept, and as
    /// [`SandboxCore::state_set`].
    pub async fn state_rollback(
        &self,
        key: &str,
        version: u64,
    ) -> Result<Version, StateAccessError> {
        let key = key.to_owned();
        self.with_state(move |it| it.state_rollback(&key, version, now()))
            .await
    }

    /// Returns the number that names the state as it is now.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::state_list`].
    pub async fn state_sequence(&self) -> Result<u64, StateAccessError> {
        self.with_state(Sandbox::state_sequence).await
    }

    /// Keeps the state as it is now under a name, until it is unpinned. A name that is pinned
    /// already keeps what it holds, and that is returned.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::state_set`].
    pub async fn pin_state(&self, name: &str) -> Result<Pin, StateAccessError> {
        let name = name.to_owned();
        self.with_state(move |it| it.pin_state(&name, now())).await
    }

    /// Gives a pinned state up, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::state_set`].
    pub async fn unpin_state(&self, name: &str) -> Result<bool, StateAccessError> {
        let name = name.to_owned();
        self.with_state(move |it| it.unpin_state(&name)).await
    }

    /// Makes the whole state what it was at `sequence`, by new versions in one commit.
    ///
    /// # Errors
    ///
    /// Fails when the state has not come so far, what a key was then is no longer kept, and as
    /// [`SandboxCore::state_set`]. Then nothing was changed.
    pub async fn rollback_state_to(&self, sequence: u64) -> Result<RolledBack, StateAccessError> {
        self.rollback_state_prefix("", sequence).await
    }

    /// Makes the keys that begin with `prefix` what they were at `sequence`, by new versions in one commit.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::rollback_state_to`].
    pub async fn rollback_state_prefix(
        &self,
        prefix: &str,
        sequence: u64,
    ) -> Result<RolledBack, StateAccessError> {
        let prefix = prefix.to_owned();
        self.with_state(move |it| it.rollback_state_prefix(&prefix, sequence, now()))
            .await
    }

    /// Makes several changes in one commit: all of them, or none.
    ///
    /// # Errors
    ///
    /// Fails when a key is named twice, and as [`SandboxCore::state_set`]. Then nothing was changed.
    pub async fn state_apply(
        &self,
        edits: Vec<StateEdit>,
    ) -> Result<Vec<(String, Version)>, StateAccessError> {
        self.with_state(move |it| {
            let edits: Vec<_> = edits.iter().map(StateEdit::borrowed).collect();
            it.state_apply(&edits, now())
        })
        .await
    }

    /// Returns the keys that differ between two points in time.
    ///
    /// # Errors
    ///
    /// Fails when one of them is not kept, and as [`SandboxCore::state_list`].
    pub async fn state_diff(
        &self,
        before: When,
        after: When,
    ) -> Result<Vec<Difference>, StateAccessError> {
        self.with_state(move |it| it.state_diff(&before, &after))
            .await
    }

    /// Follows the changes of the keys that begin with `prefix`, whoever makes them: first those after the event
    /// `since`, then what comes. `Some(0)` begins with the first change, `None` with the next one.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::events`].
    pub fn watch_state(
        &self,
        prefix: &str,
        since: Option<u64>,
    ) -> Result<StateStream, EventsError> {
        Ok(StateStream::new(self.events(since)?, prefix))
    }

    /// Goes on with the store as it is, after it was lost, damaged, or replaced by an older copy: a damaged one is
    /// moved aside, and the journal says what was lost. `None` if nothing is wrong.
    ///
    /// # Errors
    ///
    /// Fails when another process holds the store for too long, or a file cannot be moved or written.
    pub async fn recover_state(&self) -> Result<Option<StateRecovered>, StateAccessError> {
        self.with_state(|it| it.recover_state(now())).await
    }

    /// Returns all records of the journal, oldest first, each checked with the chain up to it.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read.
    pub fn all_records(&self) -> Result<sandbox_state::Records, sandbox_state::ReadError> {
        self.sandbox.state.journal().records()
    }

    async fn with_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sandbox) -> T + Send + 'static,
    ) -> T {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || work(&sandbox)).await
    }
}
