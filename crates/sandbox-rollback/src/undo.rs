//! Undo: what a commit replaced or deleted returns, what it brought moves out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind, OperationId};

mod opened;

use opened::Opened;

use crate::{
    attributes::Attributes,
    commit::counted,
    file_error::{FileError, cannot},
    journal,
    layout::{CHANGES, JOURNAL, Layout, UNDOING, sealed},
    ledger::Ledger,
    plan::{Cleaning, Directory, Identity, Move, Place, Plan},
    reserve, settle,
    stat::{Stat, Time},
    step::step,
    tree::Tree,
};

/// What an undo or a redo would do.
#[derive(Clone, Debug)]
pub struct UndoPlan {
    /// What would change in the workspace.
    pub changes: Vec<Change>,
    /// Paths that were edited since.
    pub conflicts: Vec<PathBuf>,
    pub(crate) plan: Plan,
}

/// An undo that is complete and durable.
#[derive(Clone, Debug)]
pub struct Undone {
    /// What changed in the workspace.
    pub changes: Vec<Change>,
    /// Paths that had been edited since the commit; the edits were moved aside, not lost.
    pub overwritten: Vec<PathBuf>,
    /// Paths that somebody else changed while the undo ran. They were left alone.
    pub left_alone: Vec<PathBuf>,
}

/// What to do with paths that were edited since the commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnConflict {
    /// Change nothing and fail with the list of them.
    Refuse,
    /// Put them back too, moving the edited files aside.
    Force,
}

