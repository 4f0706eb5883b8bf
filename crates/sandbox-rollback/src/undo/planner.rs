//! What takes a plan back: its inverse, compared with the workspace as it is now.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::Change;

use super::{OnConflict, UndoPlan, opened::Opened};
use crate::{
    apply::highest_kept,
    attributes::Attributes,
    file_error::{FileError, cannot},
    layout::Layout,
    ledger::Ledger,
    plan::{Directory, Identity, Move, Place, Plan},
    stat::{Stat, Time},
    tree::Tree,
};

/// The longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A plan that was done, and when that was complete.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) sealed: Time,
}

/// Plans to take back what was done. Without conflicts it is the same plan whatever `on_conflict`
/// says; a refusal plans as if it were forced.
pub(crate) fn take_back(
    layout: &Layout,
    set: &Path,
    (Done { plan: done, sealed }, on_conflict): (&Done, OnConflict),
    mut changes: Vec<Change>,
) -> Result<UndoPlan, FileError> {
    let ledger = layout.ledger();
    let set_aside = highest_kept(set).map_err(cannot("list", set.join("kept")))?;
    let mut planner = Planner {
        tree: layout.open_workspace()?,
        opened: Opened::new(layout)?,
        ledger: Ledger::load(&ledger).map_err(cannot("read", &ledger))?,
        sealed: *sealed,
        attributes: directories_before(done),
        next_kept: done.highest_kept().max(set_aside) + 1,
        keep_both: on_conflict == OnConflict::KeepBoth,
        kept: Vec::new(),
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
        kept,
        ..
    } = planner;
    conflicts.sort_unstable();
    conflicts.dedup();
    let moved_to = |it: &Change| Some((it.from.clone()?, it.path.clone()));
    let aside = kept.iter().filter_map(moved_to).collect();
    changes.extend(kept);
    changes.sort_unstable();
    Ok(UndoPlan {
        changes,
        conflicts,
        kept: aside,
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
    /// Whether edited files stay in the workspace, and those that do, with their new paths.
    keep_both: bool,
    kept: Vec<Change>,
    /// Paths that an earlier move of the plan takes away.
    vacated: BTreeSet<PathBuf>,
    moves: Vec<Move>,
    conflicts: Vec<PathBuf>,
}

impl Planner {
    fn invert(&mut self, change: &Move) -> io::Result<()> {
        let present = self.tree.find(change.old_path().unwrap_or(change.path()))?;
        match change {
            Move::Exchange {
                path,
                leaving,
                entering,
            } => self.exchange(path, present, (leaving, entering))?,
            Move::Detach { path, to, leaving } => {
                // Deleted since: that is what an undo would do.
                let Some(stat) = present else {
                    return Ok(());
                };
                let (leaving, edited) = self.leaving(path, &stat, leaving)?;
                self.vacated.insert(path.clone());
                if edited && self.keep_both {
                    return self.set_aside(path, &stat);
                }
                self.moves.push(Move::Detach {
                    path: path.clone(),
                    to: *to,
                    leaving,
                });
            }
            Move::Attach { path, .. } => {
                self.make_room(path)?;
                self.moves.push(change.clone());
            }
            Move::Rename { from, to, file } => {
                let Some(stat) = present else {
                    // Nothing is left of it: what was deleted since cannot go back.
                    self.conflicts.push(from.clone());
                    return Ok(());
                };
                let (file, _) = self.leaving(from, &stat, file)?;
                self.make_room(to)?;
                self.vacated.insert(from.clone());
                self.moves.push(Move::Rename {
                    from: from.clone(),
                    to: to.clone(),
                    file,
                });
            }
            Move::MakeDirectory { .. } => {}
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        path: &Path,
        present: Option<Stat>,
        (leaving, entering): (&Identity, &Identity),
    ) -> io::Result<()> {
        let attach = Move::Attach {
            path: path.to_owned(),
            from: Place::Upper,
            entering: *entering,
        };
        let Some(stat) = present else {
            self.conflicts.push(path.to_owned());
            self.make_parents(path)?;
            self.moves.push(attach);
            return Ok(());
        };
        let (leaving, edited) = self.leaving(path, &stat, leaving)?;
        if edited && self.keep_both {
            self.set_aside(path, &stat)?;
            self.moves.push(attach);
            return Ok(());
        }
        self.moves.push(Move::Exchange {
            path: path.to_owned(),
            leaving,
            entering: *entering,
        });
        Ok(())
    }

    /// Returns what leaves the workspace, and whether it is not what the plan before left: a
    /// conflict.
    fn leaving(
        &mut self,
        path: &Path,
        stat: &Stat,
        left: &Identity,
    ) -> io::Result<(Identity, bool)> {
        let edited = if self.ledger.is(stat, left.ino) {
            self.ledger.first_changed(&self.tree, path, self.sealed)?
        } else {
            Some(path.to_owned())
        };
        let Some(edited) = edited else {
            let copy = Identity {
                reopen: left.reopen,
                ..Identity::to_move(stat)
            };
            let same = if stat.ino == left.ino { *left } else { copy };
            return Ok((same, false));
        };
        self.conflicts.push(edited);
        Ok((Identity::to_move(stat), true))
    }

    /// Plans that nothing stands at `path`, and that there is a directory for it.
    fn make_room(&mut self, path: &Path) -> io::Result<()> {
        let brought = |it: &Move| matches!(it, Move::Attach { path: top, .. } if path.starts_with(top) && path != top);
        if self.vacated.contains(path) || self.moves.iter().any(brought) {
            // What stands there now leaves before, or its directory comes before.
            return Ok(());
        }
        match self.tree.find(path)? {
            Some(stat) => {
                self.conflicts.push(path.to_owned());
                self.set_aside(path, &stat)
            }
            None => self.make_parents(path),
        }
    }

    /// Plans that what stands at `path` goes out of the way.
    fn set_aside(&mut self, path: &Path, stat: &Stat) -> io::Result<()> {
        if self.keep_both {
            let aside = self.free_name(path)?;
            let kept = Change::renamed(path, &aside, stat.file_bytes());
            self.kept.push(kept);
            self.moves.push(Move::Rename {
                from: path.to_owned(),
                to: aside,
                file: Identity::to_move(stat),
            });
            return Ok(());
        }
        self.moves.push(Move::Detach {
            path: path.to_owned(),
            to: Place::Kept(self.next_kept),
            leaving: Identity::to_move(stat),
        });
        self.next_kept += 1;
        Ok(())
    }

    /// Returns a path beside `path` that is free, and that the plan does not use either.
    fn free_name(&self, path: &Path) -> io::Result<PathBuf> {
        for number in 1_u32.. {
            let aside = path.with_file_name(edited_name(path, number));
            let planned = self.moves.iter().any(|it| it.paths().any(|it| it == aside));
            if !planned && self.tree.find(&aside)?.is_none() {
                return Ok(aside);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
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
                    self.set_aside(parent, &stat)?;
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

/// Returns the name that an edited file gets: `NAME.edited`, then `NAME.edited-2`.
fn edited_name(path: &Path, number: u32) -> OsString {
    let ending = match number {
        1 => ".edited".to_owned(),
        _ => format!(".edited-{number}"),
    };
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut room = NAME_BYTES_MAX - ending.len();
    // Not in the middle of a character.
    while room > 0 && name.get(room).is_some_and(|byte| byte & 0xc0 == 0x80) {
        room -= 1;
    }
    let mut edited = OsStr::from_bytes(&name[..name.len().min(room)]).to_owned();
    edited.push(ending);
    edited
}

fn directories_before(plan: &Plan) -> BTreeMap<PathBuf, Attributes> {
    let pair = |directory: &Directory| (directory.path.clone(), directory.before.clone());
    plan.directories.iter().map(pair).collect()
}
