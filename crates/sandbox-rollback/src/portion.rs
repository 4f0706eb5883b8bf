//! What is kept of an operation becomes two sets, so that a part of it can be undone or redone.
//!
//! ```text
//! layers/parting             names the set that is taken apart; checked by whoever takes the lock
//! layers/undo/<id>/parting   the plan of what stays: from here on it will be done
//!                 /part/     the new set: its plan and changes, and then its files
//! layers/undo/<part>/        the new set, when it has all of them
//! ```
//! The same in `undone/`. The workspace is not touched: an undo or redo of the new set does that.

mod error;
mod halves;

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::RenameFlags;
use sandbox_types::{Change, OperationId};
use serde::{Deserialize, Serialize};

pub use error::PortionError;
use halves::halves;

use crate::{
    Direction, OnConflict, RollbackManager,
    apply::{OPEN_TO_OWNER, is_privileged, spot, transfer},
    commit::save_changes,
    file_error::{FileError, cannot},
    journal,
    layout::{self, CHANGES, Layout, SEALED, UNSEALED, make_private},
    picked::{Picked, parted_rename},
    plan::{Identity, Move, Place, Plan},
    retention,
    settle::{self, Finished},
    split::make_directories,
    stat::Stat,
    step::step,
    tree::Tree,
    undo::{self, Done, UndoPlan},
};

/// The name of the plan of what stays, and of the mark that a set is taken apart.
pub(crate) const PARTING: &str = "parting";
/// The name of the new set while its files come.
const PART: &str = "part";

impl RollbackManager {
    /// Returns what an undo or redo of the selected paths alone would do now, without doing it;
    /// `None` if they are all that the operation changed. Globs are read as those of a declared
    /// write set.
    ///
    /// # Errors
    ///
    /// Fails when a glob covers nothing, or cuts through what moves as a whole.
    pub fn portion_plan(
        &self,
        direction: Direction,
        id: &OperationId,
        (globs, on_conflict): (&[String], OnConflict),
    ) -> Result<Option<UndoPlan>, PortionError> {
        let layout = self.layout();
        let kept = Kept::read(layout, direction, id)?;
        match kept.halves(layout, globs)? {
            Some((part, _)) => kept.plan(layout, direction, (part, on_conflict)).map(Some),
            None => Ok(None),
        }
    }

    /// Makes what is kept of the selected paths a set of its own under the id `part`, which can be
    /// undone (or redone) by itself; the rest stays. Returns what the operation changed there; `None`
    /// if all is selected, and nothing was done.
    ///
    /// # Errors
    ///
    /// As [`RollbackManager::portion_plan`]. After any error nothing was done, except for
    /// [`PortionError::Move`]: then recovery completes it.
    pub fn portion(
        &self,
        direction: Direction,
        id: &OperationId,
        (globs, part): (&[String], &OperationId),
    ) -> Result<Option<Vec<Change>>, PortionError> {
        let layout = self.layout();
        let _lock = whole(layout, id)?;
        let kept = Kept::read(layout, direction, id)?;
        let Some(halves) = kept.halves(layout, globs)? else {
            return Ok(None);
        };
        let mark = Mark {
            direction,
            id: id.clone(),
            part: part.clone(),
        };
        part_set(layout, &mark, &halves)?;
        Ok(Some(halves.0.changes))
    }
}

/// Takes the workspace's lock, and completes what was interrupted.
pub(crate) fn whole(layout: &Layout, id: &OperationId) -> Result<OwnedFd, PortionError> {
    let read = |source| PortionError::Read {
        id: id.clone(),
        source,
    };
    let lock = layout.exclusive().map_err(read)?;
    let lock = lock.ok_or(PortionError::Busy)?;
    let finished = settle::finish_journals(layout).map_err(read)?;
    match finished.failed.into_iter().next() {
        Some((id, source)) => Err(PortionError::Unfinished { id, source }),
        None => Ok(lock),
    }
}

/// Takes a set apart.
pub(crate) fn part_set(
    layout: &Layout,
    mark: &Mark,
    halves: &(Half, Half),
) -> Result<(), PortionError> {
    let id = &mark.id;
    prepare(layout, mark, halves).map_err(|source| PortionError::Prepare {
        id: id.clone(),
        source,
    })?;
    finish(layout, mark).map_err(|source| PortionError::Move {
        id: id.clone(),
        source,
    })
}

