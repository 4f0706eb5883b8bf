//! Where things lie on disk.
//!
//! ```text
//! layers/lock                 flock: alone for commit, undo, recovery; shared for begin
//! layers/ledger               times of files that an undo put back, see ledger.rs
//! layers/tx/<id>/lock         begin's record; its flock is held while the transaction is in use
//!               /upper /work  the overlay's
//!               /modes        see survey::Modes
//!               /held         waits for review
//!               /kept/<n>     files set aside by the commit
//!               /changes      what the commit changes, as JSON
//!               /journal      the commit's plan: from here on it will be done
//!               /sealed       all done, and when
//! layers/tx/.ready<n>/        one of the next ones', whose overlay may be mounted already: see ready.rs
//! layers/undo/<id>/           the same directory after its commit
//!                 /undoing    the undo's plan: from here on it will be done
//! layers/undone/<id>/         the same directory after its undo
//!                   /unsealed the undo is complete, and since when
//!                   /redoing  the redo's plan: from here on it will be done
//! layers/redo                 a redo may be half-way: what was undone is looked through
//! layers/together             several operations are undone or redone as one: see together.rs
//! layers/parting              a set is taken apart: see portion.rs
//! layers/trash/               to be deleted
//! layers/spare<n>/            the directory of an ended transaction, for a later one: see spare.rs
//! ```

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use sandbox_types::OperationId;
use serde::{Deserialize, Serialize};

use crate::{
    file_error::{FileError, cannot},
    lock,
    root::RootGap,
    stat::Time,
    tree::Tree,
};

/// The name of the file that says that a transaction waits for review.
pub(crate) const HELD: &str = "held";
/// No operation has an id that begins so.
const READY: &str = ".ready";
/// How many directories are made ready at the same time, and how many are kept for later.
const READY_MAX: usize = 16;
const SPARES_MAX: usize = 16;
/// The name of the list of what a commit changes.
pub(crate) const CHANGES: &str = "changes";
/// The name of a commit's committed plan.
pub(crate) const JOURNAL: &str = "journal";
/// The name of an undo's committed plan.
pub(crate) const UNDOING: &str = "undoing";
/// The name of a redo's committed plan.
pub(crate) const REDOING: &str = "redoing";
/// The name of the file that says that a commit is complete.
pub(crate) const SEALED: &str = "sealed";
/// The name of the file that says that an undo is complete.
pub(crate) const UNSEALED: &str = "unsealed";

/// The paths of one workspace and of the directory that keeps its transactions.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) workspace: PathBuf,
    pub(crate) layers: PathBuf,
}

/// What begin records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The inode of the workspace's root.
    pub(crate) workspace: u64,
    /// The file system's time.
    pub(crate) started: Time,
    /// What the root of the upper layer could not get; usually nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<RootGap>,
}

impl Layout {
    /// The directories inside of `layers`.
    pub(crate) const PARTS: [&str; 4] = ["tx", "undo", "undone", "trash"];

    /// Returns the name in the workspace's root below which the layers lie, if they lie in the workspace: it is
    /// nothing of the workspace's.
    pub(crate) fn own_name(&self) -> Option<&OsStr> {
        let inside = self.layers.strip_prefix(&self.workspace).ok()?;
        inside.iter().next()
    }

    pub(crate) fn tx(&self, id: &OperationId) -> PathBuf {
        self.layers.join("tx").join(id.as_str())
    }

    pub(crate) fn undo(&self, id: &OperationId) -> PathBuf {
        self.layers.join("undo").join(id.as_str())
    }

    pub(crate) fn undone(&self, id: &OperationId) -> PathBuf {
        self.layers.join("undone").join(id.as_str())
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.layers.join("trash")
    }

    /// Returns where directories of ended transactions are kept for the next ones.
    pub(crate) fn spares(&self) -> impl Iterator<Item = PathBuf> {
        numbered(self.layers.clone(), "spare", SPARES_MAX)
    }

    /// Returns the mark that says that a redo may be half-way.
    pub(crate) fn redo_mark(&self) -> PathBuf {
        self.layers.join("redo")
    }

    /// Returns the list of operations that are undone or redone as one.
    pub(crate) fn together(&self) -> PathBuf {
        self.layers.join("together")
    }

    /// Returns where directories are made ready.
    pub(crate) fn readies(&self) -> impl Iterator<Item = PathBuf> {
        numbered(self.layers.join("tx"), READY, READY_MAX)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.layers.join("ledger")
    }

    /// Opens the workspace's lock file; each use needs its own descriptor.
    pub(crate) fn lock(&self) -> Result<OwnedFd, FileError> {
        let path = self.layers.join("lock");
        lock::open(&path).map_err(cannot("open", path))
    }

    /// Takes the workspace's lock alone; `None` if another process holds it too long.
    pub(crate) fn exclusive(&self) -> Result<Option<OwnedFd>, FileError> {
        let file = self.lock()?;
        let path = self.layers.join("lock");
        let taken = lock::wait_exclusive(&file).map_err(cannot("lock", path))?;
        Ok(taken.then_some(file))
    }

    /// Opens the workspace. Who may write in a directory above it may put a link in its place at any moment, to
    /// have us write where they may not: none is followed.
    pub(crate) fn open_workspace(&self) -> Result<Tree, FileError> {
        Tree::open_straight(&self.workspace)
    }

    /// Returns the inode of the workspace's root.
    pub(crate) fn workspace_ino(&self) -> Result<u64, FileError> {
        Ok(self.open_workspace()?.stat()?.ino)
    }

    /// Returns the ids in one of the parts, in no order.
    pub(crate) fn ids(&self, part: &str) -> Result<Vec<OperationId>, FileError> {
        let path = self.layers.join(part);
        let list = || -> io::Result<Vec<OperationId>> {
            let mut ids = Vec::new();
            for entry in fs::read_dir(&path)? {
                let name = entry?.file_name();
                ids.extend(name.to_str().and_then(|name| name.parse().ok()));
            }
            Ok(ids)
        };
        list().map_err(cannot("list", &path))
    }
}

/// Returns so many paths: `name`, `name1`, `name2` …
fn numbered(directory: PathBuf, name: &'static str, count: usize) -> impl Iterator<Item = PathBuf> {
    (0..count).map(move |number| match number {
        0 => directory.join(name),
        _ => directory.join(format!("{name}{number}")),
    })
}

/// Creates a directory for its owner alone; it is no error if it is there.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Reads begin's record in a set's directory.
pub(crate) fn begun(set: &Path) -> Result<Begun, FileError> {
    let path = set.join("lock");
    let read = || Ok(serde_json::from_slice(&fs::read(&path)?)?);
    read().map_err(cannot::<io::Error>("read", &path))
}

/// Reads when the commit of a set was completed; `None` if it was not.
pub(crate) fn sealed(set: &Path) -> Result<Option<Time>, FileError> {
    seal(set, SEALED)
}

/// Reads the time in the seal of this name; `None` if there is none.
pub(crate) fn seal(set: &Path, name: &str) -> Result<Option<Time>, FileError> {
    let path = set.join(name);
    let read = || match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    read().map_err(cannot::<io::Error>("read", &path))
}
