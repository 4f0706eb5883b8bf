//! The versioned store: `(namespace, key, sequence)` over redb, with one sequence for all keys.
//!
//! Every commit gets the next number of the sequence, so a number names the state of the whole store
//! at one time. A deletion is a version too. redb does not check its pages while it reads them, so
//! each version carries a SHA-256 bound to its place, its value has one of its own, and the versions
//! of a key are a chain: what a read returns was stored under this name and number, or the read
//! fails. Secrets are sealed with a key that lies elsewhere.

mod batch;
mod copy;
mod creation;
mod envelope;
mod error;
mod listing;
mod payload;
mod read;
mod reading;
mod rekey;
mod retention;
mod rollback;
mod tables;
mod view;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use redb::{Database, Durability, WriteTransaction};

pub use batch::{Difference, Edit};
pub(crate) use creation::FILE_NAME;
pub use creation::STORE_FORMAT;
pub use error::{
    Corruption, DatabaseError, LookupError, StoreError, StoreReadError, StoreWriteError,
};
pub use payload::Value;
pub use read::{Change, Entry, Listed, Pin, StoreVerification, Version, When};
pub use rekey::Rekeyed;
pub(crate) use retention::Kept;
pub use rollback::{KeyBack, RolledBack};
pub use view::View;
pub use write::{Put, Secrecy};

use crate::KeySource;
use creation::Missing;
use error::Trouble;
use write::Commit;

/// The largest value in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long another process may keep the store before we give up, if nobody says otherwise.
pub const BUSY_WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// How many versions of a key are kept, if nobody says otherwise.
pub const VERSIONS_KEPT_DEFAULT: u64 = 100;

/// The longest namespace in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// How a store is used.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) keys: KeySource,
    pub(crate) kept: Kept,
    /// How long another process may keep the store before we give up.
    pub(crate) busy_wait: Duration,
}

/// The versioned store of one sandbox, open.
///
/// One process at a time has it open, or any number of readers: hold it briefly.
pub struct Store {
    /// `None` only while it is being dropped.
    database: Option<Database>,
    path: PathBuf,
    options: Options,
    /// What is written would be lost: see [`copy::Copy`].
    is_copy: bool,
    /// Set when redb panicked: nothing it holds in memory can be trusted after that.
    broken: AtomicBool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `directory`, and creates it if it is not there.
    pub(crate) fn open_or_create(directory: &Path, options: &Options) -> Result<Self, StoreError> {
        Self::open_with(directory, options, Missing::Create)?.ok_or_else(|| StoreError::Open {
            path: directory.to_owned(),
            source: crate::OpenError::System(io::ErrorKind::NotFound.into()),
        })
    }

    /// Opens the store in `directory`; `None` if there is none.
    pub(crate) fn open(directory: &Path, options: &Options) -> Result<Option<Self>, StoreError> {
        Self::open_with(directory, options, Missing::Leave)
    }

    /// Opens the store in `directory` to read, with other readers; `None` if there is none.
    pub(crate) fn open_to_read(
        directory: &Path,
        options: &Options,
    ) -> Result<Option<Self>, StoreError> {
        Self::open_with(directory, options, Missing::LeaveAndRead)
    }

    fn open_with(
        directory: &Path,
        options: &Options,
        missing: Missing,
    ) -> Result<Option<Self>, StoreError> {
        let opened = creation::open(directory, missing, options.busy_wait)?;
        Ok(opened.map(|(database, path)| Self {
            database: Some(database),
            path,
            options: options.clone(),
            is_copy: missing == Missing::LeaveAndRead,
            broken: AtomicBool::new(false),
        }))
    }

