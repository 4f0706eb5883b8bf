//! Finds sandboxes that were destroyed: destroying one again is no failure, and ends what was killed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sandbox_state::{ReadError, Record, StateManager};
use sandbox_types::SandboxName;

use super::Home;
use crate::{
    event::AboutSandbox,
    initializer::{self, CreateError, SandboxInitializer},
    ledger,
};

/// A sandbox that was destroyed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DestroyedSandbox {
    /// Its name.
    pub name: SandboxName,
    /// The directory that it was bound to.
    pub workspace: PathBuf,
    /// When it was destroyed.
    pub at: Timestamp,
}

/// It cannot be said whether a sandbox was destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestroyedError {
    /// The journal of all sandboxes cannot be read.
    #[error("cannot read which sandboxes were destroyed")]
    Read(#[source] ReadError),
    /// What a killed process left of it cannot be removed.
    #[error(transparent)]
    Leftovers(#[from] CreateError),
}

impl Home {
    /// Returns the destroyed sandbox of that name, and removes what is left of it, if the process that
    /// destroyed it was killed; `None` if there never was one. The caller knows that there is none of
    /// that name now.
    ///
    /// # Errors
    ///
    /// Fails when the journal of all sandboxes cannot be read, or what is left cannot be removed.
    pub fn find_destroyed(
        &self,
        name: &SandboxName,
    ) -> Result<Option<DestroyedSandbox>, DestroyedError> {
        let found = self.newest_ended(|it| it.name == *name)?.pop();
        if found.is_some() && self.layout.sandbox(name).exists() {
            let _lock = initializer::lock(&self.layout)?;
            SandboxInitializer::new(&self.layout).remove_leftovers()?;
        }
        Ok(found)
    }

    /// Returns the destroyed sandbox whose workspace was `directory`, or the nearest one above it.
    ///
    /// # Errors
    ///
    /// Fails when the journal of all sandboxes cannot be read.
    pub fn find_destroyed_here(
        &self,
        directory: &Path,
    ) -> Result<Option<DestroyedSandbox>, DestroyedError> {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_gone| directory.to_owned());
        let ended = self.newest_ended(|it| directory.starts_with(&it.workspace))?;
        Ok(ended
            .into_iter()
            .max_by_key(|it| it.workspace.as_os_str().len()))
    }

    /// Returns, of the sandboxes that are wanted, those whose newest record says that they were
    /// destroyed: one for each workspace.
    fn newest_ended(
        &self,
        wanted: impl Fn(&DestroyedSandbox) -> bool,
    ) -> Result<Vec<DestroyedSandbox>, DestroyedError> {
        let journal = StateManager::open(self.layout.home()).journal().clone();
        let mut seen: Vec<PathBuf> = Vec::new();
        let mut ended = Vec::new();
        for record in journal
            .records_newest_first()
            .map_err(DestroyedError::Read)?
        {
            let record = record.map_err(DestroyedError::Read)?;
            let Some(about) = about(&record).filter(|it| wanted(it)) else {
                continue;
            };
            if seen.contains(&about.workspace) {
                continue;
            }
            seen.push(about.workspace.clone());
            if record.kind == ledger::DESTROYED {
                ended.push(about);
            }
        }
        ended.reverse();
        Ok(ended)
    }
}

/// Returns which sandbox a record of a creation or destruction is about.
fn about(record: &Record) -> Option<DestroyedSandbox> {
    let kinds = [ledger::CREATED, ledger::DESTROYED];
    if !kinds.contains(&record.kind.as_str()) {
        return None;
    }
    let about: AboutSandbox = serde_json::from_value(record.payload.clone()).ok()?;
    Some(DestroyedSandbox {
        name: about.sandbox,
        workspace: about.workspace,
        at: record.at,
    })
}
