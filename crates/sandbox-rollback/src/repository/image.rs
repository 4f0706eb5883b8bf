//! The index of an encrypted repository: a redb database in memory, and its sealed form in a file.
//!
//! ```text
//! head (32)    "SBINDX", version, length of the image, random bytes
//! segments     1 MiB of the image each, sealed; bound to the head, numbered by their nonces
//! ```
//! The file is replaced as a whole, so that a crash leaves the one before.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use redb::StorageBackend;

use super::{
    cipher::{Cipher, NONCE_BYTES, Nonce, TAG_BYTES, random},
    index::private,
    wire::{In, Out},
};
use crate::step::{self, step};

const MAGIC: &[u8; 6] = b"SBINDX";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 32;
const RANDOM_BYTES: usize = 16;
const SEGMENT_BYTES: usize = 1 << 20;

/// The bytes of a database. Whoever holds a copy sees the same ones.
#[derive(Clone, Default)]
pub(super) struct Image(Arc<RwLock<Vec<u8>>>);

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").finish_non_exhaustive()
    }
}

impl Image {
    fn bytes(&self) -> io::Result<RwLockReadGuard<'_, Vec<u8>>> {
        self.0
            .read()
            .map_err(|_poisoned| io::ErrorKind::Other.into())
    }

    fn bytes_mut(&self) -> io::Result<RwLockWriteGuard<'_, Vec<u8>>> {
        self.0
            .write()
            .map_err(|_poisoned| io::ErrorKind::Other.into())
    }

    /// Opens the file at `path`; `None` if it is not what was sealed.
    pub(super) fn load(path: &Path, cipher: &Cipher) -> io::Result<Option<Self>> {
        let sealed = fs::read(path)?;
        let opened = opened(&sealed, cipher);
        Ok(opened.map(|image| Self(Arc::new(RwLock::new(image)))))
    }

    /// Writes the sealed form into a new file, not durably.
    pub(super) fn write(&self, path: &Path, cipher: &Cipher) -> io::Result<File> {
        let sealed = sealed(&self.bytes()?, cipher)?;
        step()?;
        let mut file = private(path)?;
        file.write_all(&sealed)?;
        Ok(file)
    }

    /// Puts the sealed form into the place of the file at `path`, when it is on storage.
    pub(super) fn publish(&self, path: &Path, cipher: &Cipher) -> io::Result<()> {
        let draft = path.with_extension("sealed.new");
        let file = self.write(&draft, cipher)?;
        step::sync_all(&file)?;
        step()?;
        fs::rename(&draft, path)?;
        step()?;
        step::sync_all(&File::open(path.parent().unwrap_or(Path::new(".")))?)
    }
}

fn nonce(random: &[u8], number: usize) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..RANDOM_BYTES].copy_from_slice(random);
    nonce[RANDOM_BYTES..].copy_from_slice(&(number as u64).to_le_bytes());
    nonce
}

fn sealed(image: &[u8], cipher: &Cipher) -> io::Result<Vec<u8>> {
    let random: [u8; RANDOM_BYTES] = random()?;
    let tags = image.len().div_ceil(SEGMENT_BYTES) * TAG_BYTES;
    let mut out = Out(Vec::with_capacity(HEAD_BYTES + image.len() + tags));
    out.bytes(MAGIC);
    out.u16(VERSION);
    out.u64(image.len() as u64);
    out.bytes(&random);
    let head = out.0.clone();
    for (number, segment) in image.chunks(SEGMENT_BYTES).enumerate() {
        cipher.seal(&nonce(&random, number), &head, segment, &mut out.0)?;
    }
    Ok(out.0)
}

fn opened(sealed: &[u8], cipher: &Cipher) -> Option<Vec<u8>> {
    let (head, rest) = sealed.split_at_checked(HEAD_BYTES)?;
    let mut input = In(head);
    let known = input.take(MAGIC.len())? == MAGIC && input.u16()? == VERSION;
    let length = usize::try_from(input.u64()?).ok()?;
    let random: [u8; RANDOM_BYTES] = input.array()?;
    let tags = length.div_ceil(SEGMENT_BYTES).checked_mul(TAG_BYTES)?;
    if !known || length == 0 || length.checked_add(tags)? != rest.len() {
        return None;
    }
    let mut image = Vec::with_capacity(length);
    for (number, segment) in rest.chunks(SEGMENT_BYTES + TAG_BYTES).enumerate() {
        image.extend(cipher.open(&nonce(&random, number), head, segment)?);
    }
    (image.len() == length).then_some(image)
}

fn range(offset: u64, length: usize, bytes: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let end = start.checked_add(length).filter(|end| *end <= bytes);
    Ok(start..end.ok_or(io::ErrorKind::UnexpectedEof)?)
}

impl StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes()?.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes()?;
        out.copy_from_slice(&bytes[range(offset, out.len(), bytes.len())?]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.bytes_mut()?.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes_mut()?;
        let range = range(offset, data.len(), bytes.len())?;
        bytes[range].copy_from_slice(data);
        Ok(())
    }
}
