//! Snapshots: whole states of the workspace, deduplicated and compressed in one directory.
//!
//! ```text
//! format.json      the version; what has it is complete, or durable and about to be: see creation.rs
//! lock             flock: shared to read, alone to change
//! packs/N.pack     frames of chunks, written once: the truth
//! index.redb       where each chunk lies, and the stat cache: made again from the packs if lost
//! index.seal       the SHA-256 of the index as it was closed
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

mod cipher;
mod content;
mod creation;
mod difference;
mod error;
mod exclude;
mod export;
mod format;
mod frame;
mod image;
mod import;
mod index;
mod keep;
mod key;
mod node;
mod pack;
mod prune;
mod reader;
mod rebuild;
mod record;
mod rekey;
mod restore;
mod scan;
mod seen;
mod session;
mod take;
mod verify;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

pub use error::RepositoryError;
pub use exclude::{Excludes, ExcludesError};
pub use export::{ExportError, Exported};
pub use frame::Compression;
pub use import::{ImportError, Imported};
pub use keep::{KeepPolicy, Kept};
pub use key::{KeyBytes, KeyFailure, KeyRequest, RepositoryKey};
pub use node::Omission;
pub use prune::{Pruned, Retention};
pub use rebuild::Rebuilt;
pub use record::{Snapshot, SnapshotId, SnapshotIdError};
pub use rekey::Rekeyed;
pub use restore::{Destination, RestoreError, RestoreOptions, Restored};
pub use take::{CompanionFailure, NewSnapshot, Taken};
pub use verify::{Problem, Verification, VerifyDepth};

use jiff::Timestamp;
use sandbox_types::Change;

use crate::{layout::Layout, progress::Progress};
use cipher::Sealing;
use index::Location;
use session::Session;

/// The snapshots of one workspace, in a directory of their own.
///
/// Nothing is open between two calls: several processes may use one repository, each change waits
/// for the others.
#[derive(Clone, Debug)]
pub struct Repository {
    layout: Layout,
    directory: PathBuf,
    key: Option<RepositoryKey>,
    encrypt: bool,
    /// Whether it is being made: see `creation.rs`.
    is_draft: bool,
    progress: Arc<Progress>,
}

/// Gives the encrypted repository in `directory` another key, as [`Repository::rekey`]; its workspace
/// need not be there any more.
///
/// # Errors
///
/// As [`Repository::rekey`].
pub fn rekey_repository(
    directory: &Path,
    old: &RepositoryKey,
    new: &RepositoryKey,
) -> Result<Rekeyed, RepositoryError> {
    alone(directory, old).rekey(new)
}

