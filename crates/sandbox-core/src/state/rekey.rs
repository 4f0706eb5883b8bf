//! Seals the secrets of all sandboxes of a home with another key.
//!
//! A key file serves all sandboxes, so all are sealed anew before the old file goes. Interrupted at any moment, each
//! secret can be read all the time, and the same call goes on where it was.

use std::path::PathBuf;

use jiff::Timestamp;
use sandbox_state::{AppendError, KeyError, KeySource, Rekeyed, StateError, Store};
use sandbox_types::SandboxName;

use super::{KEY_VARIABLE, PASSPHRASE_VARIABLE, StateAccessError, given, recovery::known_store};
use crate::{
    event::StateRekeyed,
    home::{Home, now},
    host::Host,
    layout::Layout,
    ledger::{self, Ledger},
    registry::{self, FindError},
};

/// What the name of a variable ends with that has the key that is to come.
const NEW: &str = "_NEW";

/// The secrets were not sealed anew; those of some sandboxes may be. Nothing is lost, and the same call goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The key comes from a variable, and nobody said which one is to come.
    #[error("cannot replace the key of {origin}: there is no other one")]
    NoNewKey {
        /// The variable.
        origin: String,
    },
    /// The new key cannot be made, or cannot take its place.
    #[error("cannot replace the key of the secrets")]
    Key(#[source] KeyError),
    /// The sandboxes cannot be listed.
    #[error("cannot find the sandboxes")]
    Find(#[source] FindError),
    /// The store of a sandbox is not the newest one, or cannot be used: what is missing could never be read again after
    /// the key is gone. No key was changed.
    #[error("cannot replace the key without the state of {sandbox}")]
    Store {
        /// The sandbox.
        sandbox: SandboxName,
        /// What is wrong with its store.
        source: Box<StateAccessError>,
    },
    /// The secrets of a sandbox cannot be sealed anew.
    #[error("cannot seal the secrets of {sandbox} anew")]
    State {
        /// The sandbox.
        sandbox: SandboxName,
        /// Why not.
        source: Box<StateAccessError>,
    },
    /// They were sealed anew, and the journal does not say so.
    #[error("cannot record in the journal of {sandbox} that its secrets were sealed anew")]
    Record {
        /// The sandbox.
        sandbox: SandboxName,
        /// Why not.
        source: AppendError,
    },
}

/// The secrets of one sandbox after they were sealed with another key.
pub type RekeyedSandbox = (SandboxName, Rekeyed);

impl Home {
    /// Seals the secrets of all sandboxes with another key: a new key file, or the key or passphrase in
    /// `SANDBOX_STATE_KEY_NEW` or `SANDBOX_STATE_PASSPHRASE_NEW`. Everybody can read and write meanwhile.
    ///
    /// # Errors
    ///
    /// Fails when a key cannot be used, or a store cannot be written or is held for too long. Some sandboxes may be
    /// done then: the same call goes on. Fails before anything changes when a store is lost or an older copy.
    pub fn rekey_state(&self) -> Result<Vec<RekeyedSandbox>, RekeyError> {
        let (host, layout) = (self.host(), Layout::new(&self.host().data));
        let names = names(&layout)?;
        // All of them before any key is made: a store that is put back later would need the old one.
        for name in &names {
            known(host, &layout, name).map_err(|source| RekeyError::Store {
                sandbox: name.clone(),
                source: Box::new(source),
            })?;
        }
        let (to, file) = next(host, &layout)?;
        let mut done = Vec::new();
        for name in names {
            let failed = |source: StateAccessError| RekeyError::State {
                sandbox: name.clone(),
                source: Box::new(source),
            };
            let Some((store, ledger)) = known(host, &layout, &name).map_err(failed)? else {
                continue;
            };
            let rekeyed = store.rekey(&to).map_err(StateError::from);
            let rekeyed = rekeyed.map_err(|it| failed(it.into()))?;
            if rekeyed.versions > 0 {
                record_rekeyed(&ledger, &rekeyed, now()).map_err(|source| RekeyError::Record {
                    sandbox: name.clone(),
                    source,
                })?;
            }
            done.push((name, rekeyed));
        }
        if let Some(path) = file {
            KeySource::finish_rotation(&path).map_err(RekeyError::Key)?;
        }
        Ok(done)
    }
}

/// Returns the names of all sandboxes, also of those whose record cannot be read: their secrets are sealed all the same.
fn names(layout: &Layout) -> Result<Vec<SandboxName>, RekeyError> {
    let mut names = registry::names(layout).map_err(RekeyError::Find)?;
    names.retain(|name| layout.record(name).symlink_metadata().is_ok());
    Ok(names)
}

/// Opens the store of a sandbox, if there ever was one. An old copy is looked for in the whole journal.
fn known(
    host: &Host,
    layout: &Layout,
    name: &SandboxName,
) -> Result<Option<(Store, Ledger)>, StateAccessError> {
    let ledger = Ledger::open(&layout.sandbox(name), name);
    let open = sandbox_state::StateManager::existing_store;
    let store = known_store(&super::of(host, layout, name), &ledger, usize::MAX, open)?;
    Ok(store.map(|store| (store, ledger)))
}

/// Returns the key that is to come, and the key file that it will be in, if it is one.
fn next(host: &Host, layout: &Layout) -> Result<(KeySource, Option<PathBuf>), RekeyError> {
    if let Some(new) = given(host, NEW) {
        return Ok((new, None));
    }
    for variable in [KEY_VARIABLE, PASSPHRASE_VARIABLE] {
        if host.variable(variable).is_some() {
            let origin = variable.to_owned();
            return Err(RekeyError::NoNewKey { origin });
        }
    }
    let path = layout.state_key();
    let to = KeySource::begin_rotation(&path).map_err(RekeyError::Key)?;
    Ok((to, Some(path)))
}

fn record_rekeyed(ledger: &Ledger, rekeyed: &Rekeyed, now: Timestamp) -> Result<(), AppendError> {
    let said = StateRekeyed {
        sequence: rekeyed.sequence,
        versions: rekeyed.versions,
        key: rekeyed.key.clone(),
        head: rekeyed.head.clone(),
    };
    ledger.append(ledger::STATE_REKEYED, now, &said).map(drop)
}
