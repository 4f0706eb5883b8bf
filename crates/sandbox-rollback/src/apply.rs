//! The engine: does a plan, so that doing it again after a crash changes nothing.
//!
//! Each move looks at the inodes on both sides first. If they lie as the plan left them, it is done;
//! if as the plan found them, it does it; otherwise somebody else changed the path meanwhile, and it
//! is left alone and reported.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::fs::Mode;

use crate::{
    attributes::{self, Attributes},
    file_error::{FileError, cannot},
    layout::Layout,
    plan::{Cleaning, Directory, Identity, Move, Place, Plan},
    renaming,
    stat::{Stat, Time, is_absent},
    step::{self, step},
    tree::{Spot, Tree, is_link},
    xattr::{self, Xattrs},
};

/// The permission that a directory's owner needs to change names in it.
pub(crate) const OPEN_TO_OWNER: u32 = 0o700;

/// The two sides of a plan.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) workspace: Tree,
    pub(crate) set: Tree,
    set_path: PathBuf,
}

impl Sides {
    /// Opens both directories.
    pub(crate) fn open(layout: &Layout, set: &Path) -> Result<Self, FileError> {
        Ok(Self {
            workspace: layout.open_workspace()?,
            set: Tree::open(set)?,
            set_path: set.to_owned(),
        })
    }

    /// Does `plan` and returns the paths that it left alone.
    pub(crate) fn apply(&self, plan: &Plan) -> Result<Vec<PathBuf>, FileError> {
        for cleaning in &plan.cleanings {
            self.clean(cleaning, Way::Forward)?;
        }
        self.moves_and_directories(plan)
    }

    /// Takes back as much of `plan` as was done.
    pub(crate) fn revert(&self, plan: &Plan) -> Result<(), FileError> {
        self.moves_and_directories(&plan.inverse())?;
        for cleaning in plan.cleanings.iter().rev() {
            self.clean(cleaning, Way::Back)?;
        }
        Ok(())
    }

    fn moves_and_directories(&self, plan: &Plan) -> Result<Vec<PathBuf>, FileError> {
        self.forget();
        if !is_privileged() {
            for directory in plan.directories.iter().rev() {
                self.open_up(directory)?;
            }
        }
        self.settle_aside(plan)
            .map_err(cannot("settle what was set aside in", &self.set_path))?;
        let mut left_alone = Vec::new();
        for change in &plan.moves {
            let path = change.path();
            let fit = self
                .make(change)
                .map_err(self.workspace.cannot("change", path))?;
            if fit == Fit::Foreign {
                left_alone.push(path.to_owned());
            }
        }
        self.forget();
        for directory in &plan.directories {
            self.finish(directory)
                .map_err(self.workspace.cannot("set attributes of", &directory.path))?;
        }
        Ok(left_alone)
    }