/// A part of what an operation did.
#[derive(Clone, Default)]
pub(crate) struct Half {
    plan: Plan,
    pub(crate) changes: Vec<Change>,
}

/// What is kept of an operation.
pub(crate) struct Kept {
    id: OperationId,
    set: PathBuf,
    all: Half,
}

impl Kept {
    pub(crate) fn read(
        layout: &Layout,
        direction: Direction,
        id: &OperationId,
    ) -> Result<Self, PortionError> {
        let set = direction.set(layout, id);
        let read = || {
            let plan = journal::read(&set, direction.last().0, layout.workspace_ino()?)?;
            let half = |plan| {
                let changes = undo::saved_changes(&set)?;
                Ok(Half { plan, changes })
            };
            plan.map(half).transpose()
        };
        let all = read().map_err(|source| PortionError::Read {
            id: id.clone(),
            source,
        })?;
        let all = all.ok_or_else(|| PortionError::Unknown { id: id.clone() })?;
        let id = id.clone();
        Ok(Self { id, set, all })
    }

    /// Returns what an undo or redo of the part alone would do.
    pub(crate) fn plan(
        &self,
        layout: &Layout,
        direction: Direction,
        (part, on_conflict): (Half, OnConflict),
    ) -> Result<UndoPlan, PortionError> {
        let id = &self.id;
        let failed = |source| PortionError::Read {
            id: id.clone(),
            source,
        };
        let sealed = layout::seal(&self.set, direction.last().1)
            .map_err(failed)?
            .ok_or_else(|| PortionError::Unknown { id: id.clone() })?;
        let changes = match direction {
            Direction::Undo => undo::mirrored(part.changes),
            Direction::Redo => part.changes,
        };
        let done = Done {
            plan: part.plan,
            sealed,
        };
        undo::take_back(layout, &self.set, (&done, on_conflict), changes).map_err(failed)
    }

