//! What changes storage: writing, cutting and syncing files, and giving them names.
//!
//! In tests of this crate each of these steps can fail, and all of them are noted, so that a power cut
//! at any moment can be played: see `journal/tests/crash.rs`. Elsewhere they are the plain calls.

#[cfg(not(test))]
mod plain;
#[cfg(test)]
mod watched;

use std::{
    fs::File,
    io::{self, Write as _},
};

#[cfg(not(test))]
use plain as steps;
#[cfg(test)]
use watched as steps;

pub(crate) use steps::{about_to_change, about_to_link, note};
use steps::{inode, note_write, writable};
#[cfg(test)]
pub(crate) use watched::{Watch, watch};

/// One step that changed storage.
#[derive(Clone, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
pub(crate) enum Change {
    /// A file has this name now: a new one, or the one that had it before.
    Name { name: String, inode: u64 },
    /// Bytes were written.
    Write {
        inode: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// A file has another length.
    Length { inode: u64, length: u64 },
    /// What was written to a file is on storage.
    Sync { inode: u64 },
    /// A file has a second name.
    Link { from: String, to: String },
    /// A file has another name, in place of what had it.
    Rename { from: String, to: String },
    /// A name is gone.
    Remove { name: String },
    /// The names of the directory are on storage.
    SyncNames,
}

/// Writes all bytes at the end of a file that was opened to append.
pub(crate) fn append(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let whole = writable(bytes.len());
    let written = file.write_all(&bytes[..whole.min(bytes.len())]);
    if written.is_ok() {
        note_write(file, &bytes[..whole.min(bytes.len())])?;
    }
    written?;
    if whole < bytes.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Cuts a file.
pub(crate) fn cut(file: &File, length: u64) -> io::Result<()> {
    about_to_change()?;
    file.set_len(length)?;
    let inode = inode(file)?;
    note(|| Change::Length { inode, length });
    Ok(())
}

/// Brings what was written to a file to storage.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    about_to_change()?;
    file.sync_data()?;
    let inode = inode(file)?;
    note(|| Change::Sync { inode });
    Ok(())
}
