//! The front door: opens the layers of one workspace, begins, lists, undoes, recovers, cleans up.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sandbox_types::OperationId;

mod errors;

pub use errors::{BeginError, OpenError, ResumeError, UpkeepError};

use crate::{
    Direction,
    begin::fill,
    file_error::{FileError, cannot},
    layout::{Begun, HELD, JOURNAL, Layout, begun, make_private, sealed},
    lock,
    portion::PARTING,
    ready,
    repository::Repository,
    settle, spare,
    stat::{Stat, Time},
    transaction::Transaction,
    trash,
    undo::{OnConflict, UndoError, UndoPlan, Undone},
};

/// How many files of the trash one recovery deletes; it stands before the next operation.
const RECOVERY_TRASH_FILES_MAX: u64 = 4096;

/// How long a held transaction may still be locked after its operation.
const HELD_WAIT_MAX: Duration = Duration::from_millis(500);

/// How many files one sweep deletes: a millisecond's work.
const SWEEP_FILES_MAX: u64 = 64;

/// How often a directory is tried to be removed that should be empty, and the pause between.
const REMOVALS_MAX: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// The transactions and undo sets of one workspace.
#[derive(Clone, Debug)]
pub struct RollbackManager {
    layout: Layout,
}

/// What a recovery found and settled.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Open transactions of dead processes: discarded.
    pub interrupted: Vec<OperationId>,
    /// Commits that had begun: completed.
    pub completed: Vec<OperationId>,
    /// Undos that had begun: completed.
    pub undone: Vec<OperationId>,
    /// Redos that had begun: completed.
    pub redone: Vec<OperationId>,
    /// Of several that were undone or redone as one: as if that had not been begun.
    pub reversed: Vec<OperationId>,
    /// Paths of those that somebody else had changed meanwhile: left alone.
    pub left_alone: Vec<PathBuf>,
    /// What could not be settled, and why. Nothing of it was deleted.
    pub failed: Vec<(OperationId, FileError)>,
    /// Whether the trash is empty now.
    pub trash_is_empty: bool,
}

impl RollbackManager {
    /// Opens the layers of `workspace`, an absolute path without links. `layers` is a directory on
    /// the same mount, outside of the workspace; it is created for its owner alone.
    ///
    /// # Errors
    ///
    /// Fails when one of these conditions does not hold or a directory cannot be made.
    pub fn open(workspace: &Path, layers: &Path) -> Result<Self, OpenError> {
        if layers.starts_with(workspace) {
            return Err(OpenError::Inside {
                layers: layers.to_owned(),
            });
        }
        Self::open_anywhere(workspace, layers)
    }

