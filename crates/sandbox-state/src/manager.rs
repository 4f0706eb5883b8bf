//! The front door: the state directory of one sandbox.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    BUSY_WAIT_DEFAULT, Entry, Journal, KeySource, Listed, LookupError, Pin, Put, RolledBack, Store,
    StoreError, StoreReadError, StoreVerification, StoreWriteError, VERSIONS_KEPT_DEFAULT, Version,
    When,
    store::{Kept, Options},
};

/// The state of one sandbox, kept in one directory.
///
/// Its own methods open the store, do one thing, and close it again, so that several processes can
/// use it at once. [`StateManager::store`] keeps it open for several.
#[derive(Debug, Clone)]
pub struct StateManager {
    directory: PathBuf,
    journal: Journal,
    options: Options,
}

/// The state cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] StoreReadError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] StoreWriteError),
}

impl StateManager {
    /// Returns the state kept in `directory`. Nothing is read or created yet. There is no key for
    /// secrets, and [`VERSIONS_KEPT_DEFAULT`] versions of each key are kept.
    pub fn open(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            journal: Journal::at(directory),
            options: Options {
                keys: KeySource::None,
                kept: Kept {
                    versions: VERSIONS_KEPT_DEFAULT,
                    age: None,
                },
                busy_wait: BUSY_WAIT_DEFAULT,
            },
        }
    }

    /// Takes the key for secrets from there.
    #[must_use]
    pub fn with_keys(mut self, keys: KeySource) -> Self {
        self.options.keys = keys;
        self
    }

    /// Keeps this many versions of each key, and those that a pin needs. At least one is kept.
    #[must_use]
    pub fn with_versions_kept(mut self, versions: u64) -> Self {
        self.options.kept.versions = versions;
        self
    }

    /// Of old versions, keeps only those that were replaced no longer ago than this, and those that a pin needs. What
    /// counts is the time of the change that replaced them, when the key is stored the next time.
    #[must_use]
    pub fn with_versions_kept_for(mut self, age: Option<Duration>) -> Self {
        self.options.kept.age = age;
        self
    }

    /// Waits this long for another process that has the store open; [`BUSY_WAIT_DEFAULT`] if nobody
    /// says otherwise.
    #[must_use]
    pub fn with_busy_wait(mut self, wait: Duration) -> Self {
        self.options.busy_wait = wait;
        self
    }

    /// Begins a new file of the journal when one has this length; [`crate::SEGMENT_BYTES_DEFAULT`] if nobody
    /// says otherwise.
    #[must_use]
    pub fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.journal = self.journal.with_segment_bytes(bytes);
        self
    }

    /// Returns the journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns where the versioned store lies. It need not be there.
    pub fn store_path(&self) -> PathBuf {
        self.directory.join(crate::store::FILE_NAME)
    }

    /// Opens the versioned store, and creates it if it is not there.
    ///
    /// One process at a time holds it: drop it soon.
    ///
    /// # Errors
    ///
    /// Fails when another process holds it for longer than the bounded wait, when it is damaged or
    /// of a newer format, and when the directory or the file is not ours alone.
    pub fn store(&self) -> Result<Store, StoreError> {
        Store::open_or_create(&self.directory, &self.options)
    }

    /// Opens the versioned store; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`].
    pub fn existing_store(&self) -> Result<Option<Store>, StoreError> {
        Store::open(&self.directory, &self.options)
    }

    /// Opens the versioned store to read; `None` if there is none. Other readers may have it open too, nobody who
    /// writes. The file is not changed, and nothing waits for storage.
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`]. Whoever writes through what this returns is refused.
    pub fn store_to_read(&self) -> Result<Option<Store>, StoreError> {
        Store::open_to_read(&self.directory, &self.options)
    }

    /// Stores a new version of a key: [`Store::put`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::put`].
    pub fn set(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        put: Put,
    ) -> Result<Version, StateError> {
        Ok(self.store()?.put(namespace, key, value, put)?)
    }

    /// Returns a value of a key: [`Store::get`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::get`].
    pub fn get(
        &self,
        namespace: &str,
        key: &str,
        when: &When,
    ) -> Result<Option<Entry>, StateError> {
        match self.store_to_read()? {
            Some(store) => Ok(store.get(namespace, key, when)?),
            None => Ok(nothing_at(key, when).map(|()| None)?),
        }
    }

    /// Returns the keys that begin with `prefix`: [`Store::list`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::list`].
    pub fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, StateError> {
        let store = self.store_to_read()?;
        Ok(store.map_or_else(|| Ok(Vec::new()), |it| it.list(namespace, prefix))?)
    }

    /// Returns the versions of a key: [`Store::history`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::history`].
    pub fn history(&self, namespace: &str, key: &str) -> Result<Vec<Version>, StateError> {
        let store = self.store_to_read()?;
        Ok(store.map_or_else(|| Ok(Vec::new()), |it| it.history(namespace, key))?)
    }

    /// Deletes a key: [`Store::delete`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::delete`].
    pub fn delete(
        &self,
        namespace: &str,
        key: &str,
        at: Timestamp,
    ) -> Result<Option<Version>, StateError> {
        let store = self.existing_store()?;
        Ok(store.map_or(Ok(None), |it| it.delete(namespace, key, at))?)
    }

    /// Makes an old version of a key the newest one again: [`Store::rollback`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::rollback`].
    pub fn rollback(
        &self,
        namespace: &str,
        key: &str,
        version: u64,
        at: Timestamp,
    ) -> Result<Version, StateError> {
        Ok(self.store()?.rollback(namespace, key, version, at)?)
    }

    /// Makes all keys of a namespace what they were: [`Store::rollback_to`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::rollback_to`].
    pub fn rollback_to(
        &self,
        namespace: &str,
        sequence: u64,
        at: Timestamp,
    ) -> Result<RolledBack, StateError> {
        Ok(self.store()?.rollback_to(namespace, sequence, at)?)
    }

    /// Pins the state as it is now: [`Store::pin`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::pin`].
    pub fn pin(&self, name: &str, at: Timestamp) -> Result<Pin, StateError> {
        Ok(self.store()?.pin(name, at)?)
    }

    /// Removes a pin, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::unpin`].
    pub fn unpin(&self, name: &str) -> Result<bool, StateError> {
        let store = self.existing_store()?;
        Ok(store.map_or(Ok(false), |it| it.unpin(name))?)
    }

    /// Returns the number of the last commit: it names the state as it is now.
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::sequence`].
    pub fn sequence(&self) -> Result<u64, StateError> {
        let store = self.store_to_read()?;
        Ok(store.map_or(Ok(0), |it| it.sequence())?)
    }

    /// Checks the whole store: [`Store::verify`].
    ///
    /// # Errors
    ///
    /// As [`StateManager::store`] and [`Store::verify`].
    pub fn verify(&self) -> Result<StoreVerification, StateError> {
        Ok(self.store()?.verify()?)
    }
}

/// What a store without any commit says of a key.
fn nothing_at(key: &str, when: &When) -> Result<(), StoreReadError> {
    let refused = match when {
        When::Newest | When::Sequence(0) | When::Time(_) => return Ok(()),
        When::Version(number) => LookupError::NoVersion {
            key: key.to_owned(),
            number: *number,
            newest: 0,
        },
        When::Sequence(sequence) => LookupError::NoSequence {
            sequence: *sequence,
            last: 0,
        },
        When::Pin(name) => LookupError::NoPin { name: name.clone() },
    };
    Err(refused.into())
}
