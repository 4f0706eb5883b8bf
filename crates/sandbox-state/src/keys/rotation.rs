//! Which of two keys, while a key file is replaced by another one.
//!
//! ```text
//! begin    state.key = old, state.key.next = new, made whole      stores: sealed with old
//!          each store is sealed anew with new, in one commit      stores: sealed with old or new
//! finish   state.key.next is renamed to state.key                 stores: sealed with new
//! ```
//!
//! A store remembers the name of its key, so at every moment each store finds the key that it needs in one of the two
//! files. Who seals holds a shared lock of their directory until the commit; beginning and finishing take it alone, for
//! a moment.

use std::{fs::File, path::Path};

use rustix::fs::FlockOperation;

use super::{KeyError, KeySource, SecretKey, make_file, passphrase, place_of};
use crate::files::Directory;

const NEXT: &str = "next";

/// Held while something is sealed: no other key takes the place of this one meanwhile.
#[derive(Debug)]
pub(crate) struct SealingLock(File);

impl Drop for SealingLock {
    fn drop(&mut self) {
        // A process that was cloned meanwhile would keep it otherwise.
        rustix::fs::flock(&self.0, FlockOperation::Unlock).ok();
    }
}

impl KeySource {
    /// Returns the key of this name; if there is none, the one that there is; `None` if its file is not there.
    pub(crate) fn named(
        &self,
        wanted: Option<u64>,
        salt: Option<u128>,
    ) -> Result<Option<SecretKey>, KeyError> {
        let Self::File(path) = self else {
            return match self {
                // Without a salt nothing was sealed with it: it is a key, and not the wanted one.
                Self::Passphrase { text, origin } => {
                    passphrase::key(text, salt.unwrap_or(0), origin).map(Some)
                }
                Self::None | Self::Text { .. } | Self::File(_) => SecretKey::load(self),
            };
        };
        let found = SecretKey::load(self)?;
        if found.as_ref().is_some_and(|key| Some(key.id()) == wanted) {
            return Ok(found);
        }
        let next = SecretKey::load(&Self::File(next(path)))?;
        Ok(match (found, next) {
            (_, Some(next)) if Some(next.id()) == wanted => Some(next),
            (found, _) => found,
        })
    }

    /// Returns the key that seals in a store that has none yet, and makes it if it is not there.
    pub(crate) fn for_new_store(&self, salt: Option<u128>) -> Result<SecretKey, KeyError> {
        if let Self::File(path) = self {
            let next = SecretKey::load(&Self::File(next(path)))?;
            return next.map_or_else(|| SecretKey::load_or_make(self), Ok);
        }
        self.named(None, salt)?.ok_or_else(|| self.missing())
    }

    /// Keeps the key from being replaced until the lock is dropped.
    pub(crate) fn lock_to_seal(&self) -> Result<Option<SealingLock>, KeyError> {
        match self {
            Self::File(path) => lock(path, FlockOperation::LockShared),
            Self::None | Self::Text { .. } | Self::Passphrase { .. } => Ok(None),
        }
    }

    /// Begins to replace the key in this file, or goes on with it: returns the source of the key that is to come.
    ///
    /// # Errors
    ///
    /// Fails when a key file cannot be read or made.
    pub fn begin_rotation(path: &Path) -> Result<Self, KeyError> {
        let next = next(path);
        // This waits until nobody seals; who seals after that sees the file.
        make_file(&next)?;
        Ok(Self::File(next))
    }

    /// Puts the new key into the place of the old one, which is gone after that. Every store must be sealed with it.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be renamed.
    pub fn finish_rotation(path: &Path) -> Result<(), KeyError> {
        let _alone = lock(path, FlockOperation::LockExclusive)?;
        let (parent, name) = place_of(path)?;
        let failed = |source| KeyError::Create {
            path: path.to_owned(),
            source,
        };
        let directory = Directory::open(parent).map_err(|source| KeyError::Open {
            path: parent.to_owned(),
            source,
        })?;
        let directory = directory.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        directory
            .rename(&format!("{name}.{NEXT}"), name)
            .and_then(|()| directory.sync())
            .map_err(failed)
    }
}

/// Takes the lock of the directory of key files through a descriptor of its own; `None` if there is no directory.
fn lock(path: &Path, operation: FlockOperation) -> Result<Option<SealingLock>, KeyError> {
    let (parent, _) = place_of(path)?;
    let open = |source| KeyError::Open {
        path: parent.to_owned(),
        source,
    };
    let Some(directory) = Directory::open(parent).map_err(open)? else {
        return Ok(None);
    };
    let handle = directory.into_handle();
    rustix::io::retry_on_intr(|| rustix::fs::flock(&handle, operation)).map_err(|errno| {
        KeyError::Read {
            path: parent.to_owned(),
            source: errno.into(),
        }
    })?;
    Ok(Some(SealingLock(handle)))
}

pub(super) fn next(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(NEXT);
    name.into()
}
