//! The files of a journal: `journal.log`, to which records are appended, and full ones before it.
//!
//! ```text
//! journal-000001.log   journal-000002.log   journal.log
//! records 1 to 900  ─► 901 to 1,750      ─► 1,751 …      each file begins with an anchor, but the first
//! ```
//!
//! A full file gets a second name, and then a new file takes the place of `journal.log`: at every moment
//! there is one, and no record is in two places that are read.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, sync::Arc};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::Serialize;

use super::{
    FILE_NAME,
    frame::{Draft, FORMAT_VERSION},
    records::Body,
};
use crate::{
    Hash,
    files::{Directory, storage},
};

/// A file of this length is full, if nobody says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// The kind of the first record of each file but the first.
const ANCHOR: &str = "journal.anchor";

/// The name of the file that is to take the place of the full one.
const NEXT: &str = "journal.next";

/// What the first record of a file says of the files before it.
#[derive(Serialize)]
struct Anchor<'a> {
    /// The number of this file.
    segment: u32,
    /// The name of the full file before it.
    after: &'a str,
    /// The length of that file.
    bytes: u64,
    /// How many records the files before it have.
    records: u64,
}

/// A full file.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Returns the name of the full file of this number, the first of which is 1.
fn name_of(number: u32) -> String {
    format!("journal-{number:06}.log")
}

/// Returns the full files before `live`, oldest first.
pub(super) fn sealed(directory: &Directory, live: &File) -> io::Result<Vec<Sealed>> {
    let live = live.metadata()?.ino();
    let mut found = Vec::new();
    for number in 1.. {
        let name = name_of(number);
        match directory.inode_of(&name)? {
            // It got its second name, and then the power was cut.
            Some((inode, _)) if inode == live => break,
            Some((_, bytes)) => found.push(Sealed { name, bytes }),
            None => break,
        }
    }
    Ok(found)
}

/// Puts a new file in the place of the full one, which is locked. `last` is the last record.
///
/// Each step is durable before the next: no name shows what a power cut took away.
pub(super) fn seal(
    directory: &Directory,
    full: &Arc<File>,
    last: (u64, Hash),
    at: Timestamp,
) -> io::Result<()> {
    let number = u32::try_from(sealed(directory, full)?.len()).map_err(io::Error::other)? + 1;
    let name = name_of(number);
    // 1. The new file continues the full one, so that one must be there.
    storage::sync(full)?;
    // 2. The new file, whole.
    let anchor = Anchor {
        segment: number + 1,
        after: &name,
        bytes: full.metadata()?.len(),
        records: last.0,
    };
    let draft = Draft::new(&Body {
        at,
        kind: ANCHOR,
        payload: &anchor,
    });
    let draft = draft.map_err(|_impossible| io::ErrorKind::InvalidData)?;
    let (bytes, _) = draft.finish(FORMAT_VERSION, last.0 + 1, &last.1);
    directory.remove(NEXT)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
    let next = directory.file(NEXT, flags).map_err(io::Error::other)?;
    let next = next.ok_or(io::ErrorKind::NotFound)?;
    storage::append(&next, &bytes)?;
    storage::sync(&next)?;
    // 3. The name that the full file keeps.
    match directory.link(FILE_NAME, &name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = directory.inode_of(&name)?.map(|(inode, _)| inode);
            if there != Some(full.metadata()?.ino()) {
                return Err(error);
            }
        }
        linked => linked?,
    }
    directory.sync()?;
    // 4. From here on, records are appended to the new one. Whoever appends the first syncs its name: if that
    // failed here, nobody could tell whether this file is still the newest.
    directory.rename(NEXT, FILE_NAME)
}
