//! The key that seals secrets: where it comes from, how it is made, and that it does not leak.

mod handed;
mod memory;
mod passphrase;
mod rotation;

pub(crate) use rotation::SealingLock;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use memory::KeyMemory;
use rustix::{fs::OFlags, rand::GetRandomFlags};
use zeroize::Zeroizing;

use crate::{
    OpenError,
    files::Directory,
    hash::{DIGITS, sha256},
};

const KEY_BYTES: usize = 32;
const KEY_ID_DOMAIN: &[u8] = b"sandbox-state key id 1\0";
/// Sixty-four digits and the end of the line, with room for what an editor may add.
const KEY_FILE_BYTES_MAX: usize = 256;
const NONCE_BYTES: usize = 24;
const ID_BYTES: usize = 8;

/// How much longer a sealed value is than the value.
pub(crate) const SEALED_EXTRA_BYTES: usize = ID_BYTES + NONCE_BYTES + 16;

/// Where the key that seals secrets comes from. It is read when the first secret needs it.
#[derive(Clone)]
pub enum KeySource {
    /// There is none: storing or reading a secret fails.
    None,
    /// A file, made when the first secret is stored. Its directory is made too, not that one's parent.
    File(PathBuf),
    /// Text that somebody gave: 64 hexadecimal digits.
    Text {
        /// The text.
        text: Zeroizing<String>,
        /// Where it comes from, for errors, as in `SANDBOX_STATE_KEY`.
        origin: String,
    },
    /// A passphrase, from which the key of each store is derived with the store's own salt (Argon2id).
    Passphrase {
        /// The passphrase: at least eight bytes.
        text: Zeroizing<String>,
        /// Where it comes from, for errors, as in `SANDBOX_STATE_PASSPHRASE`.
        origin: String,
    },
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text { origin, .. } => f
                .debug_struct("Text")
                .field("origin", origin)
                .finish_non_exhaustive(),
            Self::Passphrase { origin, .. } => f
                .debug_struct("Passphrase")
                .field("origin", origin)
                .finish_non_exhaustive(),
        }
    }
}