    /// Opens layers that lie in the workspace: where it is a mount point, nothing else is on its mount. Snapshots,
    /// restores and comparisons leave out the entry of its root that they lie in. Whoever runs commands has to
    /// hide it from them.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_within(workspace: &Path, layers: &Path) -> Result<Self, OpenError> {
        if layers == workspace || !layers.starts_with(workspace) {
            return Err(OpenError::Outside {
                layers: layers.to_owned(),
            });
        }
        Self::open_anywhere(workspace, layers)
    }

    fn open_anywhere(workspace: &Path, layers: &Path) -> Result<Self, OpenError> {
        let not_a_workspace = || OpenError::Workspace {
            path: workspace.to_owned(),
        };
        let root = Stat::at(rustix::fs::CWD, workspace)
            .ok()
            .filter(|stat| stat.is_dir() && workspace.is_absolute())
            .ok_or_else(not_a_workspace)?;
        let prepare = |source| OpenError::Prepare { source };
        make_private(layers)
            .map_err(cannot("create", layers))
            .map_err(prepare)?;
        let stat = Stat::at(rustix::fs::CWD, layers)
            .map_err(cannot("read", layers))
            .map_err(prepare)?;
        let layout = Layout {
            workspace: workspace.to_owned(),
            layers: layers.to_owned(),
        };
        if (stat.dev, stat.mount) != (root.dev, root.mount) {
            return Err(OpenError::OtherFileSystem {
                layers: layout.layers,
            });
        }
        let owner = rustix::process::geteuid().as_raw();
        let is_ours = |stat: &Stat| stat.is_dir() && stat.uid == owner;
        let leads_there =
            |above: &Path| Stat::at(rustix::fs::CWD, above).is_ok_and(|stat| stat.is_dir());
        if !is_ours(&stat)
            || stat.permissions() & 0o077 != 0
            || !layers.parent().is_some_and(leads_there)
        {
            return Err(OpenError::Exposed {
                layers: layout.layers,
            });
        }
        for part in Layout::PARTS {
            let path = layers.join(part);
            let stat = make_private(&path)
                .and_then(|()| Stat::at(rustix::fs::CWD, &path))
                .map_err(cannot("create", &path))
                .map_err(prepare)?;
            if !is_ours(&stat) {
                return Err(OpenError::Exposed { layers: path });
            }
        }
        Ok(Self { layout })
    }

    pub(crate) fn with_layout(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
        }
    }

    /// Returns the snapshots of the workspace that are kept in `directory`, which is made with the
    /// first of them. It may lie on another file system, and not in the workspace.
    pub fn repository(&self, directory: &Path) -> Repository {
        Repository::new(self.layout.clone(), directory)
    }

    /// Returns where [`Self::begin`] makes an operation's upper and work directories.
    pub fn directories(&self, id: &OperationId) -> [PathBuf; 2] {
        let set = self.layout.tx(id);
        ["upper", "work"].map(|name| set.join(name))
    }

    /// Makes an empty upper layer for an operation.
    ///
    /// # Errors
    ///
    /// Fails when the id is in use, when a commit or undo holds the workspace for more than ten
    /// seconds, or when a directory cannot be made.
    pub fn begin(&self, id: &OperationId) -> Result<Transaction, BeginError> {
        self.begin_ready(id, None)
    }

    /// As [`Self::begin`], in the directory that [`Self::make_ready`] made and whose lock is `ready`, if it can be
    /// used; [`Transaction::upper`] then is the same directory as it was there.
    ///
    /// # Errors
    ///
    /// As [`Self::begin`].
    pub fn begin_ready(
        &self,
        id: &OperationId,
        ready: Option<OwnedFd>,
    ) -> Result<Transaction, BeginError> {
        let layout = &self.layout;
        let prepare = |source| BeginError::Prepare {
            id: id.clone(),
            source,
        };
        // Recovery must not see the directory before its lock is taken.
        let gate = layout.lock().map_err(prepare)?;
        let taken = lock::wait_shared(&gate)
            .map_err(cannot("lock", layout.layers.join("lock")))
            .map_err(prepare)?;
        if !taken {
            return Err(BeginError::Busy { id: id.clone() });
        }
        let set = layout.tx(id);
        let exists = || BeginError::Exists { id: id.clone() };
        if layout.undo(id).exists() {
            return Err(exists());
        }
        if let Some((lock, begun)) = ready.and_then(|lock| ready::claim(layout, &set, lock)) {
            return Ok(transaction(layout, id, lock, begun));
        }
        let spare = spare::claim(layout, &set);
        if spare.is_none() {
            match fs::DirBuilder::new().mode(0o700).create(&set) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
                result => result.map_err(cannot("create", &set)).map_err(prepare)?,
            }
        }
        let (lock, begun) = fill(layout, &set, spare).map_err(|source| {
            // If this fails too, recovery discards it.
            drop(trash::throw(&set, &layout.trash()));
            prepare(source)
        })?;
        Ok(transaction(layout, id, lock, begun))
    }

    /// Returns the operations whose changes wait for review, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn pending(&self) -> Result<Vec<OperationId>, UpkeepError> {
        let mut held = Vec::new();
        for id in self.layout.ids("tx")? {
            let set = self.layout.tx(&id);
            if set.join(HELD).exists() && !set.join(JOURNAL).exists() {
                held.push((begun(&set)?.started, id));
            }
        }
        Ok(in_order(held))
    }

    /// Takes up a transaction that was held for review.
    ///
    /// # Errors
    ///
    /// Fails when nothing is held under this id or another process works on it.
    pub fn resume(&self, id: &OperationId) -> Result<Transaction, ResumeError> {
        let set = self.layout.tx(id);
        if !set.join(HELD).exists() || set.join(JOURNAL).exists() {
            return Err(ResumeError::NotHeld { id: id.clone() });
        }
        let record = |source| ResumeError::Record {
            id: id.clone(),
            source,
        };
        let path = set.join("lock");
        let lock = lock::open(&path)
            .map_err(cannot("open", &path))
            .map_err(record)?;
        // Its confinement may just be taken down.
        let taken = lock::wait_exclusive_for(&lock, HELD_WAIT_MAX)
            .map_err(cannot("lock", &path))
            .map_err(record)?;
        if !taken {
            return Err(ResumeError::Busy { id: id.clone() });
        }
        let begun = begun(&set).map_err(record)?;
        Ok(transaction(&self.layout, id, lock, begun))
    }

    /// Returns the operations that can be undone, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn undoable(&self) -> Result<Vec<OperationId>, UpkeepError> {
        self.ready_to(Direction::Undo)
    }

    /// Returns what an undo would do now, without doing it, if it is forced.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::plan_of`].
    pub fn undo_plan(&self, id: &OperationId) -> Result<UndoPlan, UndoError> {
        self.plan_of(Direction::Undo, id, OnConflict::Force)
    }

    /// Puts the workspace back to before the operation's commit, in the paths that it changed.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::go`].
    pub fn undo(&self, id: &OperationId, on_conflict: OnConflict) -> Result<Undone, UndoError> {
        self.go(Direction::Undo, id, on_conflict)
    }

    /// Returns the operations whose undo can be taken back, the one that was undone last at the end.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn redoable(&self) -> Result<Vec<OperationId>, UpkeepError> {
        self.ready_to(Direction::Redo)
    }

    /// Returns what a redo would do now, without doing it, if it is forced.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::plan_of`].
    pub fn redo_plan(&self, id: &OperationId) -> Result<UndoPlan, UndoError> {
        self.plan_of(Direction::Redo, id, OnConflict::Force)
    }

    /// Puts the workspace back to after the operation's commit, in the paths that its undo changed.
    /// Then it can be undone again.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::go`].
    pub fn redo(&self, id: &OperationId, on_conflict: OnConflict) -> Result<Undone, UndoError> {
        self.go(Direction::Redo, id, on_conflict)
    }

    /// Settles what killed processes left: transactions in nobody's use are discarded, commits and
    /// undos that had begun are completed, a small trash is emptied.
    ///
    /// # Errors
    ///
    /// Fails when the lock is held for more than ten seconds or the layers cannot be read. What
    /// cannot be settled by itself is listed in the result.
    pub fn recover(&self) -> Result<Recovery, UpkeepError> {
        let layout = &self.layout;
        let _lock = layout.exclusive()?.ok_or(UpkeepError::Busy)?;
        let finished = settle::finish_journals(layout)?;
        let mut recovery = Recovery {
            completed: finished.commits,
            undone: finished.undos,
            redone: finished.redos,
            reversed: finished.reversed,
            left_alone: finished.left_alone,
            failed: finished.failed,
            ..Recovery::default()
        };
        for id in layout.ids("tx")? {
            let set = layout.tx(&id);
            if set.join(HELD).exists() || set.join(JOURNAL).exists() || in_use(&set)? {
                continue;
            }
            match trash::throw(&set, &layout.trash()).map_err(cannot("discard", &set)) {
                Ok(()) => recovery.interrupted.push(id),
                Err(error) => recovery.failed.push((id, error)),
            }
        }
        // What cannot be deleted costs space; it must not stand before every operation.
        let emptied = if recovery.interrupted.is_empty() && trash::is_small(&layout.trash()) {
            Ok(false)
        } else {
            trash::empty(&layout.trash(), RECOVERY_TRASH_FILES_MAX)
        };
        recovery.trash_is_empty = emptied.unwrap_or(false);
        Ok(recovery)
    }

    /// Deletes a little of what was discarded: for moments in which somebody waits for something else.
    pub fn sweep(&self) {
        // What is left is found again by the next sweep or recovery.
        drop(trash::empty(&self.layout.trash(), SWEEP_FILES_MAX));
    }

    /// Deletes what was discarded. Deleting costs far more than renaming: call it when nobody waits.
    ///
    /// # Errors
    ///
    /// Fails with the first file that cannot be deleted, after deleting the others.
    pub fn empty_trash(&self) -> Result<(), UpkeepError> {
        trash::empty(&self.layout.trash(), u64::MAX)?;
        Ok(())
    }

    /// Deletes the layers with all that can be undone. The workspace stays as it is.
    ///
    /// # Errors
    ///
    /// Fails when an operation is still in use, when a commit or undo is half-way, or with the first
    /// file that cannot be deleted, after deleting all others.
    pub fn remove_all(self) -> Result<(), UpkeepError> {
        let layout = &self.layout;
        let lock = layout.exclusive()?.ok_or(UpkeepError::Busy)?;
        let finished = settle::finish_journals(layout)?;
        if let Some((_, source)) = finished.failed.into_iter().next() {
            return Err(UpkeepError::File { source });
        }
        for id in layout.ids("tx")? {
            if in_use(&layout.tx(&id))? {
                return Err(UpkeepError::InUse { id });
            }
        }
        let trash = layout.trash();
        let mut stuck = None;
        let parts = Layout::PARTS.into_iter().filter(|part| *part != "trash");
        let parts = parts.map(|part| layout.layers.join(part));
        let spares = layout.spares().filter(|spare| spare.exists());
        for path in parts.chain(spares) {
            if let Err(error) = trash::throw(&path, &trash) {
                stuck.get_or_insert_with(|| cannot("discard", &path)(error));
            }
        }
        if let Err(error) = trash::empty(&trash, u64::MAX) {
            stuck.get_or_insert(error);
        }
        remove_file(&layout.ledger())?;
        remove_file(&layout.redo_mark())?;
        remove_file(&layout.layers.join(PARTING))?;
        remove_file(&layout.together())?;
        if let Some(source) = stuck {
            return Err(UpkeepError::File { source });
        }
        fs::remove_dir(&trash).map_err(cannot("remove", &trash))?;
        remove_file(&layout.layers.join("lock"))?;
        drop(lock);
        remove_emptied(&layout.layers).map_err(cannot("remove", &layout.layers))?;
        Ok(())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn sealed_sets(&self, part: &str) -> Result<Vec<(Time, OperationId)>, UpkeepError> {
        let mut sets = Vec::new();
        for id in self.layout.ids(part)? {
            let set = self.layout.layers.join(part).join(id.as_str());
            sets.extend(sealed(&set)?.map(|time| (time, id)));
        }
        Ok(sets)
    }
}

