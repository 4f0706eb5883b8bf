//! Which new ctimes are only an undo's or redo's doing.
//!
//! Renaming a file back moves its ctime, so after undoing a newer operation the files that it put
//! back look edited to the undo of an older one. The ledger says, for each file put back, the ctime
//! that it has now and the one that it had before the newer operation: following it leads to the
//! time of the last real edit.
//!
//! Where there was no overlay, what is put back is a copy from a snapshot, with an inode of its own.
//! The ledger says what each copy stands for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    stat::{Stat, Time},
    tree::Tree,
};

/// The most steps that are followed: each undo adds one.
const CHAIN_MAX: usize = 10_000;

/// The inode of a file, and when it changed last.
pub(crate) type State = (u64, Time);

/// The ctimes that undos made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    before: BTreeMap<State, State>,
    /// What each plan wrote, by the time of its journal.
    written: BTreeSet<(u64, Time, Time)>,
}

/// One file that an undo put back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PutBack {
    pub(crate) ino: u64,
    pub(crate) now: Time,
    pub(crate) before: Time,
}

impl Ledger {
    /// Reads the ledger; an absent one is empty, and a torn last line is ignored.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut ledger = Self::default();
        for line in text.lines() {
            if let Ok((ino, now, before, plan)) = serde_json::from_str(line) {
                ledger.before.insert((ino, now), (ino, before));
                ledger.written.insert((ino, before, plan));
            } else if let Ok((ino, now, before)) = serde_json::from_str(line) {
                // As it was written before there was a redo.
                ledger.before.insert((ino, now), (ino, before));
            } else if let Ok((copy, original)) = serde_json::from_str(line) {
                ledger.before.insert(copy, original);
            }
        }
        Ok(ledger)
    }

    /// Appends what the plan whose journal was written at `plan` put back, leaving out what an
    /// interrupted attempt wrote already: a file that it does not find so was edited meanwhile.
    pub(crate) fn append(path: &Path, files: &[PutBack], plan: Time) -> io::Result<()> {
        let known = Self::load(path)?;
        let mut text = String::from("\n");
        for file in files {
            if !known.written.contains(&(file.ino, file.before, plan)) {
                let line = (file.ino, file.now, file.before, plan);
                text.push_str(&serde_json::to_string(&line)?);
                text.push('\n');
            }
        }
        extend(path, &text)
    }

    /// Appends what copies stand for: each with its original.
    pub(crate) fn append_copies(path: &Path, copies: &[(State, State)]) -> io::Result<()> {
        let mut text = String::from("\n");
        for copy in copies {
            text.push_str(&serde_json::to_string(copy)?);
            text.push('\n');
        }
        extend(path, &text)
    }

    /// Returns which file it was, and when it was changed last by anything but an undo.
    fn real(&self, stat: &Stat) -> State {
        let mut state = (stat.ino, stat.ctime);
        for _ in 0..CHAIN_MAX {
            match self.before.get(&state) {
                Some(earlier) if earlier.1 < state.1 => state = *earlier,
                _ => break,
            }
        }
        state
    }

    /// Returns whether this is the file `ino`, or a copy that stands for it.
    pub(crate) fn is(&self, stat: &Stat, ino: u64) -> bool {
        stat.ino == ino || self.real(stat).0 == ino
    }

    /// Returns whether the file with this status was changed since `time`.
    pub(crate) fn changed_since(&self, stat: &Stat, time: Time) -> bool {
        self.real(stat).1 >= time
    }

    /// Returns the first path at or below `path` that was changed since `time`.
    pub(crate) fn first_changed(
        &self,
        tree: &Tree,
        path: &Path,
        time: Time,
    ) -> io::Result<Option<PathBuf>> {
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let stat = match tree.find(&path) {
                Ok(Some(stat)) => stat,
                Ok(None) => continue,
                // In a directory that may be listed only: as below.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(error),
            };
            if self.changed_since(&stat, time) {
                return Ok(Some(path));
            }
            if stat.is_dir() {
                match tree.names(&path) {
                    Ok(names) => stack.extend(names.into_iter().map(|name| path.join(name))),
                    // Its own time shows what came and went; it moves as a whole.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }
}

fn extend(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
