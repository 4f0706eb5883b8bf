//! The key of encrypted snapshots: where it comes from, and another one in its place.
//!
//! The sources are those of the secrets of the state, with other names: one key a home, so that
//! several sandboxes can take in each other's exported files.

use std::{path::PathBuf, sync::Arc};

use sandbox_rollback::{Rekeyed, RepositoryError, RepositoryKey, rekey_repository};
use sandbox_state::{AppendError, KeyError, KeySource};
use sandbox_types::SandboxName;

use super::{REPOSITORY, SnapshotError, records};
use crate::{
    core::{SandboxCore, in_background},
    home::{Home, now},
    host::Host,
    layout::Layout,
    ledger::Ledger,
    registry::{self, FindError},
    sandbox::Sandbox,
    state::key_in,
};

/// The variable that can hold the key instead of the file.
const KEY_VARIABLE: &str = "SANDBOX_SNAPSHOT_KEY";
/// The variable that can hold a passphrase instead.
const PASSPHRASE_VARIABLE: &str = "SANDBOX_SNAPSHOT_PASSPHRASE";
/// What the name of a variable ends with that has the key that is to come.
const NEW: &str = "_NEW";

/// The snapshots have not all the new key. All can be read with what is there, and the same call
/// goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotKeyError {
    /// The key comes from a variable, and nobody said which one is to come.
    #[error("cannot replace the key of {origin}: there is no other one")]
    NoNewKey {
        /// The variable.
        origin: String,
    },
    /// The new key cannot be made, or cannot take its place.
    #[error("cannot replace the key of the snapshots")]
    Key(#[source] KeyError),
    /// The sandboxes cannot be listed.
    #[error("cannot find the sandboxes")]
    Find(#[source] FindError),
    /// The snapshots of a sandbox cannot be opened with the old key, or not be written.
    #[error("cannot replace the key of the snapshots of {sandbox}")]
    Repository {
        /// The sandbox.
        sandbox: SandboxName,
        /// Why not.
        source: RepositoryError,
    },
    /// They have the new key, and the journal does not say so.
    #[error("cannot record in the journal of {sandbox} that its snapshots have another key")]
    Record {
        /// The sandbox.
        sandbox: SandboxName,
        /// Why not.
        source: AppendError,
    },
}

/// Returns the key that the caller has, or the place of its file.
fn source(host: &Host, suffix: &str) -> KeySource {
    given(host, suffix).unwrap_or_else(|| KeySource::File(file(host)))
}

fn file(host: &Host) -> PathBuf {
    Layout::new(&host.data).snapshot_key()
}

fn given(host: &Host, suffix: &str) -> Option<KeySource> {
    key_in(host, (KEY_VARIABLE, PASSPHRASE_VARIABLE), suffix)
}

fn key_of(source: KeySource) -> RepositoryKey {
    RepositoryKey::from_fn(move |request| Ok(source.handed_out(request.salt, request.make)?))
}

/// Returns the key for the snapshots of the sandboxes of this caller.
pub(super) fn of(host: &Host) -> RepositoryKey {
    key_of(source(host, ""))
}

impl SandboxCore {
    /// Encrypts the snapshots that are there; those to come are encrypted then too. `None` if they are
    /// encrypted already.
    ///
    /// # Errors
    ///
    /// Fails when there is no key, something is damaged, or the repository cannot be written. Then
    /// all is as it was, or encrypted.
    pub async fn encrypt_snapshots(&self) -> Result<Option<Rekeyed>, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.encrypt_snapshots()).await
    }
}

impl Sandbox {
    fn encrypt_snapshots(&self) -> Result<Option<Rekeyed>, SnapshotError> {
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        let repository = self.repository()?;
        if repository.is_encrypted()? == Some(true) {
            // One that was killed at its end has left the plain ones.
            repository.sweep()?;
            return Ok(None);
        }
        let rekeyed = repository.rekey(&of(&self.host))?;
        records::rekeyed(self.journal(), rekeyed, now()).map_err(SnapshotError::Record)?;
        Ok(Some(rekeyed))
    }
}

impl Home {
    /// Gives the encrypted snapshots of all sandboxes another key: a new key file, or the key or
    /// passphrase in `SANDBOX_SNAPSHOT_KEY_NEW` or `SANDBOX_SNAPSHOT_PASSPHRASE_NEW`. The content is
    /// not written anew.
    ///
    /// # Errors
    ///
    /// Fails when a key cannot be used, or a repository cannot be opened or written. Some may be done
    /// then: the same call goes on. Fails before anything changes when one cannot be opened.
    pub fn rekey_snapshots(&self) -> Result<Vec<(SandboxName, Rekeyed)>, SnapshotKeyError> {
        let (host, layout) = (self.host(), Layout::new(&self.host().data));
        let names = registry::names(&layout).map_err(SnapshotKeyError::Find)?;
        let old = of(host);
        let failed = |sandbox: &SandboxName| {
            let sandbox = sandbox.clone();
            |source| SnapshotKeyError::Repository { sandbox, source }
        };
        let encrypted = || -> Result<Vec<_>, SnapshotKeyError> {
            let mut encrypted = Vec::new();
            for name in &names {
                let directory = layout.sandbox(name).join(REPOSITORY);
                if sandbox_rollback::opens(&directory, &old).map_err(failed(name))? {
                    encrypted.push((name.clone(), directory));
                }
            }
            Ok(encrypted)
        };
        encrypted()?;
        let (new, file) = next(host)?;
        let mut done = Vec::new();
        // Once more: who encrypts from now on takes the next key, and who began before is waited for.
        for (name, directory) in encrypted()? {
            let rekeyed = rekey_repository(&directory, &old, &new).map_err(failed(&name))?;
            let ledger = Ledger::open(&layout.sandbox(&name), &name);
            records::rekeyed(&ledger, rekeyed, now()).map_err(|source| {
                SnapshotKeyError::Record {
                    sandbox: name.clone(),
                    source,
                }
            })?;
            done.push((name, rekeyed));
        }
        if let Some(path) = file {
            KeySource::finish_rotation(&path).map_err(SnapshotKeyError::Key)?;
        }
        Ok(done)
    }
}

/// Returns the key that is to come, and the key file that it will be in, if it is one.
fn next(host: &Host) -> Result<(RepositoryKey, Option<PathBuf>), SnapshotKeyError> {
    if let Some(new) = given(host, NEW) {
        return Ok((key_of(new), None));
    }
    for variable in [KEY_VARIABLE, PASSPHRASE_VARIABLE] {
        if host.variable(variable).is_some() {
            let origin = variable.to_owned();
            return Err(SnapshotKeyError::NoNewKey { origin });
        }
    }
    let path = file(host);
    let to = KeySource::begin_rotation(&path).map_err(SnapshotKeyError::Key)?;
    Ok((key_of(to), Some(path)))
}
