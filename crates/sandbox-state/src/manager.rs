//! The front door: the state directory of one sandbox.

use std::path::{Path, PathBuf};

use crate::{Journal, Store, StoreError};

/// The state of one sandbox, kept in one directory.
#[derive(Debug, Clone)]
pub struct StateManager {
    directory: PathBuf,
    journal: Journal,
}

impl StateManager {
    /// Returns the state kept in `directory`. Nothing is read or created yet.
    pub fn open(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            journal: Journal::at(directory),
        }
    }

    /// Returns the journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
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
        Store::open(&self.directory)
    }
}
