//! In tests each step is noted, and can fail.

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
    /// Whether files can have no second name.
    pub(crate) has_no_links: bool,
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

pub(crate) fn about_to_link() -> io::Result<()> {
    if WATCH.with_borrow(|watch| watch.as_ref().is_some_and(|watch| watch.has_no_links)) {
        // What link(2) says where the file system has no hard links.
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    about_to_change()
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