/// The operation is not undone; the workspace is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// There is nothing to undo under this id.
    #[error("cannot undo operation '{id}': nothing is kept for it")]
    Unknown {
        /// Which operation.
        id: OperationId,
    },
    /// Another commit, undo or recovery takes too long.
    #[error("cannot undo operation '{id}': the workspace is busy with another commit or undo")]
    Busy {
        /// Which operation.
        id: OperationId,
    },
    /// The lock could not be taken.
    #[error("cannot lock the workspace")]
    Lock {
        /// Why.
        #[source]
        source: FileError,
    },
    /// An earlier commit or undo was interrupted and cannot be completed.
    #[error("cannot undo while operation '{id}' is half-way")]
    Unfinished {
        /// The earlier one.
        id: OperationId,
        /// Why it cannot be completed.
        #[source]
        source: FileError,
    },
    /// These paths were edited since the commit.
    #[error("cannot undo operation '{id}': {} changed since", counted(paths))]
    Conflict {
        /// Which operation.
        id: OperationId,
        /// Relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// What is kept could not be read or compared with the workspace.
    #[error("cannot plan the undo of operation '{id}'")]
    Plan {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The plan could not be made durable.
    #[error("cannot record the undo of operation '{id}'")]
    Record {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and those before it were taken back.
    #[error("cannot put back what operation '{id}' changed")]
    Apply {
        /// Which operation.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A change failed, and so did taking back those before it: recovery goes on with it.
    #[error("cannot complete the undo of operation '{id}' now")]
    Interrupted {
        /// Which operation.
        id: OperationId,
        /// Why it cannot go on.
        #[source]
        source: FileError,
    },
}

pub(crate) fn undo(
    layout: &Layout,
    id: &OperationId,
    on_conflict: OnConflict,
) -> Result<Undone, UndoError> {
    let _lock = layout
        .exclusive()
        .map_err(|source| UndoError::Lock { source })?
        .ok_or_else(|| UndoError::Busy { id: id.clone() })?;
    let finished = settle::finish_journals(layout).map_err(|source| UndoError::Lock { source })?;
    if let Some((id, source)) = finished.failed.into_iter().next() {
        return Err(UndoError::Unfinished { id, source });
    }
    let UndoPlan {
        changes,
        conflicts,
        plan,
    } = plan(layout, id)?;
    if on_conflict == OnConflict::Refuse && !conflicts.is_empty() {
        return Err(UndoError::Conflict {
            id: id.clone(),
            paths: conflicts,
        });
    }
    let set = layout.undo(id);
    let record = |source| UndoError::Record {
        id: id.clone(),
        source,
    };
    let workspace = layout.workspace_ino().map_err(record)?;
    reserve::take(&set, &plan).map_err(record)?;
    journal::write(&set, UNDOING, workspace, &plan).map_err(|source| {
        match step().and_then(|()| fs::remove_file(set.join(UNDOING))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => UndoError::Interrupted {
                id: id.clone(),
                source: cannot("withdraw", set.join(UNDOING))(error),
            },
            _ => {
                reserve::release(&set);
                record(source)
            }
        }
    })?;
    let left_alone = settle::finish_undo(layout, id, &plan).map_err(|source| {
        let id = id.clone();
        match settle::revert_undo(layout, &id, &plan) {
            Ok(()) => UndoError::Apply { id, source },
            Err(_) => UndoError::Interrupted { id, source },
        }
    })?;
    Ok(Undone {
        changes,
        overwritten: conflicts,
        left_alone,
    })
}

/// Compares what is kept with the workspace. The plan is the forced one: without conflicts there is
/// no difference.
pub(crate) fn plan(layout: &Layout, id: &OperationId) -> Result<UndoPlan, UndoError> {
    let set = layout.undo(id);
    if !set.join(JOURNAL).exists() {
        return Err(UndoError::Unknown { id: id.clone() });
    }
    compute(layout, &set).map_err(|source| UndoError::Plan {
        id: id.clone(),
        source,
    })
}

fn compute(layout: &Layout, set: &Path) -> Result<UndoPlan, FileError> {
    let workspace = layout.workspace_ino()?;
    let missing = || cannot("find", set)(io::Error::from(io::ErrorKind::NotFound));
    let plan = journal::read(set, JOURNAL, workspace)?.ok_or_else(missing)?;
    let sealed = sealed(set)?.ok_or_else(missing)?;
    let changes = mirrored(saved_changes(set)?);
    take_back(layout, set, &Done { plan, sealed }, changes)
}

/// A plan that was done, and when that was complete.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) sealed: Time,
}

/// Plans to take back what was done. The plan is the forced one: without conflicts there is no
/// difference.
pub(crate) fn take_back(
    layout: &Layout,
    set: &Path,
    Done { plan: done, sealed }: &Done,
    changes: Vec<Change>,
) -> Result<UndoPlan, FileError> {
    let ledger = layout.ledger();
    let mut planner = Planner {
        tree: Tree::open(&layout.workspace)?,
        opened: Opened::new(&layout.workspace)?,
        ledger: Ledger::load(&ledger).map_err(cannot("read", &ledger))?,
        sealed: *sealed,
        attributes: directories_before(done),
        next_kept: highest_kept(done).max(highest_in(set)?) + 1,
        vacated: BTreeSet::new(),
        moves: Vec::new(),
        conflicts: Vec::new(),
    };
    let back = done.inverse();
    planner.opened.open_up(&back.directories)?;
    for change in &back.moves {
        planner
            .invert(change)
            .map_err(cannot("compare", layout.workspace.join(change.path())))?;
    }
    let mut directories = Vec::new();
    for directory in &back.directories {
        let path = &directory.path;
        directories.extend(
            planner
                .directory(directory)
                .map_err(cannot("compare", layout.workspace.join(path)))?,
        );
    }
    let Planner {
        moves,
        mut conflicts,
        ..
    } = planner;
    conflicts.sort_unstable();
    conflicts.dedup();
    Ok(UndoPlan {
        changes,
        conflicts,
        plan: Plan {
            cleanings: Vec::new(),
            moves,
            directories,
        },
    })
}

struct Planner {
    tree: Tree,
    opened: Opened,
    ledger: Ledger,
    sealed: Time,
    /// Attributes before the commit, for directories that must be made again.
    attributes: BTreeMap<PathBuf, Attributes>,
    next_kept: u64,
    /// Paths that an earlier move of the plan takes away.
    vacated: BTreeSet<PathBuf>,
    moves: Vec<Move>,
    conflicts: Vec<PathBuf>,
}

impl Planner {
    fn invert(&mut self, change: &Move) -> io::Result<()> {
        let present = self.tree.find(change.path())?;
        match change {
            Move::Exchange {
                path,
                leaving,
                entering,
            } => {
                let Some(stat) = present else {
                    self.conflicts.push(path.clone());
                    self.make_parents(path)?;
                    self.moves.push(Move::Attach {
                        path: path.clone(),
                        from: Place::Upper,
                        entering: *entering,
                    });
                    return Ok(());
                };
                let leaving = self.leaving(path, &stat, leaving)?;
                self.moves.push(Move::Exchange {
                    path: path.clone(),
                    leaving,
                    entering: *entering,
                });
            }
            Move::Detach { path, to, leaving } => {
                // Deleted since: that is what an undo would do.
                if let Some(stat) = present {
                    let leaving = self.leaving(path, &stat, leaving)?;
                    self.vacated.insert(path.clone());
                    self.moves.push(Move::Detach {
                        path: path.clone(),
                        to: *to,
                        leaving,
                    });
                }
            }
            Move::Attach { path, .. } => {
                if self.vacated.contains(path) {
                    // What stands there now leaves before.
                } else if let Some(stat) = present {
                    self.conflicts.push(path.clone());
                    self.set_aside(path, &stat);
                } else {
                    self.make_parents(path)?;
                }
                self.moves.push(change.clone());
            }
            Move::MakeDirectory { .. } => {}
        }
        Ok(())
    }

    /// Returns what leaves the workspace, noting a conflict if it is not what the commit left.
    fn leaving(&mut self, path: &Path, stat: &Stat, left: &Identity) -> io::Result<Identity> {
        let edited = if self.ledger.is(stat, left.ino) {
            self.ledger.first_changed(&self.tree, path, self.sealed)?
        } else {
            Some(path.to_owned())
        };
        let Some(edited) = edited else {
            let copy = Identity {
                reopen: left.reopen,
                ..Identity::of(stat)
            };
            return Ok(if stat.ino == left.ino { *left } else { copy });
        };
        self.conflicts.push(edited);
        Ok(Identity::of(stat))
    }

    fn set_aside(&mut self, path: &Path, stat: &Stat) {
        self.moves.push(Move::Detach {
            path: path.to_owned(),
            to: Place::Kept(self.next_kept),
            leaving: Identity::of(stat),
        });
        self.next_kept += 1;
    }

    /// Plans the directories above `path` that were removed since.
    fn make_parents(&mut self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for parent in path.ancestors().skip(1) {
            let planned = |change: &Move| matches!(change, Move::MakeDirectory { path, .. } if path == parent);
            if self.moves.iter().any(planned) {
                break;
            }
            match self.tree.find(parent)? {
                Some(stat) if stat.is_dir() => break,
                Some(stat) => {
                    missing.push(parent.to_owned());
                    self.set_aside(parent, &stat);
                    break;
                }
                None => missing.push(parent.to_owned()),
            }
        }
        if !missing.is_empty() {
            self.conflicts.push(path.to_owned());
        }
        for path in missing.into_iter().rev() {
            let attributes = self.attributes.get(&path).cloned();
            self.moves.push(Move::MakeDirectory { path, attributes });
        }
        Ok(())
    }

    /// Returns how a directory that stayed gets its attributes back; `None` if it is gone.
    fn directory(&mut self, directory: &Directory) -> io::Result<Option<Directory>> {
        let path = &directory.path;
        let Some(stat) = self.tree.find(path)? else {
            return Ok(None);
        };
        if !self.ledger.is(&stat, directory.ino) {
            return Ok(None);
        }
        let spot = self.tree.spot(path)?;
        let mut now = Attributes::read(&spot.dir, &spot.name)?;
        now.mode = self.opened.mode(path).unwrap_or(now.mode);
        let mut back = directory.clone();
        if stat.ino != directory.ino {
            (back.ino, back.ctime) = (stat.ino, stat.ctime);
        }
        if !now.same_but_time(&directory.before) {
            let shown = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            self.conflicts.push(shown.to_owned());
        }
        if now != directory.before {
            // Names or attributes changed since: the time of that edit stays, and it stays an edit
            // in the eyes of the undo of an older operation.
            back.after.mtime = now.mtime;
            back.ctime = stat.ctime;
        }
        back.before = now;
        Ok(Some(back))
    }
}

fn directories_before(plan: &Plan) -> BTreeMap<PathBuf, Attributes> {
    let pair = |directory: &Directory| (directory.path.clone(), directory.before.clone());
    plan.directories.iter().map(pair).collect()
}

fn highest_kept(plan: &Plan) -> u64 {
    let moved = plan.moves.iter().filter_map(|change| match change {
        Move::Attach {
            from: Place::Kept(number),
            ..
        }
        | Move::Detach {
            to: Place::Kept(number),
            ..
        } => Some(*number),
        Move::Attach { .. }
        | Move::Detach { .. }
        | Move::Exchange { .. }
        | Move::MakeDirectory { .. } => None,
    });
    let shelved = plan.cleanings.iter().filter_map(|cleaning| match cleaning {
        Cleaning::Shelve { number, .. } => Some(*number),
        Cleaning::Attributes { .. } => None,
    });
    moved.chain(shelved).max().unwrap_or(0)
}

/// Returns the highest number among the files that were set aside.
fn highest_in(set: &Path) -> Result<u64, FileError> {
    let kept = set.join("kept");
    let entries = match fs::read_dir(&kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(cannot("list", &kept))?,
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.flatten().filter_map(number).max().unwrap_or(0))
}

/// Returns what the commit changed.
pub(crate) fn saved_changes(set: &Path) -> Result<Vec<Change>, FileError> {
    let path = set.join(CHANGES);
    let read = || Ok(serde_json::from_slice(&fs::read(&path)?)?);
    read().map_err(cannot::<io::Error>("read", &path))
}

/// Returns the changes that take these back.
pub(crate) fn mirrored(changes: Vec<Change>) -> Vec<Change> {
    let mirror = |change: Change| Change {
        kind: match change.kind {
            ChangeKind::Created | ChangeKind::Renamed => ChangeKind::Deleted,
            ChangeKind::Deleted => ChangeKind::Created,
            ChangeKind::Modified => ChangeKind::Modified,
            ChangeKind::Metadata => ChangeKind::Metadata,
        },
        ..change
    };
    changes.into_iter().map(mirror).collect()
}