fn transaction(layout: &Layout, id: &OperationId, lock: OwnedFd, begun: Begun) -> Transaction {
    let set = layout.tx(id);
    Transaction {
        id: id.clone(),
        layout: layout.clone(),
        upper: set.join("upper"),
        work: set.join("work"),
        set,
        started: begun.started,
        workspace_ino: begun.workspace,
        root: begun.root,
        lock,
    }
}

pub(crate) fn in_order(mut sets: Vec<(Time, OperationId)>) -> Vec<OperationId> {
    sets.sort_unstable();
    sets.into_iter().map(|(_, id)| id).collect()
}

/// Returns whether a live process holds the transaction in `set`.
pub(crate) fn in_use(set: &Path) -> Result<bool, FileError> {
    let path = set.join("lock");
    let probe = || match fs::OpenOptions::new().read(true).open(&path) {
        Ok(file) => Ok(!lock::try_exclusive(&file.into())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    probe().map_err(cannot::<io::Error>("lock", &path))
}

/// Removes a directory. Network and FUSE file systems keep a file that was removed while it was open, under another
/// name, until some time after it is closed.
fn remove_emptied(path: &Path) -> io::Result<()> {
    for _ in 0..REMOVALS_MAX {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::park_timeout(REMOVAL_PAUSE);
            }
            result => return result,
        }
    }
    fs::remove_dir(path)
}

fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path)(error)),
        _ => Ok(()),
    }
}