/// Returns whether there is an encrypted repository in `directory`; then it opens with this key.
///
/// # Errors
///
/// Fails when it does not, or cannot be read.
pub fn opens(directory: &Path, key: &RepositoryKey) -> Result<bool, RepositoryError> {
    if !directory.is_dir() {
        return Ok(false);
    }
    creation::settle(directory)?;
    // Somebody may be about to encrypt it.
    let _lock = session::take_lock(directory, session::Sharing::Shared)?;
    match alone(directory, key).unlock() {
        Ok(sealing) => Ok(sealing.is_some()),
        Err(RepositoryError::Empty) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns a repository without a workspace.
fn alone(directory: &Path, key: &RepositoryKey) -> Repository {
    let nowhere = Layout {
        workspace: PathBuf::new(),
        layers: PathBuf::new(),
    };
    Repository::new(nowhere, directory).with_key(key.clone())
}

impl Repository {
    pub(crate) fn new(layout: Layout, directory: &Path) -> Self {
        Self {
            layout,
            directory: directory.to_owned(),
            key: None,
            encrypt: false,
            is_draft: false,
            progress: Arc::default(),
        }
    }

    /// Counts in `progress` what is done.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Uses this key to open the repository if it is encrypted, and files that come from one that is.
    #[must_use]
    pub fn with_key(mut self, key: RepositoryKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Encrypts the repository when it is made, with the key of [`Self::with_key`]. Nothing is
    /// written into one that is there and is not encrypted.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        self.encrypt = true;
        self
    }

    /// Takes a snapshot of the workspace as it is committed: what running operations have written
    /// and what is held for review is not in it.
    ///
    /// Makes the repository if there is none. Reads only files that changed since the last snapshot.
    ///
    /// # Errors
    ///
    /// Fails when the workspace or the repository cannot be read or written, or when another process
    /// changes the repository for more than a minute. Then there is no new snapshot.
    pub fn snapshot(&self, new: &NewSnapshot) -> Result<Taken, RepositoryError> {
        take::take(self, new, &|_| Ok(()))
    }

    /// Like [`Self::snapshot`]; calls `companion` with the id when all is written and the snapshot is
    /// not there yet. A kill after that leaves what `companion` did without a snapshot, never a
    /// snapshot without it. Nobody else changes the repository meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Self::snapshot`], and when `companion` fails.
    pub fn snapshot_with(
        &self,
        new: &NewSnapshot,
        companion: &dyn Fn(&SnapshotId) -> Result<(), CompanionFailure>,
    ) -> Result<Taken, RepositoryError> {
        take::take(self, new, companion)
    }

    /// Returns all snapshots, oldest first; none if there is no repository yet.
    ///
    /// # Errors
    ///
    /// Fails when the repository cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, RepositoryError> {
        match Session::read(self) {
            Ok(session) => session.snapshots(),
            Err(RepositoryError::Empty) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns the snapshot that `text` is the id, or a unique beginning of the id, of.
    ///
    /// # Errors
    ///
    /// Fails when there is none or more than one.
    pub fn show(&self, text: &str) -> Result<Snapshot, RepositoryError> {
        Session::read(self)?.find(text)
    }

    /// Returns what changed from the snapshot `from` to the snapshot `to`, or to the workspace as
    /// it is now.
    ///
    /// # Errors
    ///
    /// Fails when one of them is not there or cannot be read.
    pub fn diff(
        &self,
        from: &SnapshotId,
        to: Option<&SnapshotId>,
    ) -> Result<Vec<Change>, RepositoryError> {
        difference::between(self, from, to)
    }

    /// Brings the workspace, or another directory, back to a snapshot.
    ///
    /// In the workspace only what differs is touched, all of it or nothing: everything needed is
    /// read, checked and written beside the workspace first, then it is committed like the changes
    /// of an operation. `RollbackManager::undo` takes it back.
    ///
    /// # Errors
    ///
    /// Fails when something of the snapshot is damaged: the error names the paths, and nothing was
    /// touched. Fails when a path changes meanwhile, and when a file cannot be written.
    pub fn restore(
        &self,
        id: &SnapshotId,
        options: &RestoreOptions,
    ) -> Result<Restored, RestoreError> {
        restore::restore(self, id, options)
    }

    /// Checks the repository; damage is a result.
    ///
    /// # Errors
    ///
    /// Fails when there is nothing to check, or the system cannot read a file.
    pub fn verify(&self, depth: VerifyDepth) -> Result<Verification, RepositoryError> {
        verify::verify(self, depth)
    }

    /// Deletes a snapshot; its space is free after the next [`Self::prune`].
    ///
    /// # Errors
    ///
    /// Fails when there is no such snapshot or the repository cannot be written.
    pub fn delete(&self, id: &SnapshotId) -> Result<(), RepositoryError> {
        prune::delete(self, id)
    }

    /// Deletes the snapshots that `policy` does not keep, and returns all of them with the reasons;
    /// with `dry_run` it only says so. The space is free after the next [`Self::prune`].
    ///
    /// # Errors
    ///
    /// Fails when a snapshot cannot be read or the repository not be written. Then none is deleted.
    pub fn forget(&self, policy: &KeepPolicy, dry_run: bool) -> Result<Vec<Kept>, RepositoryError> {
        prune::apply_policy(self, policy, dry_run)
    }

    /// Frees the space of what no snapshot needs any more.
    ///
    /// # Errors
    ///
    /// Fails when a snapshot cannot be read: then nothing is freed, because what it needs is unknown.
    pub fn prune(&self) -> Result<Pruned, RepositoryError> {
        prune::prune(self)
    }

    /// Returns what [`Self::prune`] would free.
    ///
    /// # Errors
    ///
    /// As [`Self::prune`].
    pub fn prune_plan(&self) -> Result<Pruned, RepositoryError> {
        prune::plan(self)
    }

    /// Writes a snapshot, with all that it needs, into the new file `path`; each chunk is checked.
    ///
    /// # Errors
    ///
    /// Fails when the snapshot is damaged, when there is a file of that name, and when it cannot be
    /// written. Then there is no file.
    pub fn export(&self, id: &SnapshotId, path: &Path) -> Result<Exported, ExportError> {
        export::export(self, id, path)
    }

    /// Like [`Self::export`], into an open file, a pipe or a socket. All of it is written into a file
    /// without a name in the repository first, so that nobody waits for whoever reads slowly. What was
    /// written before a failure is no export: its end is missing.
    ///
    /// # Errors
    ///
    /// Fails when the snapshot is damaged and when it cannot be written.
    pub fn export_to(
        &self,
        id: &SnapshotId,
        output: std::fs::File,
    ) -> Result<Exported, ExportError> {
        export::export_to(self, id, output)
    }

    /// Takes in the snapshot of a file that [`Self::export`] wrote, and makes the repository if there
    /// is none. Content that is here already is not stored again. `now` is the time: retention counts
    /// no snapshot as younger than that, whatever the file says.
    ///
    /// # Errors
    ///
    /// Fails when the file is damaged or incomplete, and when the repository cannot be written. Then
    /// there is no new snapshot.
    pub fn import(&self, path: &Path, now: Timestamp) -> Result<Imported, ImportError> {
        import::import(self, path, now)
    }

    /// Like [`Self::import`], from anything that can be read, such as a pipe. All of it is kept in a
    /// file without a name in the repository until it is checked.
    ///
    /// # Errors
    ///
    /// As [`Self::import`].
    pub fn import_from(
        &self,
        input: &mut dyn std::io::Read,
        now: Timestamp,
    ) -> Result<Imported, ImportError> {
        import::import_from(self, input, now)
    }

    /// Gives the repository another key; one that is not encrypted is encrypted with it. Costs one
    /// writing of all that is kept in the second case, and of a hundred bytes a pack in the first.
    ///
    /// # Errors
    ///
    /// Fails when the keys are not the right ones, something is damaged, or the repository cannot be
    /// written. Then its key is the old one or the new one, and all of it can be read.
    pub fn rekey(&self, new: &RepositoryKey) -> Result<Rekeyed, RepositoryError> {
        rekey::rekey(self, new)
    }

    /// Returns whether the repository is encrypted; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be read.
    pub fn is_encrypted(&self) -> Result<Option<bool>, RepositoryError> {
        creation::settle(&self.directory)?;
        match format::check(&self.directory) {
            Ok(slot) => Ok(Some(slot.is_some())),
            Err(RepositoryError::Empty) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what a killed process left, such as packs that were not encrypted.
    ///
    /// # Errors
    ///
    /// Fails when the repository cannot be written.
    pub fn sweep(&self) -> Result<(), RepositoryError> {
        Session::write(self)?.close()
    }

    /// Makes the index again from the packs. Costs one reading of all that is kept, and the next
    /// snapshot reads every file.
    ///
    /// # Errors
    ///
    /// Fails when there are no packs, or the repository cannot be written.
    pub fn rebuild_index(&self) -> Result<Rebuilt, RepositoryError> {
        rebuild::rebuild(self)
    }

    /// Returns what [`Self::rebuild_index`] would do, and changes nothing.
    ///
    /// # Errors
    ///
    /// Fails when there are no packs, or one cannot be read.
    pub fn rebuild_plan(&self) -> Result<Rebuilt, RepositoryError> {
        rebuild::plan(self)
    }

    /// Returns where a part lies.
    fn part(&self, name: &str) -> PathBuf {
        let suffix = if self.is_draft { creation::SUFFIX } else { "" };
        self.directory.join(format!("{name}{suffix}"))
    }

    /// Returns where the packs lie.
    fn packs(&self, sealing: &Sealing) -> PathBuf {
        match sealing {
            None => self.plain_packs(),
            Some(_) => self.sealed_packs(),
        }
    }

    fn plain_packs(&self) -> PathBuf {
        self.part("packs")
    }

    fn sealed_packs(&self) -> PathBuf {
        self.part("sealed")
    }

    fn sealed_draft(&self) -> PathBuf {
        self.directory.join("sealed.new")
    }

    fn index(&self, sealing: &Sealing) -> Location {
        let name = match sealing {
            None => "index.redb",
            Some(_) => "index.sealed",
        };
        Location {
            path: self.part(name),
            sealing: sealing.clone(),
        }
    }

    fn seal(&self) -> PathBuf {
        self.part("index.seal")
    }
}
