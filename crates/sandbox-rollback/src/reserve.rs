//! Room for what must still be written after the first change of the workspace.
//!
//! Without it a full disk would show only then: all would be taken back, and each file that moved
//! to and fro would look edited from then on.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{fs::FallocateFlags, io::Errno};

use crate::{
    file_error::{FileError, cannot},
    plan::Plan,
    step::step,
};

/// The name of the file, in the directory of a set.
const RESERVE: &str = "reserve";
/// For the seal, and for the names of it and of the draft.
const BYTES_MIN: usize = 16 * 1024;
/// The most that one line of the ledger takes.
const LINE_BYTES: usize = 160;

/// Takes room for what carrying out `plan` writes.
pub(crate) fn take(set: &Path, plan: &Plan) -> Result<(), FileError> {
    let path = set.join(RESERVE);
    let bytes = (plan.moves.len() + plan.directories.len()) * LINE_BYTES + BYTES_MIN;
    let reserve = || {
        step()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let length = u64::try_from(bytes).unwrap_or(u64::MAX);
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.write_all(&vec![0; bytes]),
            result => Ok(result?),
        }
    };
    reserve()
        .inspect_err(|_| drop(fs::remove_file(&path)))
        .map_err(cannot::<io::Error>("reserve room in", &path))
}

/// Gives the room back: what it was for is written next.
pub(crate) fn release(set: &Path) {
    // Without it there is at most less room.
    drop(fs::remove_file(set.join(RESERVE)));
}
