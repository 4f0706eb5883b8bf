//! The versioned store: `(namespace, key, sequence)` over redb, with one sequence for all keys.
//!
//! Every change gets the next number of the sequence, so a number names the state of the whole store
//! at one time. A deletion is a version too. redb does not check its pages while it reads them, so
//! each value carries a SHA-256 bound to its name and number, and each key knows its newest version:
//! what a read returns was stored under this name and number, or the read fails.

mod creation;
mod envelope;
mod error;
mod tables;

#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use redb::{Database, Durability, ReadableDatabase as _, WriteTransaction};

pub use creation::STORE_FORMAT;
pub use envelope::VALUE_BYTES_MAX;
pub use error::{Corruption, StoreError, StoreReadError, StoreWriteError};
pub use tables::{Listed, StoreVerification, Version};

use error::Trouble;
use tables::{ReadTables, WriteTables};

/// The longest namespace in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The versioned store of one sandbox, open.
///
/// One process at a time has it open: hold it briefly.
pub struct Store {
    /// `None` only while it is being dropped.
    database: Option<Database>,
    path: PathBuf,
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
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let (database, path) = creation::open_or_create(directory)?;
        Ok(Self {
            database: Some(database),
            path,
            broken: AtomicBool::new(false),
        })
    }

    /// Stores a new version of a key and returns its number. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// Fails when the namespace or key is empty or too long, the value is larger than
    /// [`VALUE_BYTES_MAX`], or the store cannot be written or is damaged. Then nothing was stored.
    pub fn put(&self, namespace: &str, key: &str, value: &[u8]) -> Result<u64, StoreWriteError> {
        check_name("namespace", namespace, NAMESPACE_BYTES_MAX)?;
        check_name("key", key, KEY_BYTES_MAX)?;
        if value.len() > VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(StoreWriteError::TooLarge { bytes });
        }
        self.write(|tables| tables.put(namespace, key, Some(value)).map(Some))
            .map(Option::unwrap_or_default)
    }

    /// Deletes a key by a version that says so, and returns its number; `None` if there was no such
    /// key. Older versions stay.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be written or is damaged. Then nothing was deleted.
    pub fn delete(&self, namespace: &str, key: &str) -> Result<Option<u64>, StoreWriteError> {
        self.write(|tables| {
            if tables.is_live(namespace, key)? {
                tables.put(namespace, key, None).map(Some)
            } else {
                Ok(None)
            }
        })
    }

    /// Returns the newest value of a key; `None` if there is none or it was deleted.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read, or what it holds for the key is damaged.
    pub fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StoreReadError> {
        self.get_at(namespace, key, u64::MAX)
    }

    /// Returns the value that a key had when the store was at `sequence`.
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub fn get_at(
        &self,
        namespace: &str,
        key: &str,
        sequence: u64,
    ) -> Result<Option<Vec<u8>>, StoreReadError> {
        self.read(|tables| tables.get_at(namespace, key, sequence))
    }

    /// Returns all versions of a key, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub fn history(&self, namespace: &str, key: &str) -> Result<Vec<Version>, StoreReadError> {
        self.read(|tables| tables.history(namespace, key))
    }

    /// Returns the keys that begin with `prefix` and are not deleted, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// As [`Store::get`], for each of these keys.
    pub fn list(&self, namespace: &str, prefix: &str) -> Result<Vec<Listed>, StoreReadError> {
        self.read(|tables| tables.list(namespace, prefix))
    }

    /// Returns the number of the last change; 0 if there was none.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read or is damaged.
    pub fn sequence(&self) -> Result<u64, StoreReadError> {
        self.read(ReadTables::sequence)
    }

    /// Checks every version, that none is missing, and the chain of all changes.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be read, or at the first damage.
    pub fn verify(&self) -> Result<StoreVerification, StoreReadError> {
        self.read(ReadTables::verify)
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&ReadTables) -> Result<T, Trouble>,
    ) -> Result<T, StoreReadError> {
        self.guarded(|database| work(&ReadTables::open(&database.begin_read()?)?))
            .map_err(|trouble| StoreReadError::of(&self.path, trouble))
    }

    fn write(
        &self,
        work: impl FnOnce(&mut WriteTables<'_>) -> Result<Option<u64>, Trouble>,
    ) -> Result<Option<u64>, StoreWriteError> {
        self.guarded(|database| {
            let transaction = begin_durable_write(database)?;
            let changed = work(&mut WriteTables::open(&transaction)?)?;
            if changed.is_some() {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(changed)
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
/// Two-phase commit makes a torn commit detectable without trusting checksums; quick repair keeps
/// the allocator state in each commit, so that opening after a crash takes no walk of the file.
fn begin_durable_write(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
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