    /// Makes everything durable that was written to the file system of both sides.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        let sync = || {
            step()?;
            step::sync_file_system(File::open(&self.set_path)?)
        };
        sync().map_err(cannot::<io::Error>(
            "sync the file system of",
            &self.set_path,
        ))
    }

    /// Returns the place of a file that changes places with another one, where that takes several steps.
    fn aside(&self) -> io::Result<Spot> {
        self.set.spot(Path::new("aside"))
    }

    /// Finishes or reverses an exchange of the plan that took several steps and was interrupted. What is nobody's there,
    /// because the workspace has changed meanwhile, is kept among the files that were set aside: it may be the last of
    /// its kind, and its place is needed.
    fn settle_aside(&self, plan: &Plan) -> io::Result<()> {
        let aside = self.aside()?;
        let Some(file) = Stat::find(&aside.dir, &aside.name)? else {
            return Ok(());
        };
        for change in &plan.moves {
            let Move::Exchange {
                path,
                leaving,
                entering,
            } = change
            else {
                continue;
            };
            let files = [leaving.ino, entering.ino];
            if files.contains(&file.ino)
                && let Some(outside) = spot(&self.workspace, path)?
                && let Some(kept) = spot(&self.set, &Place::Upper.path(path))?
            {
                renaming::complete((&kept, &outside, &aside), files)?;
            }
        }
        if ino(&aside)?.is_none() {
            return Ok(());
        }
        let number = highest_kept(&self.set_path)?.max(plan.highest_kept()) + 1;
        let place = self.set.spot(&Place::Kept(number).path(Path::new("")))?;
        step()?;
        rename(&aside, &place)
    }

    fn forget(&self) {
        self.workspace.forget();
        self.set.forget();
    }

    fn make(&self, change: &Move) -> io::Result<Fit> {
        match change {
            Move::Exchange {
                path,
                leaving,
                entering,
            } => self.exchange(path, leaving, entering),
            Move::Attach {
                path,
                from,
                entering,
            } => {
                let from = spot(&self.set, &from.path(path))?;
                transfer(from, spot(&self.workspace, path)?, entering)
            }
            Move::Detach { path, to, leaving } => {
                let to = spot(&self.set, &to.path(path))?;
                transfer(spot(&self.workspace, path)?, to, leaving)
            }
            Move::Rename { from, to, file } => {
                let (from, to) = (spot(&self.workspace, from)?, spot(&self.workspace, to)?);
                transfer(from, to, file)
            }
            Move::MakeDirectory { path, attributes } => {
                self.make_directory(path, attributes.as_ref())
            }
        }
    }

    fn exchange(&self, path: &Path, leaving: &Identity, entering: &Identity) -> io::Result<Fit> {
        let outside = spot(&self.workspace, path)?;
        let kept = spot(&self.set, &Place::Upper.path(path))?;
        let (Some(outside), Some(kept)) = (outside, kept) else {
            return Ok(Fit::Foreign);
        };
        let present = (ino(&outside)?, ino(&kept)?);
        if present == (Some(leaving.ino), Some(entering.ino)) {
            open_to_move(&outside, leaving)?;
            open_to_move(&kept, entering)?;
            step()?;
            renaming::exchange(&kept, &outside, &self.aside()?)?;
        } else if present != (Some(entering.ino), Some(leaving.ino)) {
            return Ok(Fit::Foreign);
        }
        as_it_was(&outside, entering)?;
        as_it_was(&kept, leaving)?;
        Ok(Fit::Done)
    }

    fn make_directory(&self, path: &Path, attributes: Option<&Attributes>) -> io::Result<Fit> {
        let Some(spot) = spot(&self.workspace, path)? else {
            return Ok(Fit::Foreign);
        };
        step()?;
        match rustix::fs::mkdirat(&spot.dir, &spot.name, Mode::RWXU) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Ok(Fit::Done),
            Err(error) => return Err(error.into()),
        }
        if let Some(attributes) = attributes {
            attributes.apply(&spot.dir, &spot.name)?;
        }
        Ok(Fit::Done)
    }

    /// Lets an unprivileged owner change names in a directory; [`Self::finish`] closes it again.
    fn open_up(&self, directory: &Directory) -> Result<(), FileError> {
        let path = &directory.path;
        let open = || {
            let Some(spot) = spot(&self.workspace, path)? else {
                return Ok(());
            };
            match Stat::find(&spot.dir, &spot.name)? {
                Some(stat) if stat.is_dir() && stat.ino == directory.ino => {
                    widen(&spot, stat.permissions() | OPEN_TO_OWNER)
                }
                _ => Ok(()),
            }
        };
        open().map_err(self.workspace.cannot::<io::Error>("open up", path))
    }

    fn finish(&self, directory: &Directory) -> io::Result<()> {
        let Some(spot) = spot(&self.workspace, &directory.path)? else {
            return Ok(());
        };
        match Stat::find(&spot.dir, &spot.name)? {
            Some(stat) if stat.ino == directory.ino => {
                let set = directory.after.apply(&spot.dir, &spot.name);
                // Only its owner may set them, also where others may change the names in it.
                let is_denied = |error: &io::Error| {
                    error.kind() == io::ErrorKind::PermissionDenied && !is_own(&stat)
                };
                set.or_else(|error| {
                    if is_denied(&error) {
                        Ok(())
                    } else {
                        Err(error)
                    }
                })
            }
            // Another file stands there now: its attributes are not ours to set.
            _ => Ok(()),
        }
    }

    fn clean(&self, cleaning: &Cleaning, way: Way) -> Result<(), FileError> {
        match cleaning {
            Cleaning::Attributes {
                path,
                ino,
                remove,
                set,
                mode,
            } => {
                let (remove, set, mode) = match way {
                    Way::Forward => (remove, set, mode.map(|(_, after)| after)),
                    Way::Back => (set, remove, mode.map(|(before, _)| before)),
                };
                self.clean_attributes((path, *ino), (remove, set), mode)
                    .map_err(self.set.cannot("clean", path))
            }
            Cleaning::Shelve {
                path,
                ino,
                number,
                directory,
            } => {
                let clean = || {
                    let entry = self.to_clean(path, *ino)?;
                    let from_dir = entry.as_ref().map(|entry| Rc::clone(&entry.dir));
                    let shelf = spot(&self.set, &Place::Kept(*number).path(path))?;
                    let (from, to) = match way {
                        Way::Forward => (entry, shelf),
                        Way::Back => (shelf, entry),
                    };
                    let same_file = from.as_ref().map(self::ino).transpose()?.flatten();
                    if same_file == Some(*ino)
                        && let (Some(from), Some(to)) = (from, to)
                    {
                        step()?;
                        rename(&from, &to)?;
                    }
                    keep_time(from_dir, *directory)
                };
                clean().map_err(self.set.cannot::<io::Error>("set aside", path))
            }
        }
    }

    /// Returns where a file that must be cleaned lies. A power cut may keep its move into the
    /// workspace and lose its cleaning, which was before that.
    fn to_clean(&self, path: &Path, expected: u64) -> io::Result<Option<Spot>> {
        let upper = spot(&self.set, &Place::Upper.path(path))?;
        if upper.as_ref().map(ino).transpose()?.flatten() == Some(expected) {
            return Ok(upper);
        }
        let moved = spot(&self.workspace, path)?;
        let is_moved = moved.as_ref().map(ino).transpose()?.flatten() == Some(expected);
        Ok(if is_moved { moved } else { upper })
    }

    fn clean_attributes(
        &self,
        (path, expected): (&Path, u64),
        (remove, set): (&Xattrs, &Xattrs),
        mode: Option<u32>,
    ) -> io::Result<()> {
        let Some(spot) = self.to_clean(path, expected)? else {
            return Ok(());
        };
        if ino(&spot)? != Some(expected) {
            return Ok(());
        }
        let proc_path = xattr::proc_path(&spot.dir, &spot.name);
        if let Some(mode) = mode {
            widen(&spot, mode | 0o600)?;
        }
        for name in remove.keys().filter(|name| !set.contains_key(*name)) {
            step()?;
            xattr::remove(&proc_path, name)?;
        }
        for (name, value) in set {
            step()?;
            xattr::set(&proc_path, name, value)?;
        }
        if let Some(mode) = mode {
            step()?;
            attributes::chmod(&spot.dir, &spot.name, mode)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Way {
    Forward,
    Back,
}

/// What a move found.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Fit {
    /// It is done, now or before.
    Done,
    /// Somebody else changed the path.
    Foreign,
}

/// Moves one file to a name that must be free.
pub(crate) fn transfer(from: Option<Spot>, to: Option<Spot>, file: &Identity) -> io::Result<Fit> {
    let Some(to) = to else {
        return Ok(Fit::Foreign);
    };
    let arrived = ino(&to)?;
    if arrived == Some(file.ino) {
        as_it_was(&to, file)?;
        return Ok(Fit::Done);
    }
    let present = from.as_ref().map(ino).transpose()?.flatten();
    let (Some(from), true, None) = (from, present == Some(file.ino), arrived) else {
        return Ok(Fit::Foreign);
    };
    open_to_move(&from, file)?;
    step()?;
    rename(&from, &to)?;
    as_it_was(&to, file)?;
    Ok(Fit::Done)
}

/// Gives a directory back the time that it had, if it is the one that was meant.
fn keep_time(dir: Option<Rc<OwnedFd>>, had: Option<(u64, Time)>) -> io::Result<()> {
    let (Some(dir), Some((ino, mtime))) = (dir, had) else {
        return Ok(());
    };
    let now = Stat::of_fd(&dir)?;
    if now.ino != ino || now.mtime == mtime {
        return Ok(());
    }
    step()?;
    attributes::set_mtime(&dir, OsStr::new(""), mtime)
}

/// Returns the place of `path`, or `None` if a directory above it is not there.
pub(crate) fn spot(tree: &Tree, path: &Path) -> io::Result<Option<Spot>> {
    match tree.spot(path) {
        Ok(spot) => Ok(Some(spot)),
        Err(error) if is_absent(&error) || is_link(&error) => Ok(None),
        // An unprivileged owner closed the directory: this step was done before the crash.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_privileged() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the highest number among the files that were set aside.
pub(crate) fn highest_kept(set: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(set.join("kept")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.flatten().filter_map(number).max().unwrap_or(0))
}

fn ino(spot: &Spot) -> io::Result<Option<u64>> {
    Ok(Stat::find(&spot.dir, &spot.name)?.map(|stat| stat.ino))
}

pub(crate) fn rename(from: &Spot, to: &Spot) -> io::Result<()> {
    Ok(renaming::to_free_name(
        &from.dir, &from.name, &to.dir, &to.name,
    )?)
}

/// Renaming a directory to another parent writes its `..`, which needs write permission.
fn open_to_move(spot: &Spot, file: &Identity) -> io::Result<()> {
    match file.reopen {
        Some(mode) => widen(spot, mode | OPEN_TO_OWNER),
        None => Ok(()),
    }
}

/// Gives a file that moved back what the move, or [`open_to_move`], took from it.
fn as_it_was(spot: &Spot, file: &Identity) -> io::Result<()> {
    if let Some(mtime) = file.mtime
        && let Some(now) = Stat::find(&spot.dir, &spot.name)?
        && now.ino == file.ino
        && now.mtime != mtime
    {
        step()?;
        match attributes::set_mtime(&spot.dir, &spot.name, mtime) {
            // Only its owner may, and a time is no reason to stop half-way.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_privileged() => {}
            done => done?,
        }
    }
    let Some(mode) = file.reopen else {
        return Ok(());
    };
    step()?;
    attributes::chmod(&spot.dir, &spot.name, mode)
}

fn widen(Spot { dir, name }: &Spot, mode: u32) -> io::Result<()> {
    let (dir, name): (&OwnedFd, &OsStr) = (dir, name);
    if Stat::at(dir, name)?.permissions() == mode {
        return Ok(());
    }
    step()?;
    attributes::chmod(dir, name, mode)
}

/// Whether this process may set the attributes of a file.
fn is_own(stat: &Stat) -> bool {
    is_privileged() || stat.uid == rustix::process::geteuid().as_raw()
}

/// Returns whether permissions do not bind this process.
pub(crate) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}
