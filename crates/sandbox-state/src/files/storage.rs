//! What changes storage: writing, cutting and syncing files, and giving them names.
//!
//! In tests of this crate each of these steps can fail, and all of them are noted, so that a power cut
//! at any moment can be played: see `journal/tests/crash.rs`. Elsewhere they are the plain calls.

use std::{
    fs::File,
    io::{self, Write as _},
};

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

#[cfg(not(test))]
mod watched {
    use super::{Change, File, io};

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
    pub(crate) fn about_to_change() -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(crate) fn note(_change: impl FnOnce() -> Change) {}

    #[inline]
    pub(super) fn writable(length: usize) -> usize {
        length
    }

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
    pub(super) fn note_write(_file: &File, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "it fails in tests")]
    pub(super) fn inode(_file: &File) -> io::Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod watched {
    use std::{cell::RefCell, os::unix::fs::MetadataExt as _};

    use super::{Change, File, io};

    /// What is watched in this thread.
    #[derive(Default)]
    pub(crate) struct Watch {
        pub(crate) changes: Vec<Change>,
        /// How many steps go well.
        pub(crate) left: Option<u32>,
        /// How much of the write that fails is written, in parts of 256.
        pub(crate) torn: u8,
    }

    thread_local! {
        static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    }

    /// Watches this thread from now on, and returns what was seen before.
    pub(crate) fn watch(watch: Option<Watch>) -> Option<Watch> {
        WATCH.replace(watch)
    }

    fn spend() -> bool {
        WATCH.with_borrow_mut(
            |watch| match watch.as_mut().and_then(|watch| watch.left.as_mut()) {
                None => true,
                Some(0) => false,
                Some(left) => {
                    *left -= 1;
                    true
                }
            },
        )
    }

    pub(crate) fn about_to_change() -> io::Result<()> {
        if spend() {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    pub(crate) fn note(change: impl FnOnce() -> Change) {
        WATCH.with_borrow_mut(|watch| {
            if let Some(watch) = watch {
                watch.changes.push(change());
            }
        });
    }

    pub(super) fn writable(length: usize) -> usize {
        if spend() {
            return length;
        }
        let torn = WATCH.with_borrow(|watch| watch.as_ref().map_or(0, |watch| watch.torn));
        length * usize::from(torn) / 256
    }

    pub(super) fn note_write(file: &File, bytes: &[u8]) -> io::Result<()> {
        let metadata = file.metadata()?;
        note(|| Change::Write {
            inode: metadata.ino(),
            offset: metadata.len() - bytes.len() as u64,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    pub(super) fn inode(file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.ino())
    }
}

#[cfg(test)]
pub(crate) use watched::{Watch, watch};
pub(crate) use watched::{about_to_change, note};
use watched::{inode, note_write, writable};