    /// Stores a new version of a key. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// Fails when a name is empty or too long, the value is larger than [`VALUE_BYTES_MAX`], the key
    /// has another version than was expected or holds a secret and the value is none, the key of the
    /// secrets cannot be used, or the store cannot be written or is damaged. Then nothing was stored.
    pub fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        put: Put,
    ) -> Result<Version, StoreWriteError> {
        check_name("namespace", namespace, NAMESPACE_BYTES_MAX)?;
        check_name("key", key, KEY_BYTES_MAX)?;
        if value.len() > VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(StoreWriteError::TooLarge { bytes });
        }
        self.write(put.at, |commit| commit.put((namespace, key), value, put))
    }

    /// Makes several changes in one commit: all of them, or none. Returns the versions that were made.
    ///
    /// # Errors
    ///
    /// Fails when a key is named twice, and as [`Store::put`]. Then nothing was changed.
    pub fn apply(
        &self,
        namespace: &str,
        edits: &[Edit<'_>],
        at: Timestamp,
    ) -> Result<Vec<(String, Version)>, StoreWriteError> {
        check_name("namespace", namespace, NAMESPACE_BYTES_MAX)?;
        let mut named = BTreeSet::new();
        for edit in edits {
            check_name("key", edit.key(), KEY_BYTES_MAX)?;
            if !named.insert(edit.key()) {
                let key = edit.key().to_owned();
                return Err(StoreWriteError::Twice { key });
            }
            if let Edit::Put { value, .. } = edit
                && value.len() > VALUE_BYTES_MAX
            {
                let bytes = value.len();
                return Err(StoreWriteError::TooLarge { bytes });
            }
        }
        self.write(at, |commit| commit.apply(namespace, edits))
    }

    /// Deletes a key by a version that says so; `None` if there was no such key. Older versions stay.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be written or is damaged. Then nothing was deleted.
    pub fn delete(
        &self,
        namespace: &str,
        key: &str,
        at: Timestamp,
    ) -> Result<Option<Version>, StoreWriteError> {
        self.write(at, |commit| commit.delete((namespace, key)))
    }

    /// Makes an old version of a key the newest one again, as a new version.
    ///
    /// # Errors
    ///
    /// Fails when there is no such version or it is no longer kept, and as [`Store::put`].
    pub fn rollback(
        &self,
        namespace: &str,
        key: &str,
        version: u64,
        at: Timestamp,
    ) -> Result<Version, StoreWriteError> {
        self.write(at, |commit| commit.rollback((namespace, key), version))
    }

    /// Makes all keys of a namespace what they were at `sequence`, by new versions in one commit.
    ///
    /// # Errors
    ///
    /// Fails when the store has not come so far, when what a key was then is no longer kept, and as
    /// [`Store::put`]. Then nothing was changed.
    pub fn rollback_to(
        &self,
        namespace: &str,
        sequence: u64,
        at: Timestamp,
    ) -> Result<RolledBack, StoreWriteError> {
        self.rollback_prefix((namespace, ""), sequence, at)
    }

    /// Makes the keys of a namespace that begin with a prefix what they were at `sequence`, as
    /// [`Store::rollback_to`]. `which` is the namespace and the prefix.
    ///
    /// # Errors
    ///
    /// As [`Store::rollback_to`].
    pub fn rollback_prefix(
        &self,
        which: (&str, &str),
        sequence: u64,
        at: Timestamp,
    ) -> Result<RolledBack, StoreWriteError> {
        self.write(at, |commit| {
            let changed = commit.rollback_to(which, sequence)?;
            let sequence = commit.sequence();
            Ok(RolledBack { sequence, changed })
        })
    }

    /// Pins the state of the store as it is now: retention keeps all that it needs, until the pin is
    /// removed. A name that is pinned already keeps what it holds, and that is returned.
    ///
    /// # Errors
    ///
    /// Fails when the name is empty or too long, or the store cannot be written or is damaged.
    pub fn pin(&self, name: &str, at: Timestamp) -> Result<Pin, StoreWriteError> {
        check_name("pin", name, KEY_BYTES_MAX)?;
        self.write(at, |commit| commit.pin(name))
    }

    /// Pins the state of the store as it was at `sequence`, in place of a pin of the same name.
    ///
    /// # Errors
    ///
    /// Fails when the store has not come so far, when what a key was then is no longer kept, and as
    /// [`Store::pin`].
    pub fn pin_at(&self, name: &str, sequence: u64, at: Timestamp) -> Result<Pin, StoreWriteError> {
        check_name("pin", name, KEY_BYTES_MAX)?;
        self.write(at, |commit| commit.pin_at(name, sequence))
    }

    /// Removes a pin, and returns whether there was one. What only it kept goes when its key is
    /// stored the next time.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be written or is damaged.
    pub fn unpin(&self, name: &str) -> Result<bool, StoreWriteError> {
        self.write(Timestamp::UNIX_EPOCH, |commit| commit.unpin(name))
    }

    /// Seals every secret anew with the key of `to`, which must be there, in one commit; versions, numbers and pins stay.
    /// [`Rekeyed::head`] is another one after that.
    ///
    /// # Errors
    ///
    /// Fails when one of the keys cannot be used, or the store cannot be written or is damaged. Then nothing changed.
    pub fn rekey(&self, to: &KeySource) -> Result<Rekeyed, StoreWriteError> {
        self.write(Timestamp::UNIX_EPOCH, |commit| commit.rekey(to))
    }

    fn write<T>(
        &self,
        at: Timestamp,
        work: impl FnOnce(&mut Commit<'_>) -> Result<T, Trouble>,
    ) -> Result<T, StoreWriteError> {
        if self.is_copy {
            return Err(StoreWriteError::ToRead {
                path: self.path.clone(),
            });
        }
        self.guarded(|database| {
            let transaction = begin_durable_write(database)?;
            let mut commit = Commit::begin(&transaction, at, &self.options)?;
            let result = work(&mut commit)?;
            let finished = commit.finish()?;
            if finished.changed {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(result)
        })
        .map_err(|trouble| StoreWriteError::of(&self.path, trouble))
    }

    /// Contains the panics with which redb answers damaged pages.
    fn guarded<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let stopped = || Trouble::Damaged(Corruption::Stopped);
        if self.broken.load(Ordering::Acquire) {
            return Err(stopped());
        }
        let database = self.database.as_ref().ok_or_else(stopped)?;
        let result = contain(|| work(database));
        if let Err(Trouble::Damaged(Corruption::Panic { .. })) = result {
            self.broken.store(true, Ordering::Release);
        }
        result
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing writes to the file, and may panic like all else when the file is damaged.
        contain(|| {
            drop(database);
            Ok(())
        })
        .ok();
    }
}

/// Starts a transaction that is on storage when its commit returns.
///
/// It waits for storage once: what a power cut leaves of a torn commit is told by redb's checksums, and the commit before
/// it holds. redb's second phase and its quick repair would spare the walk of the file after a crash; that walk is made
/// anyway, because redb checks its pages at no other time (decision 0048).
fn begin_durable_write(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    Ok(transaction)
}

/// Runs `work`; a panic in it becomes an error.
fn contain<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "no message".to_owned(),
        };
        Err(Trouble::Damaged(Corruption::Panic { message }))
    })
}

fn check_name(what: &'static str, name: &str, bytes_max: usize) -> Result<(), StoreWriteError> {
    if (1..=bytes_max).contains(&name.len()) {
        Ok(())
    } else {
        Err(StoreWriteError::Name {
            what,
            bytes: name.len(),
            bytes_max,
        })
    }
}
