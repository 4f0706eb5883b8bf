//! The walk through the upper layer.
//!
//! ```text
//! upper entry            nothing below     a directory below           something else below
//! whiteout               nothing           Detach                      Detach
//! directory              Attach            merge, or Exchange(opaque)  Exchange
//! anything else          Attach            Exchange                    Exchange, if it differs
//! ```
//! Inside of a directory that moves as a whole nothing moves by itself: the entries are only listed,
//! compared and cleaned.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use sandbox_types::{Change, ChangeKind};

mod clean;
mod gone;

use super::{
    ChangesError, Modes, PATH_BYTES_MAX, Stripped, Subject, Survey,
    compare::{self, Comparison, Side},
};
use crate::{
    apply::{OPEN_TO_OWNER, is_privileged},
    attributes::{self, Attributes},
    file_error::{FileError, cannot},
    overlay,
    plan::{Cleaning, Directory, Identity, Move, Place},
    renames::{Ends, Moved},
    root::RootGap,
    stat::{Stat, Time},
    tree::{Tree, names},
    xattr::{self, Xattrs},
};

/// What lies below a directory of the upper layer.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Below {
    /// A directory that shows through: each changed name moves by itself.
    Merged,
    /// A directory that is replaced: the two are only compared.
    Replaced,
    /// Nothing: all in it is new.
    Nothing,
}

struct Frame {
    path: PathBuf,
    below: Below,
}

/// One entry of the upper layer while it is looked at.
struct Entry<'a> {
    name: &'a OsStr,
    path: PathBuf,
    dir: &'a OwnedFd,
    stat: Stat,
    xattrs: Xattrs,
    lower: Option<(&'a OwnedFd, Stat)>,
    below: Below,
}

pub(super) struct Walk<'a> {
    pub(super) upper: Tree,
    pub(super) lower: Tree,
    /// Who hears of each change, instead of a list and a plan of them.
    each: Option<&'a mut dyn FnMut(Change)>,
    /// What came and what went.
    pub(super) ends: Ends,
    started: Time,
    root: Option<RootGap>,
    modes: Modes,
    stack: Vec<Frame>,
    path_bytes: usize,
    pub(super) survey: Survey,
}

impl<'a> Walk<'a> {
    pub(super) fn open(
        subject: &Subject<'_>,
        modes: Modes,
        each: Option<&'a mut dyn FnMut(Change)>,
    ) -> Result<Self, FileError> {
        Ok(Self {
            each,
            ends: Ends::default(),
            upper: Tree::open(&subject.set.join("upper"))?,
            lower: Tree::open_straight(subject.workspace)?,
            started: subject.started,
            root: subject.root.cloned(),
            modes,
            stack: Vec::new(),
            path_bytes: 0,
            survey: Survey::default(),
        })
    }

