//! The files of a journal: `journal.log`, to which records are appended, and full ones before it.
//!
//! ```text
//! journal-000001.log   journal-000002.log   journal.log
//! records 1 to 900  ─► 901 to 1,750      ─► 1,751 …      each file begins with an anchor, but the first
//! ```
//!
//! A full file gets a second name, and then a new file takes the place of `journal.log`: at every moment
//! there is one, and no record is in two places that are read.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::Arc,
};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::Serialize;

use super::{
    FILE_NAME,
    frame::{self, Draft, FIRST_FILE_VERSION, FORMAT_VERSION, START_MARK},
    records::{Body, OwnedBody},
};
use crate::{
    Hash,
    files::{Directory, storage},
};

/// A file of this length is full, if nobody says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// The kind of the first record of each file but the first.
const ANCHOR: &str = "journal.anchor";

/// Enough for an anchor.
const ANCHOR_BYTES_MAX: usize = 4096;

/// More files than that no journal has: 64 TiB.
const SEGMENTS_MAX: u32 = 999_999;

/// How much of two files is compared at once.
const COMPARED_BYTES: usize = 64 * 1024;

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
    /// It must be there, and is not.
    pub(super) is_missing: bool,
}

/// Returns the name of the full file of this number, the first of which is 1.
fn name_of(number: u32) -> String {
    format!("journal-{number:06}.log")
}

/// Returns the number that `name` has as that of a full file.
fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (number > 0 && name_of(number) == name).then_some(number)
}

/// Returns the full files before `live`, oldest first; `None` stands for a newest file that is not there.
///
/// How many there must be is what `live` says in its first record. So one that was removed is missed, and so a copy
/// that was made while the newest file had two names is whole.
pub(super) fn sealed(directory: &Directory, live: Option<&File>) -> io::Result<Vec<Sealed>> {
    let count = match live.map(segment_of).transpose()?.flatten() {
        Some(segment) => segment - 1,
        None => last_number(directory, live)?,
    };
    let mut found = Vec::new();
    for number in 1..=count {
        let name = name_of(number);
        let inode = directory.inode_of(&name)?;
        found.push(Sealed {
            bytes: inode.map_or(0, |(_, bytes)| bytes),
            is_missing: inode.is_none(),
            name,
        });
    }
    Ok(found)
}

/// Returns the number of a file, as its first record says; `None` if that cannot be read.
fn segment_of(file: &File) -> io::Result<Option<u32>> {
    let mut start = vec![0; ANCHOR_BYTES_MAX];
    let mut known = 0;
    while known < start.len() {
        match file.read_at(&mut start[known..], known as u64)? {
            0 => break,
            more => known += more,
        }
    }
    start.truncate(known);
    if start.get(..4) == Some(&[START_MARK.as_slice(), &[FIRST_FILE_VERSION]].concat()) {
        return Ok(Some(1));
    }
    let whole = frame::frame_length(&start).is_ok_and(|length| {
        start.truncate(length);
        start.len() == length
    });
    let anchor = whole.then(|| frame::decode(start).ok()).flatten();
    let anchor: Option<OwnedBody> =
        anchor.and_then(|frame| serde_json::from_slice(frame.body()).ok());
    let anchor = anchor.filter(|it| it.kind == ANCHOR);
    let segment = anchor.and_then(|it| u32::try_from(it.payload.get("segment")?.as_u64()?).ok());
    Ok(segment.filter(|it| (2..=SEGMENTS_MAX).contains(it)))
}

/// Returns the largest number of the full files that are there, without `live` itself.
fn last_number(directory: &Directory, live: Option<&File>) -> io::Result<u32> {
    let live = live.map(File::metadata).transpose()?.map(|it| it.ino());
    let mut last = 0;
    for name in directory.names()? {
        let number = number_of(&name).filter(|it| (last + 1..=SEGMENTS_MAX).contains(it));
        if let Some(number) = number
            && directory.inode_of(&name)?.map(|(inode, _)| inode) != live
        {
            last = number;
        }
    }
    Ok(last)
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
    let before = sealed(directory, Some(full))?.len();
    let number = u32::try_from(before).map_err(io::Error::other)? + 1;
    let name = name_of(number);
    // 1. The name that the full file keeps. First, because a file system without hard links ends here: before
    // anything has waited for storage.
    second_name(directory, full, &name)?;
    // 2. The new file continues the full one, so that one must be there.
    storage::sync(full)?;
    // 3. The new file, whole.
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
    directory.sync()?;
    // 4. From here on, records are appended to the new one. Whoever appends the first syncs its name: if that
    // failed here, nobody could tell whether this file is still the newest.
    directory.rename(NEXT, FILE_NAME)
}

/// Gives the full file the name that it keeps.
fn second_name(directory: &Directory, full: &File, name: &str) -> io::Result<()> {
    match directory.link(FILE_NAME, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let inode = full.metadata()?.ino();
            if directory.inode_of(name)?.map(|(there, _)| there) == Some(inode) {
                return Ok(());
            }
            // In a copy that was made while the file had two names, it is two files: the other one is its beginning.
            if !begins_with(full, directory, name)? {
                return Err(error);
            }
            directory.remove(name)?;
            directory.link(FILE_NAME, name)
        }
        linked => linked,
    }
}

/// Whether everything in the file `name` is also at the beginning of `full`.
fn begins_with(full: &File, directory: &Directory, name: &str) -> io::Result<bool> {
    let file = directory
        .file(name, OFlags::RDONLY)
        .map_err(io::Error::other)?;
    let Some(mut file) = file else {
        return Ok(false);
    };
    let (mut theirs, mut ours) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut at = 0;
    loop {
        let read = file.read(&mut theirs)?;
        if read == 0 {
            return Ok(true);
        }
        match full.read_exact_at(&mut ours[..read], at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        if ours[..read] != theirs[..read] {
            return Ok(false);
        }
        at += read as u64;
    }
}
