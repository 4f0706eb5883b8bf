//! Which sandbox is meant.

use std::{fs, path::Path};

use sandbox_types::SandboxName;

use super::Home;
use crate::registry::{self, FindError, SandboxRecord};

impl Home {
    /// Returns all sandboxes, sorted by name.
    ///
    /// # Errors
    ///
    /// Fails when a record cannot be read.
    pub fn list(&self) -> Result<Vec<SandboxRecord>, FindError> {
        registry::all(&self.layout)
    }

    /// Returns the sandbox of that name.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or its record cannot be read.
    pub fn find(&self, name: &SandboxName) -> Result<SandboxRecord, FindError> {
        registry::by_name(&self.layout, name)
    }

    /// Returns the sandbox whose workspace contains `directory`.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or its record cannot be read.
    pub fn find_here(&self, directory: &Path) -> Result<SandboxRecord, FindError> {
        let directory = fs::canonicalize(directory).map_err(|source| FindError::Read {
            path: directory.to_owned(),
            source,
        })?;
        registry::by_directory(&self.layout, &directory)
    }

    /// Returns the sandbox that `directory` belonged to when it had another path: it, or a directory above it, was moved.
    pub fn find_moved(&self, directory: &Path) -> Option<SandboxRecord> {
        let directory = fs::canonicalize(directory).ok()?;
        let records = registry::all(&self.layout).ok()?;
        directory.ancestors().find_map(|it| {
            let metadata = fs::symlink_metadata(it).ok()?;
            let moved =
                |record: &&SandboxRecord| record.workspace != it && record.is_workspace(&metadata);
            records.iter().find(moved).cloned()
        })
    }
}