    /// Returns what the globs select, and the rest; `None` if there is no rest.
    pub(crate) fn halves(
        &self,
        layout: &Layout,
        globs: &[String],
    ) -> Result<Option<(Half, Half)>, PortionError> {
        let Half { plan, changes } = &self.all;
        let tops: BTreeSet<&Path> = plan.moves.iter().flat_map(Move::paths).collect();
        let all: Vec<&Path> = tops.iter().copied().collect();
        let set = Picked::of(globs, changes, &all).map_err(PortionError::Glob)?;
        let top = |path: &Path| {
            path.ancestors()
                .find(|it| tops.contains(it))
                .map(Path::to_owned)
        };
        let mut met = changes.iter().filter(|it| set.covers(&it.path));
        let cut = met.find_map(|it| top(&it.path).filter(|top| !set.covers(top)));
        if let Some(path) = cut {
            return Err(PortionError::Whole { path });
        }
        let renamed = plan
            .moves
            .iter()
            .filter_map(|it| Some((it.old_path()?, it.path())));
        let mut parted = renamed.filter(|(from, to)| set.covers(from) != set.covers(to));
        if let Some((from, to)) = parted.next() {
            return Err(PortionError::Renamed {
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
        let (part, rest) = halves(plan, changes, &set);
        let picked: BTreeSet<&Path> = part.changes.iter().map(|it| it.path.as_path()).collect();
        if let Some((from, to)) = parted_rename(changes, |path| picked.contains(path)) {
            return Err(PortionError::Renamed { from, to });
        }
        if part.plan.is_empty() || part.changes.is_empty() {
            return Err(PortionError::Nothing {
                id: self.id.clone(),
                globs: globs.join(", "),
            });
        }
        if rest.changes.is_empty() {
            return Ok(None);
        }
        self.check(layout, &part, &rest)?;
        Ok(Some((part, rest)))
    }

    /// Refuses what could not be moved, and to part the names of one file: a write through one
    /// would change the other.
    fn check(&self, layout: &Layout, part: &Half, rest: &Half) -> Result<(), PortionError> {
        let failed = |source| PortionError::Read {
            id: self.id.clone(),
            source,
        };
        let kept = Tree::open(&self.set).map_err(failed)?;
        let workspace = layout.open_workspace().map_err(failed)?;
        let mut inodes = Vec::new();
        for change in &part.plan.moves {
            let path = change.path();
            let look = || -> io::Result<bool> {
                let Some((place, _)) = held(change) else {
                    return Ok(true);
                };
                let place = place.path(path);
                let open = |stat: Stat, mode| is_privileged() || stat.permissions() & mode == mode;
                let Some(stat) = kept.find(&place)? else {
                    return Ok(true);
                };
                let parent = kept.find(place.parent().unwrap_or(Path::new("")))?;
                Ok((!stat.is_dir() || open(stat, 0o200))
                    && parent.is_some_and(|it| open(it, OPEN_TO_OWNER)))
            };
            if !look().map_err(kept.cannot("read", path)).map_err(failed)? {
                let path = path.to_owned();
                return Err(PortionError::Closed { path });
            }
        }
        let mut note = |_: &Path, ino| {
            inodes.push(ino);
            false
        };
        for tree in [(&kept, true), (&workspace, false)] {
            each_link(tree, &part.plan.moves, &mut note).map_err(failed)?;
        }
        if inodes.is_empty() {
            return Ok(());
        }
        let inodes: BTreeSet<u64> = inodes.into_iter().collect();
        let mut parted = None;
        let mut compare = |path: &Path, ino| {
            if inodes.contains(&ino) {
                parted = Some(path.to_owned());
            }
            parted.is_some()
        };
        for tree in [(&kept, true), (&workspace, false)] {
            each_link(tree, &rest.plan.moves, &mut compare).map_err(failed)?;
        }
        parted.map_or(Ok(()), |path| Err(PortionError::HardLink { path }))
    }
}

/// Returns where a move left a file in the set, and which.
const fn held(change: &Move) -> Option<(Place, &Identity)> {
    match change {
        Move::Exchange { leaving, .. } => Some((Place::Upper, leaving)),
        Move::Detach { to, leaving, .. } => Some((*to, leaving)),
        Move::Attach { .. } | Move::Rename { .. } | Move::MakeDirectory { .. } => None,
    }
}

/// Calls `each` with every file that has several names, of those in the set that moves left there or
/// of those in the workspace, until it returns true.
fn each_link(
    (tree, in_set): (&Tree, bool),
    moves: &[Move],
    each: &mut dyn FnMut(&Path, u64) -> bool,
) -> Result<(), FileError> {
    let place = |change: &Move| {
        if in_set {
            held(change).map(|(place, _)| place.path(change.path()))
        } else {
            Some(change.path().to_owned())
        }
    };
    let mut stack: Vec<PathBuf> = moves.iter().filter_map(place).collect();
    while let Some(path) = stack.pop() {
        let look = || -> io::Result<(Option<u64>, Vec<PathBuf>)> {
            let Some(stat) = tree.find(&path)? else {
                return Ok((None, Vec::new()));
            };
            if stat.is_dir() {
                let inner = tree.names(&path)?;
                let inner = inner.into_iter().map(|name| path.join(name));
                return Ok((None, inner.collect()));
            }
            Ok(((stat.nlink > 1).then_some(stat.ino), Vec::new()))
        };
        let (linked, inner) = look().map_err(tree.cannot("read", &path))?;
        if linked.is_some_and(|ino| each(&path, ino)) {
            return Ok(());
        }
        stack.extend(inner);
    }
    Ok(())
}

/// Which set is taken apart.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) direction: Direction,
    pub(crate) id: OperationId,
    pub(crate) part: OperationId,
}

/// Prepares the new set in the old one; when this returns, its files will come.
fn prepare(layout: &Layout, mark: &Mark, (part, rest): &(Half, Half)) -> Result<(), FileError> {
    let whole = mark.direction.set(layout, &mark.id);
    let new = whole.join(PART);
    let (last, _) = mark.direction.last();
    let workspace = layout.workspace_ino()?;
    let begin = || {
        if new.exists() {
            // One that was given up before it had any file.
            crate::trash::throw(&new, &layout.trash())?;
        }
        step()?;
        make_private(&new)?;
        make_private(&new.join("upper"))?;
        for name in ["lock", SEALED, UNSEALED] {
            if whole.join(name).exists() {
                step()?;
                fs::copy(whole.join(name), new.join(name))?;
            }
        }
        Ok(())
    };
    begin().map_err(cannot::<io::Error>("create", &new))?;
    save_changes(&new, &part.changes)?;
    let upper = Tree::open(&new.join("upper"))?;
    let mut made = BTreeSet::from([PathBuf::new()]);
    for change in &part.plan.moves {
        let parent = change.path().parent().unwrap_or(Path::new(""));
        make_directories(&upper, parent, &mut made).map_err(upper.cannot("create", parent))?;
    }
    journal::write(&new, last, workspace, &part.plan)?;
    let path = layout.layers.join(PARTING);
    let set_mark = || {
        let changes = serde_json::to_vec(&rest.changes)?;
        step()?;
        fs::write(whole.join("changes.rest"), changes)?;
        step()?;
        fs::write(&path, serde_json::to_vec(mark)?)?;
        step()?;
        Ok(rustix::fs::syncfs(fs::File::open(&path)?)?)
    };
    set_mark().map_err(cannot::<io::Error>("write", &path))?;
    journal::write(&whole, PARTING, workspace, &rest.plan).inspect_err(|_| {
        // One that stays is done later: both sets are whole then, too.
        drop(step().and_then(|()| fs::remove_file(whole.join(PARTING))));
    })
}

/// Moves the files to the new set, and files it beside the old one.
fn finish(layout: &Layout, mark: &Mark) -> Result<(), FileError> {
    let whole = mark.direction.set(layout, &mark.id);
    let new = whole.join(PART);
    let (last, _) = mark.direction.last();
    let sync = || {
        step()?;
        Ok(rustix::fs::syncfs(fs::File::open(&whole)?)?)
    };
    let sync = || sync().map_err(cannot::<io::Error>("sync the file system of", &whole));
    if new.exists() {
        let plan = journal::read(&new, last, layout.workspace_ino()?)?.unwrap_or_default();
        let (old, target) = (Tree::open(&whole)?, Tree::open(&new)?);
        for change in &plan.moves {
            let Some((place, file)) = held(change) else {
                continue;
            };
            let path = place.path(change.path());
            // What the workspace kept for somebody else's sake is in neither set.
            let transfer = || transfer(spot(&old, &path)?, spot(&target, &path)?, file);
            transfer().map_err(old.cannot("move", &path))?;
        }
        retention::forget_size(&whole)?;
        sync()?;
        let beside = mark.direction.set(layout, &mark.part);
        settle::relocate(&new, &beside).map_err(cannot("file", &new))?;
        sync()?;
    }
    let file = || {
        for (draft, name) in [("changes.rest", CHANGES), (PARTING, last)] {
            step()?;
            let (from, to) = (whole.join(draft), whole.join(name));
            match rustix::fs::renameat_with(
                rustix::fs::CWD,
                from,
                rustix::fs::CWD,
                to,
                RenameFlags::empty(),
            ) {
                Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    };
    file().map_err(cannot::<io::Error>("file", &whole))?;
    sync()?;
    // A mark that stays costs the next command a look.
    drop(step().and_then(|()| fs::remove_file(layout.layers.join(PARTING))));
    Ok(())
}

/// Completes what a killed process left.
pub(crate) fn finish_all(layout: &Layout, finished: &mut Finished) -> Result<(), FileError> {
    let path = layout.layers.join(PARTING);
    let mark: Mark = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => match serde_json::from_slice(&read.map_err(cannot("read", &path))?) {
            Ok(mark) => mark,
            // It is synced before anything moves: this one was not.
            Err(_) => return fs::remove_file(&path).map_err(cannot("remove", &path)),
        },
    };
    let whole = mark.direction.set(layout, &mark.id);
    if !whole.join(PARTING).exists() {
        let remove = || {
            step()?;
            fs::remove_file(&path)
        };
        return remove().map_err(cannot("remove", &path));
    }
    if let Err(error) = finish(layout, &mark) {
        finished.failed.push((mark.id, error));
    }
    Ok(())
}