/// The key for secrets cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    #[error("cannot use secrets without a key")]
    NoSource,
    /// The file is not there, and there are secrets that were sealed with its key.
    #[error("cannot find the key of the secrets: there is no file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file was not opened.
    #[error("cannot open the key file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The file was not read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file was not made.
    #[error("cannot make the key file {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What should be a key is none.
    #[error("cannot read a key from {origin}: a key is 64 hexadecimal digits")]
    Malformed {
        /// The file or variable.
        origin: String,
    },
    /// A passphrase that is guessed too soon.
    #[error(
        "cannot use the passphrase of {origin}: it has less than {} characters",
        passphrase::PASSPHRASE_BYTES_MIN
    )]
    ShortPassphrase {
        /// The variable.
        origin: String,
    },
    /// No key could be made of the passphrase.
    #[error("cannot make a key of the passphrase of {origin}: {reason}")]
    Derive {
        /// The variable.
        origin: String,
        /// Why not.
        reason: String,
    },
    /// The secrets were sealed with another key.
    #[error(
        "cannot use the key of {origin}, which is {found}: secrets here are sealed with the key {sealed_with}"
    )]
    Wrong {
        /// The file or variable of the key.
        origin: String,
        /// The name of the key that sealed them.
        sealed_with: String,
        /// The name of the key that was given.
        found: String,
    },
    /// The system gave no memory for it, or memory that would be in core dumps.
    #[error("cannot get memory for the key")]
    Memory(#[source] io::Error),
    /// The system gave no random bytes.
    #[error("cannot get random bytes")]
    Random(#[source] io::Error),
}

impl KeySource {
    /// Reads the key, which must be there.
    pub(crate) fn key(&self) -> Result<SecretKey, KeyError> {
        SecretKey::load(self)?.ok_or_else(|| self.missing())
    }

    /// Returns that there is no key.
    pub(crate) fn missing(&self) -> KeyError {
        match self {
            Self::File(path) => KeyError::Missing { path: path.clone() },
            Self::None | Self::Text { .. } | Self::Passphrase { .. } => KeyError::NoSource,
        }
    }
}

/// A key for secrets. It is overwritten in memory when it is dropped, is in no core dump and in no forked child, and
/// cannot be printed.
pub(crate) struct SecretKey {
    bytes: KeyMemory,
    origin: String,
}

impl SecretKey {
    /// Reads the key; `None` when its file is not there.
    pub(crate) fn load(source: &KeySource) -> Result<Option<Self>, KeyError> {
        match source {
            // A passphrase is no key without the salt of a store.
            KeySource::None | KeySource::Passphrase { .. } => Err(KeyError::NoSource),
            KeySource::File(path) => Self::from_file(path),
            KeySource::Text { text, origin } => Self::from_text(text, origin.clone()).map(Some),
        }
    }

    /// Reads the key, and makes its file if it is not there.
    pub(crate) fn load_or_make(source: &KeySource) -> Result<Self, KeyError> {
        match (Self::load(source)?, source) {
            (Some(key), _) => Ok(key),
            (None, KeySource::File(path)) => {
                make_file(path)?;
                source.key()
            }
            (None, _) => Err(KeyError::NoSource),
        }
    }

    /// The public name of the key: shows which key sealed a value, and nothing of the key.
    pub(crate) fn id(&self) -> u64 {
        let digest = sha256(&[KEY_ID_DOMAIN, self.bytes.bytes()]);
        digest
            .first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// Seals a value: the key's name, a random nonce, the ciphertext with its tag.
    pub(crate) fn seal(&self, bound_to: &[u8], value: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let payload = Payload {
            msg: value,
            aad: bound_to,
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_too_long| KeyError::Random(io::ErrorKind::FileTooLarge.into()))?;
        let mut bytes = Vec::with_capacity(ID_BYTES + NONCE_BYTES + sealed.len());
        bytes.extend_from_slice(&self.id().to_le_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }

    /// Opens a sealed value; `None` when it was changed or belongs to another place.
    pub(crate) fn open(
        &self,
        bound_to: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let parts = || {
            let (id, rest) = sealed.split_first_chunk::<ID_BYTES>()?;
            let (nonce, msg) = rest.split_first_chunk::<NONCE_BYTES>()?;
            Some((u64::from_le_bytes(*id), *nonce, msg))
        };
        let Some((id, nonce, msg)) = parts() else {
            return Ok(None);
        };
        if id != self.id() {
            return Err(self.is_wrong(id));
        }
        let payload = Payload { msg, aad: bound_to };
        let opened = self.cipher().decrypt(&XNonce::from(nonce), payload);
        Ok(opened.ok().map(Zeroizing::new))
    }

    /// Returns that the secrets were sealed with the key of another name.
    pub(crate) fn is_wrong(&self, sealed_with: u64) -> KeyError {
        KeyError::Wrong {
            origin: self.origin.clone(),
            sealed_with: format!("{sealed_with:016x}"),
            found: format!("{:016x}", self.id()),
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes.bytes().into())
    }

    fn from_text(text: &str, origin: String) -> Result<Self, KeyError> {
        let digits = text.trim().as_bytes();
        let mut bytes = KeyMemory::new().map_err(KeyError::Memory)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let whole = rest.is_empty() && pairs.len() == KEY_BYTES;
        for (byte, [high, low]) in bytes.bytes_mut().iter_mut().zip(pairs) {
            let digit = |it: u8| char::from(it).to_digit(16);
            match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) if whole => {
                    *byte = (high * 16 + low).to_le_bytes()[0];
                }
                _ => return Err(KeyError::Malformed { origin }),
            }
        }
        if whole {
            Ok(Self { bytes, origin })
        } else {
            Err(KeyError::Malformed { origin })
        }
    }

    fn from_file(path: &Path) -> Result<Option<Self>, KeyError> {
        let not_opened = |source| KeyError::Open {
            path: path.to_owned(),
            source,
        };
        let (directory, name) = place_of(path)?;
        let Some(directory) = Directory::open(directory).map_err(not_opened)? else {
            return Ok(None);
        };
        let Some(file) = directory.file(name, OFlags::RDONLY).map_err(not_opened)? else {
            return Ok(None);
        };
        let failed = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(not_opened(OpenError::OthersMayRead { mode }));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
        let limit = KEY_FILE_BYTES_MAX as u64;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        let origin = path.display().to_string();
        match str::from_utf8(&bytes) {
            Ok(text) => Self::from_text(text, origin).map(Some),
            Err(_not_text) => Err(KeyError::Malformed { origin }),
        }
    }
}

/// Returns the name of the key that a value was sealed with.
pub(crate) fn sealed_with(sealed: &[u8]) -> Option<u64> {
    let id = sealed.first_chunk::<ID_BYTES>()?;
    Some(u64::from_le_bytes(*id))
}

/// Fills `bytes` with random ones.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        let got = rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty())
        });
        filled += got.map_err(|errno| KeyError::Random(errno.into()))?;
    }
    Ok(())
}

/// Makes the key file whole or not at all, unless another process was faster.
fn make_file(path: &Path) -> Result<(), KeyError> {
    let (directory, name) = place_of(path)?;
    let directory = Directory::open_or_make(directory).map_err(|source| KeyError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    random(key.as_mut_slice())?;
    let mut text = Zeroizing::new([b'\n'; 2 * KEY_BYTES + 1]);
    for (digits, byte) in text.chunks_exact_mut(2).zip(key.iter()) {
        digits.copy_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
    write_new(&directory, name, text.as_slice()).map_err(|source| KeyError::Create {
        path: path.to_owned(),
        source,
    })
}

fn write_new(directory: &Directory, name: &str, text: &[u8]) -> io::Result<()> {
    let _lock = directory.lock()?;
    let there = directory.file(name, OFlags::RDONLY);
    if there.map_err(io::Error::other)?.is_some() {
        return Ok(());
    }
    let new = format!("{name}.new");
    directory.remove(&new)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = directory
        .file(&new, flags)
        .map_err(io::Error::other)?
        .ok_or(io::ErrorKind::NotFound)?;
    file.write_all(text)?;
    file.sync_all()?;
    directory.rename(&new, name)?;
    directory.sync()
}

fn place_of(path: &Path) -> Result<(&Path, &str), KeyError> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent().zip(name).ok_or_else(|| KeyError::Missing {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
