//! `format.json`: the version of a repository, and the wrapped key of an encrypted one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use super::{
    Repository,
    cipher::{Cipher, Sealing},
    content::{CHUNK_BYTES_MAX, WHOLE_BYTES_MAX},
    error::RepositoryError,
    index::{private, sync_directory},
    key::Slot,
    pack,
    session::pack_files,
};
use crate::{
    file_error::cannot,
    raw,
    step::{self, step},
};

/// The version of a repository, and that of an encrypted one.
const VERSION: u64 = 1;
const SEALED_VERSION: u64 = 2;

/// What the file says of the size of blocks. Readers go by the limit of a frame; newer programs make
/// larger blocks, and the file stays the same, so that older ones can read them.
const BUNDLE_BYTES_SAID: usize = 128 << 10;

/// Returns the content of the file.
fn text(slot: Option<&Slot>) -> String {
    let mut format = serde_json::json!({
        "version": if slot.is_some() { SEALED_VERSION } else { VERSION },
        "hash": "sha256",
        "whole_bytes_max": WHOLE_BYTES_MAX,
        "chunk_bytes_max": CHUNK_BYTES_MAX,
        "bundle_bytes": BUNDLE_BYTES_SAID,
    });
    if let Some(slot) = slot {
        format["key"] = raw::hex(&slot.0).into();
    }
    format!("{format}\n")
}

/// Checks that the repository is one of ours, and returns its wrapped key if it is encrypted;
/// [`RepositoryError::Empty`] if there is none.
pub(super) fn check(directory: &Path) -> Result<Option<Slot>, RepositoryError> {
    let path = directory.join("format.json");
    let found = match fs::read(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let has_packs =
                |name: &str| pack_files(&directory.join(name)).is_ok_and(|packs| !packs.is_empty());
            return if has_packs("packs") || has_packs("sealed") {
                Err(damaged(&path, "it is missing"))
            } else {
                Err(RepositoryError::Empty)
            };
        }
        Err(error) => return Err(cannot("read", &path)(error).into()),
    };
    if found == text(None).as_bytes() {
        return Ok(None);
    }
    let format: serde_json::Value = serde_json::from_slice(&found).unwrap_or_default();
    let slot = format["key"].as_str().and_then(raw::unhex);
    if let Some(slot) = slot.and_then(|slot| slot.try_into().ok()).map(Slot)
        && found == text(Some(&slot)).as_bytes()
    {
        return Ok(Some(slot));
    }
    match format["version"].as_u64() {
        Some(version) if version > SEALED_VERSION => Err(RepositoryError::Newer {
            path: directory.to_owned(),
            version,
            known: SEALED_VERSION,
        }),
        _ => Err(damaged(&path, "it is not what was written")),
    }
}

fn damaged(path: &Path, why: &'static str) -> RepositoryError {
    RepositoryError::Damaged {
        path: path.to_owned(),
        what: "the format".to_owned(),
        why,
    }
}

/// Writes the file of a repository that is not there yet, and waits for nothing.
pub(super) fn write_draft(
    repository: &Repository,
    slot: Option<&Slot>,
) -> Result<(), RepositoryError> {
    let path = repository.part("format.json");
    let write = || -> io::Result<()> {
        step()?;
        private(&path)?.write_all(text(slot).as_bytes())
    };
    Ok(write().map_err(cannot("write", &path))?)
}

/// Writes the file, durably, and before it all else that was written: packs and the index.
pub(super) fn write(repository: &Repository, slot: Option<&Slot>) -> Result<(), RepositoryError> {
    let path = repository.directory.join("format.json");
    let draft = path.with_extension("json.new");
    let write = || -> io::Result<()> {
        step()?;
        let mut file = private(&draft)?;
        file.write_all(text(slot).as_bytes())?;
        step::sync_file_system(&file)?;
        step()?;
        fs::rename(&draft, &path)
    };
    write().map_err(cannot("write", &path))?;
    sync_directory(&repository.directory)?;
    Ok(())
}

impl Repository {
    /// Checks the format, and gets the key if the repository is encrypted.
    pub(super) fn unlock(&self) -> Result<Sealing, RepositoryError> {
        let slot = check(&self.directory)?;
        let cipher = slot.map(|slot| self.open_slot(&slot, &self.directory));
        Ok(cipher.transpose()?.map(Into::into))
    }

    /// As [`Self::unlock`], without `format.json`: the packs have the wrapped key too.
    pub(super) fn unlock_by_packs(&self) -> Result<Sealing, RepositoryError> {
        let packs = self.sealed_packs();
        if !packs.is_dir() {
            return Ok(None);
        }
        let mut refused = None;
        for number in pack_files(&packs)? {
            let path = pack::path(&packs, number);
            let file = File::open(&path).map_err(cannot("open", &path))?;
            let Some(slot) = pack::slot_of(&file) else {
                continue;
            };
            match self.open_slot(&slot, &self.directory) {
                Ok(cipher) => return Ok(Some(cipher.into())),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Opens the wrapped key that lies in `path`.
    pub(super) fn open_slot(&self, slot: &Slot, path: &Path) -> Result<Cipher, RepositoryError> {
        let Some(key) = &self.key else {
            return Err(RepositoryError::Locked {
                path: path.to_owned(),
            });
        };
        key.unwrap(slot, path)
    }
}
