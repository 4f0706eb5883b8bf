//! Snapshots that leave the sandbox as one file, and come in as one.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use sandbox_rollback::{Exported, Imported};

use super::{error::SnapshotError, records};
use crate::{
    core::{SandboxCore, in_background},
    home::now,
    sandbox::Sandbox,
};

impl SandboxCore {
    /// Writes a snapshot, with all that it needs, into the new file `path`. The state is not in it.
    ///
    /// # Errors
    ///
    /// Fails when there is no such snapshot or it is damaged, when there is a file of that name, and
    /// when it cannot be written. Then there is no file.
    pub async fn export_snapshot(&self, id: &str, path: &Path) -> Result<Exported, SnapshotError> {
        let (sandbox, id, path) = (Arc::clone(&self.sandbox), id.to_owned(), path.to_owned());
        in_background(move || {
            let repository = sandbox.repository()?;
            let id = repository.show(&id)?.id;
            Ok(repository.export(&id, &path)?)
        })
        .await
    }

    /// Takes in the snapshot of a file that an export wrote. It gets a new id here, and is the newest.
    ///
    /// # Errors
    ///
    /// Fails when the file is damaged or incomplete, or the repository cannot be written. Then there
    /// is no new snapshot.
    pub async fn import_snapshot(&self, path: &Path) -> Result<Imported, SnapshotError> {
        let (sandbox, path) = (Arc::clone(&self.sandbox), path.to_owned());
        in_background(move || sandbox.take_in(&path, now())).await
    }
}

impl Sandbox {
    fn take_in(&self, path: &Path, now: Timestamp) -> Result<Imported, SnapshotError> {
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        let imported = self.repository()?.import(path)?;
        let stored_bytes = imported.stored_bytes;
        records::created(self.journal(), &imported.snapshot, stored_bytes, now)
            .map_err(SnapshotError::Record)?;
        Ok(imported)
    }
}