    /// Returns whether all was seen: it stops when it remembers more than `changes_max` changes.
    pub(super) fn run(&mut self, changes_max: usize) -> Result<bool, ChangesError> {
        let spot = self.upper.spot(Path::new("")).map_err(cannot("open", ""))?;
        let stat = Stat::of_fd(&spot.dir).map_err(cannot("read", ""))?;
        self.visible_mode((&spot.dir, OsStr::new("")), Path::new(""), &stat)?;
        self.stack.push(Frame {
            path: PathBuf::new(),
            below: Below::Merged,
        });
        while let Some(frame) = self.stack.pop() {
            self.directory(&frame)?;
            if self.each.is_some() {
                // Nobody wants the plan: it would grow with the changes.
                self.survey = Survey::default();
            }
            if self.survey.changes.len() > changes_max {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn directory(&mut self, frame: &Frame) -> Result<(), ChangesError> {
        let path = &frame.path;
        let upper = self
            .upper
            .directory(path)
            .map_err(self.upper.cannot("open", path))?;
        let lower = match frame.below {
            Below::Nothing => None,
            Below::Merged | Below::Replaced => Some(
                self.lower
                    .directory(path)
                    .map_err(self.lower.cannot("open", path))?,
            ),
        };
        let xattrs = xattr::read(&upper, OsStr::new(""))
            .map_err(self.upper.cannot("read attributes of", path))?;
        let entries = names(&upper).map_err(self.upper.cannot("list", path))?;
        let moves_before = self.survey.plan.moves.len();
        let mut present = Vec::new();
        for name in &entries {
            let entry = look(frame, name, &upper, lower.as_deref())
                .map_err(self.upper.cannot("read", &path.join(name)))?;
            let hidden = overlay::is_whiteout(&entry.stat)
                || overlay::holds_xattr_whiteouts(&xattrs)
                    && overlay::is_xattr_whiteout(&entry.stat, &entry.xattrs);
            if hidden {
                self.whiteout(&entry)?;
            } else if entry.stat.is_device() {
                self.device(&entry);
            } else {
                present.push(name.clone());
                self.visible(entry)?;
            }
        }
        match (frame.below, lower) {
            (Below::Merged, Some(lower)) => {
                let moved = self.survey.plan.moves.len() > moves_before;
                self.merged(path, (&upper, xattrs), &lower, moved)?;
            }
            (Below::Replaced, Some(lower)) => self.replaced(path, &lower, &present)?,
            _ => {}
        }
        Ok(())
    }

    fn whiteout(&mut self, entry: &Entry<'_>) -> Result<(), ChangesError> {
        match (entry.below, &entry.lower) {
            (Below::Merged, Some((_, lower))) => {
                self.gone(&entry.path)?;
                self.check_leaving(&entry.path, lower)?;
                let to = Place::Kept(self.next_kept());
                self.survey.plan.moves.push(Move::Detach {
                    path: entry.path.clone(),
                    to,
                    leaving: Identity::to_move(lower),
                });
            }
            (Below::Merged, None) => {}
            (Below::Replaced | Below::Nothing, _) => self.shelve(entry),
        }
        Ok(())
    }

    /// Devices stay behind; what the workspace has in their place stays.
    fn device(&mut self, entry: &Entry<'_>) {
        self.strip(&entry.path, Stripped::Device);
        if entry.below != Below::Merged {
            self.shelve(entry);
        }
    }

    fn shelve(&mut self, entry: &Entry<'_>) {
        let number = self.next_kept();
        self.survey.plan.cleanings.push(Cleaning::Shelve {
            path: entry.path.clone(),
            ino: entry.stat.ino,
            number,
            directory: Stat::of_fd(entry.dir).ok().map(|dir| (dir.ino, dir.mtime)),
        });
    }

    fn visible(&mut self, mut entry: Entry<'_>) -> Result<(), ChangesError> {
        if !entry.stat.is_dir() {
            return self.file(&entry);
        }
        let mode = self.visible_mode((entry.dir, entry.name), &entry.path, &entry.stat)?;
        let current = match self.modes.original(&entry.path) {
            Some(closed) => closed | OPEN_TO_OWNER,
            None => mode,
        };
        entry.stat.mode = entry.stat.mode & !0o7777 | mode;
        let lower_dir = entry.lower.filter(|(_, lower)| lower.is_dir());
        let opaque = overlay::is_opaque(&entry.xattrs);
        let below = match (entry.below, lower_dir) {
            (Below::Merged, Some(_)) if !opaque => Below::Merged,
            (Below::Merged | Below::Replaced, Some(_)) => Below::Replaced,
            _ => Below::Nothing,
        };
        self.stack.push(Frame {
            path: entry.path.clone(),
            below,
        });
        if below == Below::Merged {
            return Ok(());
        }
        let kind = match (&entry.lower, lower_dir) {
            (None, _) => Some(ChangeKind::Created),
            (Some(_), None) => Some(ChangeKind::Modified),
            (Some(_), Some((dir, lower))) => directory_kind(&entry, dir, &lower)
                .map_err(self.lower.cannot("read", &entry.path))?,
        };
        self.report(&entry.path, kind, 0)?;
        if kind == Some(ChangeKind::Created) {
            self.note_moved(Moved::Came, &entry.stat);
        }
        self.place(&entry)?;
        let inner = entry.below != Below::Merged;
        let mode = (inner && mode != current).then_some((current, mode));
        let remove = self.strip_marks(&entry);
        self.clean(&entry, remove, mode);
        Ok(())
    }

    fn file(&mut self, entry: &Entry<'_>) -> Result<(), ChangesError> {
        let compared = match &entry.lower {
            None => Comparison {
                kind: Some(ChangeKind::Created),
                same_content: false,
                same_capabilities: false,
            },
            Some((dir, stat)) => {
                let name = entry.name;
                let upper = Side {
                    dir: entry.dir,
                    name,
                    stat: &entry.stat,
                };
                compare::files(upper, &entry.xattrs, Side { dir, name, stat })
                    .map_err(self.upper.cannot("compare", &entry.path))?
            }
        };
        let inner = entry.below != Below::Merged;
        // A hard link moves even if nothing else changed: its other names move too.
        if compared.kind.is_none() && entry.stat.nlink == 1 && !inner {
            return Ok(());
        }
        self.report(&entry.path, compared.kind, entry.stat.file_bytes())?;
        if entry.lower.is_none() {
            self.note_moved(Moved::Came, &entry.stat);
        }
        if entry.lower.is_some_and(|(_, lower)| lower.is_dir()) {
            self.gone_inside(&entry.path)?;
        }
        if entry.stat.is_symlink() {
            self.symlink(entry)?;
        }
        self.place(entry)?;
        let mut remove = self.strip_marks(entry);
        let mode = self.strip_identity(entry, compared, &mut remove);
        self.clean(entry, remove, mode);
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry<'_>) -> Result<(), FileError> {
        let target = rustix::fs::readlinkat(entry.dir, entry.name, Vec::new())
            .map_err(self.upper.cannot("read", &entry.path))?;
        let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
        self.survey.symlinks.push((entry.path.clone(), target));
        Ok(())
    }

    /// Plans the move of an entry whose directory stays.
    fn place(&mut self, entry: &Entry<'_>) -> Result<(), ChangesError> {
        if entry.below != Below::Merged {
            self.note_conflict(&entry.path, entry.lower.map(|(_, lower)| lower));
            return Ok(());
        }
        if let Some((_, lower)) = &entry.lower {
            self.check_leaving(&entry.path, lower)?;
        }
        // A directory that was opened up above gets its mode back after the move, too.
        let opened = self.modes.original(&entry.path);
        let mut entering = Identity::to_move(&entry.stat);
        entering.reopen = opened.or(entering.reopen);
        let path = entry.path.clone();
        if let Some((_, lower)) = &entry.lower {
            self.survey.plan.moves.push(Move::Exchange {
                path,
                leaving: Identity::to_move(lower),
                entering,
            });
            return Ok(());
        }
        // A lower directory cannot be renamed in an overlay: somebody else removed it.
        if entry.stat.is_dir() && overlay::is_copied_up(&entry.xattrs) {
            self.survey.conflicts.push(entry.path.clone());
        }
        self.survey.plan.moves.push(Move::Attach {
            path,
            from: Place::Upper,
            entering,
        });
        Ok(())
    }

    /// Plans the attributes of a directory that stays: also if only names in it change, because
    /// that moves its time.
    fn merged(
        &mut self,
        path: &Path,
        (upper, xattrs): (&OwnedFd, Xattrs),
        lower: &OwnedFd,
        moved: bool,
    ) -> Result<(), ChangesError> {
        let read = || -> io::Result<_> {
            let below = Stat::of_fd(lower)?;
            let before = Attributes::of(&below, xattr::read(lower, OsStr::new(""))?);
            Ok((Stat::of_fd(upper)?, below, before))
        };
        let (above, below, before) = read().map_err(self.lower.cannot("read", path))?;
        let mut after = Attributes::of(&above, xattrs);
        after.mode = self.modes.original(path).unwrap_or(after.mode);
        let is_root = path.as_os_str().is_empty();
        if let Some(gap) = self.root.as_ref().filter(|_| is_root) {
            after = gap.bridge(after, &before);
        }
        if overlay::has_forged_marks(&after.xattrs, &before.xattrs) {
            let shown = if is_root { Path::new(".") } else { path };
            self.strip(shown, Stripped::OverlayMarks);
        }
        after.xattrs = overlay::merged(&after.xattrs, &before.xattrs);
        let changed_meanwhile = below.ctime >= self.started;
        if changed_meanwhile {
            after.mtime = after.mtime.max(before.mtime);
        }
        let same_but_time = after.same_but_time(&before);
        let touched = after.mtime != before.mtime && !changed_meanwhile;
        if !same_but_time || touched && !moved {
            let shown = if is_root { Path::new(".") } else { path };
            self.report(shown, Some(ChangeKind::Metadata), 0)?;
            if same_but_time {
                self.survey.touched.insert(shown.to_owned());
            }
            if changed_meanwhile {
                self.survey.conflicts.push(shown.to_owned());
            }
        }
        if !moved && after == before {
            return Ok(());
        }
        if below.pinned {
            return Err(ChangesError::Pinned {
                path: path.to_owned(),
            });
        }
        self.survey.plan.directories.push(Directory {
            path: path.to_owned(),
            ino: below.ino,
            ctime: below.ctime,
            before,
            after,
        });
        Ok(())
    }

    /// Notes that somebody else changed the path since the transaction began.
    fn note_conflict(&mut self, path: &Path, lower: Option<Stat>) {
        if lower.is_some_and(|lower| lower.ctime >= self.started) {
            self.survey.conflicts.push(path.to_owned());
        }
    }

    fn check_leaving(&mut self, path: &Path, lower: &Stat) -> Result<(), ChangesError> {
        self.note_conflict(path, Some(*lower));
        if lower.pinned {
            return Err(ChangesError::Pinned {
                path: path.to_owned(),
            });
        }
        Ok(())
    }

    fn report(
        &mut self,
        path: &Path,
        kind: Option<ChangeKind>,
        bytes: u64,
    ) -> Result<(), ChangesError> {
        let Some(kind) = kind else {
            return Ok(());
        };
        self.path_bytes += path.as_os_str().len();
        if self.path_bytes > PATH_BYTES_MAX && self.each.is_none() {
            return Err(ChangesError::TooLarge);
        }
        let change = Change::new(path, kind, bytes);
        match &mut self.each {
            Some(each) => each(change),
            None => self.survey.changes.push(change),
        }
        Ok(())
    }

    /// Remembers that the change that was reported last may be one end of a rename.
    fn note_moved(&mut self, moved: Moved, stat: &Stat) {
        if self.each.is_none() {
            self.ends.note(moved, self.survey.changes.len() - 1, stat);
        }
    }

    /// Returns the mode that the guest left on a directory, and opens it up if its owner cannot read
    /// it.
    fn visible_mode(
        &mut self,
        (dir, name): (&OwnedFd, &OsStr),
        path: &Path,
        stat: &Stat,
    ) -> Result<u32, FileError> {
        if let Some(original) = self.modes.original(path) {
            return Ok(original);
        }
        let mode = stat.permissions();
        if is_privileged() || mode & OPEN_TO_OWNER == OPEN_TO_OWNER {
            return Ok(mode);
        }
        self.modes
            .remember(path, mode)
            .and_then(|()| attributes::chmod(dir, name, mode | OPEN_TO_OWNER))
            .map_err(self.upper.cannot("open up", path))?;
        Ok(mode)
    }

    fn next_kept(&mut self) -> u64 {
        self.survey.kept += 1;
        self.survey.kept
    }
}

fn look<'a>(
    frame: &Frame,
    name: &'a OsStr,
    upper: &'a OwnedFd,
    lower: Option<&'a OwnedFd>,
) -> io::Result<Entry<'a>> {
    let stat = Stat::at(upper, name)?;
    let xattrs = if overlay::is_whiteout(&stat) {
        Xattrs::new()
    } else {
        xattr::read(upper, name)?
    };
    let lower = match lower {
        Some(dir) => Stat::find(dir, name)?.map(|stat| (dir, stat)),
        None => None,
    };
    Ok(Entry {
        name,
        path: frame.path.join(name),
        dir: upper,
        stat,
        xattrs,
        lower,
        below: frame.below,
    })
}

fn directory_kind(
    entry: &Entry<'_>,
    dir: &OwnedFd,
    lower: &Stat,
) -> io::Result<Option<ChangeKind>> {
    let below = Attributes::of(lower, xattr::read(dir, entry.name)?);
    let xattrs = overlay::merged(&entry.xattrs, &below.xattrs);
    let same = Attributes::of(&entry.stat, xattrs) == below;
    Ok((!same).then_some(ChangeKind::Metadata))
}
