//! A file of rules that a configuration names: regular, and small enough to read at once.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::plain_file;

/// What any file of rules may have; ours have a few kilobytes.
pub(super) const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A file of rules, and where it really lies.
pub(super) struct SmallFile {
    /// Without symbolic links: what decides whether a guest could have written it.
    pub(super) real: PathBuf,
    pub(super) text: String,
}

/// Why there is no text.
pub(super) enum Unusable {
    Read(io::Error),
    TooLarge,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl SmallFile {
    /// Reads it; what is no regular file is not opened, because opening a pipe would wait.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let real = fs::canonicalize(path)?;
        let mut text = String::new();
        let (file, _) = plain_file::open(&real)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Unusable::TooLarge);
        }
        Ok(Self { real, text })
    }
}
