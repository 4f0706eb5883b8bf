//! The keys of an encrypted repository: a random one seals the content, and is itself sealed with
//! the one that its user has. So that one can be replaced without writing the content anew.

use std::{error::Error, fmt, io, path::Path, sync::Arc};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES, random},
    error::RepositoryError,
    wire::In,
};
use crate::raw;

/// The salt of a passphrase.
const SALT_BYTES: usize = 16;
/// The name of a key.
const NAME_BYTES: usize = 8;
/// The bytes of a wrapped key with what must be known to open it.
pub(super) const SLOT_BYTES: usize = SALT_BYTES + NAME_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

const WRAP_DOMAIN: &[u8] = b"sandbox-rollback wrapping key 1\0";
const NAME_DOMAIN: &[u8] = b"sandbox-rollback key name 1\0";
/// What a wrapped key is bound to, with its salt and name.
const SLOT_DOMAIN: &[u8] = b"sandbox-rollback data key 1\0";

/// A key of 256 bits; it is overwritten in memory when it is dropped.
pub type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// Why a key cannot be had.
pub type KeyFailure = Box<dyn Error + Send + Sync>;

/// What a key is asked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest {
    /// For a key that is made of a passphrase: random, another one in each repository.
    pub salt: [u8; SALT_BYTES],
    /// Whether it is for something new, so that a key may be made if there is none.
    pub make: bool,
}

/// Gives the keys that may be the right one, the one for new repositories first.
type Source = dyn Fn(&KeyRequest) -> Result<Vec<KeyBytes>, KeyFailure> + Send + Sync;

/// The key that opens an encrypted repository. It is asked for when it is needed.
#[derive(Clone)]
pub struct RepositoryKey(Arc<Source>);

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryKey").finish_non_exhaustive()
    }
}

impl RepositoryKey {
    /// Returns a key that the caller has.
    pub fn of(key: KeyBytes) -> Self {
        Self::from_fn(move |_| Ok(vec![key.clone()]))
    }

    /// Returns a key that `source` gives: several, if any of them may be the right one. The first is
    /// that of what is new.
    pub fn from_fn(
        source: impl Fn(&KeyRequest) -> Result<Vec<KeyBytes>, KeyFailure> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(source))
    }

    /// Opens the key in `slot`, which lies in `path`.
    pub(super) fn unwrap(&self, slot: &Slot, path: &Path) -> Result<Cipher, RepositoryError> {
        let parts = slot.parts();
        let request = KeyRequest {
            salt: parts.salt,
            make: false,
        };
        let candidates = (self.0)(&request).map_err(RepositoryError::Key)?;
        let mut found = None;
        for candidate in &candidates {
            let wrapping = Wrapping::of(candidate, &parts.salt);
            if wrapping.name == parts.name {
                let opened = wrapping.open(&parts);
                let key = opened.ok_or_else(|| RepositoryError::Damaged {
                    path: path.to_owned(),
                    what: "the key of its content".to_owned(),
                    why: "it is not what was written",
                })?;
                return Ok(Cipher::new(key, slot.clone()));
            }
            found.get_or_insert(wrapping.name);
        }
        match found {
            Some(found) => Err(RepositoryError::WrongKey {
                path: path.to_owned(),
                sealed_with: raw::hex(&parts.name),
                found: raw::hex(&found),
            }),
            None => Err(RepositoryError::Locked {
                path: path.to_owned(),
            }),
        }
    }

    /// Wraps a key of content, a new one if none is given.
    pub(super) fn wrap(&self, content: Option<&KeyBytes>) -> Result<Cipher, RepositoryError> {
        let no_random = |error: io::Error| RepositoryError::Key(Box::new(error));
        let salt = random().map_err(no_random)?;
        let request = KeyRequest { salt, make: true };
        let candidates = (self.0)(&request).map_err(RepositoryError::Key)?;
        let Some(candidate) = candidates.first() else {
            let none = io::Error::new(io::ErrorKind::NotFound, "there is none");
            return Err(RepositoryError::Key(Box::new(none)));
        };
        let key = match content {
            Some(key) => key.clone(),
            None => Zeroizing::new(random().map_err(no_random)?),
        };
        let slot = Wrapping::of(candidate, &salt).seal(&key, salt);
        Ok(Cipher::new(key, slot.map_err(no_random)?))
    }
}

/// A wrapped key as it lies in a repository: salt (16), name of the wrapping key (8), nonce (24),
/// sealed key (48).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Slot(pub(super) [u8; SLOT_BYTES]);

struct Parts {
    salt: [u8; SALT_BYTES],
    name: [u8; NAME_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: [u8; KEY_BYTES + TAG_BYTES],
}

impl Slot {
    fn parts(&self) -> Parts {
        let mut input = In(&self.0);
        let mut read = || {
            Some(Parts {
                salt: input.array()?,
                name: input.array()?,
                nonce: input.array()?,
                sealed: input.array()?,
            })
        };
        let Some(parts) = read() else {
            unreachable!("the parts have the length of the whole")
        };
        parts
    }
}

/// The user's key as it is used here: another one for each salt, and none that seals anything else.
struct Wrapping {
    key: KeyBytes,
    /// Shows which key it is, and nothing of it.
    name: [u8; NAME_BYTES],
}

impl Wrapping {
    fn of(key: &KeyBytes, salt: &[u8; SALT_BYTES]) -> Self {
        let mut digest = Sha256::new_with_prefix(WRAP_DOMAIN);
        digest.update(salt);
        digest.update(**key);
        let key: KeyBytes = Zeroizing::new(digest.finalize().into());
        let mut digest = Sha256::new_with_prefix(NAME_DOMAIN);
        digest.update(*key);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&digest.finalize()[..NAME_BYTES]);
        Self { key, name }
    }

    fn bound_to(salt: &[u8; SALT_BYTES], name: [u8; NAME_BYTES]) -> Vec<u8> {
        [SLOT_DOMAIN, salt.as_slice(), name.as_slice()].concat()
    }

    fn open(&self, parts: &Parts) -> Option<KeyBytes> {
        let payload = Payload {
            msg: &parts.sealed,
            aad: &Self::bound_to(&parts.salt, parts.name),
        };
        let aead = XChaCha20Poly1305::new((&*self.key).into());
        let opened = aead.decrypt(&XNonce::from(parts.nonce), payload).ok()?;
        let opened = Zeroizing::new(opened);
        opened.as_slice().try_into().ok().map(Zeroizing::new)
    }

    fn seal(&self, content: &KeyBytes, salt: [u8; SALT_BYTES]) -> io::Result<Slot> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let payload = Payload {
            msg: content.as_slice(),
            aad: &Self::bound_to(&salt, self.name),
        };
        let aead = XChaCha20Poly1305::new((&*self.key).into());
        let sealed = aead.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_too_long| io::ErrorKind::InvalidInput)?;
        let slot = [&salt[..], &self.name, &nonce, &sealed].concat();
        let slot = slot.try_into();
        Ok(Slot(slot.map_err(|_length| io::ErrorKind::InvalidInput)?))
    }
}
