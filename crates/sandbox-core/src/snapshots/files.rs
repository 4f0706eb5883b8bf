//! Snapshots that leave the sandbox as one file, and come in as one.

use std::{fs::File, path::Path, sync::Arc};

use jiff::Timestamp;
use sandbox_rollback::{Exported, ImportError, Imported, Repository};

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
            let id = sandbox.snapshot_of(&id)?.id;
            Ok(repository.export(&id, &path)?)
        })
        .await
    }

    /// Like [`Self::export_snapshot`], into an open file or a pipe.
    ///
    /// # Errors
    ///
    /// Fails when there is no such snapshot or it is damaged, and when it cannot be written: then the
    /// end of what was written is missing.
    pub async fn export_snapshot_to(
        &self,
        id: &str,
        output: File,
    ) -> Result<Exported, SnapshotError> {
        let (sandbox, id) = (Arc::clone(&self.sandbox), id.to_owned());
        in_background(move || {
            let repository = sandbox.repository()?;
            let id = sandbox.snapshot_of(&id)?.id;
            Ok(repository.export_to(&id, output)?)
        })
        .await
    }

    /// Takes in the snapshot of a file that an export wrote. It gets a new id here, and its place among
    /// the others by the time at which it was taken.
    ///
    /// # Errors
    ///
    /// Fails when the file is damaged or incomplete, or the repository cannot be written. Then there
    /// is no new snapshot.
    pub async fn import_snapshot(&self, path: &Path) -> Result<Imported, SnapshotError> {
        let (sandbox, path) = (Arc::clone(&self.sandbox), path.to_owned());
        in_background(move || sandbox.take_in(|repository| repository.import(&path, now()), now()))
            .await
    }

    /// Like [`Self::import_snapshot`], from an open file or a pipe.
    ///
    /// # Errors
    ///
    /// As [`Self::import_snapshot`].
    pub async fn import_snapshot_from(&self, mut input: File) -> Result<Imported, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        let import = move |repository: &Repository| repository.import_from(&mut input, now());
        in_background(move || sandbox.take_in(import, now())).await
    }
}

impl Sandbox {
    fn take_in(
        &self,
        import: impl FnOnce(&Repository) -> Result<Imported, ImportError>,
        now: Timestamp,
    ) -> Result<Imported, SnapshotError> {
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        let imported = import(&self.repository()?)?;
        let stored_bytes = imported.stored_bytes;
        records::created(self.journal(), &imported.snapshot, stored_bytes, now)
            .map_err(SnapshotError::Record)?;
        Ok(imported)
    }
}
