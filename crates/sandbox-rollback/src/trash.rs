//! Deleting trees that hostile commands made: any depth, any mode, few descriptors.
//!
//! A directory that is not empty is renamed up into the trash before its turn comes, so no path is
//! ever longer than two names. A crash in between leaves only more trash.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::{
    attributes,
    file_error::{FileError, cannot},
    renaming,
    stat::Stat,
    step::step,
    tree::names,
};

/// Moves the directory `path` into `trash` under a name that is free.
pub(crate) fn throw(path: &Path, trash: &Path) -> io::Result<()> {
    let stem = path.file_name().unwrap_or(OsStr::new("set"));
    for number in 0..=u32::MAX {
        let mut name = stem.to_owned();
        name.push(format!(".{number}"));
        let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
        step()?;
        let target = trash.join(name);
        match renaming::to_free_name(from, path, to, target) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// Returns whether `trash` holds so little that a sweep deletes it: one set, and nothing of a set that an earlier
/// sweep did not finish.
pub(crate) fn is_small(trash: &Path) -> bool {
    fs::read_dir(trash).is_ok_and(|entries| entries.take(2).count() == 1)
}

/// Deletes what is in `trash`, at most `budget` files; returns whether it is empty.
///
/// # Errors
///
/// Fails with the first path that cannot be deleted, after deleting all others.
pub(crate) fn empty(trash: &Path, budget: u64) -> Result<bool, FileError> {
    // What a link leads to was not thrown away.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(trash, flags, Mode::empty()).map_err(cannot("open", trash))?;
    empty_open(root, trash, budget)
}

fn empty_open(root: OwnedFd, trash: &Path, budget: u64) -> Result<bool, FileError> {
    let mut bin = Bin {
        root,
        path: trash.to_owned(),
        budget,
        number: 0,
        stuck: BTreeSet::new(),
        error: None,
    };
    loop {
        let mut entries = names(&bin.root).map_err(cannot("list", trash))?;
        entries.retain(|name| !bin.stuck.contains(name));
        if entries.is_empty() {
            break;
        }
        for name in entries {
            if bin.budget == 0 {
                return Ok(false);
            }
            bin.delete(name);
        }
    }
    bin.error.map_or(Ok(true), Err)
}

/// Deletes the directory `root` and all in it, however deep it is and whatever its modes are. What is mounted in it is
/// not deleted.
///
/// # Errors
///
/// Fails with the first path that cannot be deleted, after deleting all others.
pub fn remove_tree(root: &Path) -> Result<(), FileError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(root, flags, Mode::empty()).map_err(cannot("open", root))?;
    clear(&dir, root)?;
    fs::remove_dir(root).map_err(cannot("delete", root))
}

/// Deletes the directory `root` and all in it as [`remove_tree`] does, if it has this device and inode; returns whether
/// it has. Who may write in a directory above it may put something else in its place at any moment: no link on the way
/// is followed, and what was opened is what is deleted.
///
/// # Errors
///
/// As [`remove_tree`].
pub fn remove_known_tree(root: &Path, device_and_inode: (u64, u64)) -> Result<bool, FileError> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)
            .map_err(cannot("open", path))
    };
    let dir = open(root)?;
    let stat = rustix::fs::fstat(&dir).map_err(cannot("read", root))?;
    if (stat.st_dev, stat.st_ino) != device_and_inode {
        return Ok(false);
    }
    clear(&dir, root)?;
    // Whatever has that name by now: only an empty directory goes.
    if let (Some(parent), Some(name)) = (root.parent(), root.file_name()) {
        rustix::fs::unlinkat(open(parent)?, name, AtFlags::REMOVEDIR)
            .map_err(cannot("delete", root))?;
    }
    Ok(true)
}

/// Deletes all in `dir`, also if it is closed to its owner.
fn clear(dir: &OwnedFd, path: &Path) -> Result<(), FileError> {
    let list = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(dir, ".", flags, Mode::empty())
    };
    let emptied = |root: OwnedFd| empty_open(root, path, u64::MAX);
    let is_closed = |error: &FileError| {
        error.path == path && error.source.kind() == io::ErrorKind::PermissionDenied
    };
    match list().map_err(cannot("open", path)).and_then(emptied) {
        Err(error) if is_closed(&error) => {
            attributes::chmod(dir, OsStr::new(""), 0o700).map_err(cannot("open up", path))?;
            emptied(list().map_err(cannot("open", path))?)?;
        }
        result => drop(result?),
    }
    Ok(())
}

struct Bin {
    root: OwnedFd,
    path: PathBuf,
    budget: u64,
    number: u64,
    /// Names that cannot be deleted.
    stuck: BTreeSet<OsString>,
    /// The first path that cannot be deleted, and why.
    error: Option<FileError>,
}

impl Bin {
    fn delete(&mut self, name: OsString) {
        if let Err(error) = self.try_delete(&name) {
            self.stuck.insert(name);
            self.error.get_or_insert(error);
        }
    }

    fn try_delete(&mut self, name: &OsStr) -> Result<(), FileError> {
        let path = self.path.join(name);
        let Some(dir) = self.open(name).map_err(cannot("delete", &path))? else {
            return Ok(());
        };
        let mut stuck = None;
        for inner in names(&dir).map_err(cannot("list", &path))? {
            if self.budget == 0 {
                return Ok(());
            }
            self.budget -= 1;
            if let Err(error) = self.delete_inner(&dir, &inner) {
                stuck.get_or_insert_with(|| cannot("delete", path.join(&inner))(error));
            }
        }
        match stuck {
            Some(error) => Err(error),
            None => remove_directory(&self.root, name).map_err(cannot("delete", &path)),
        }
    }

    /// Opens `name` if it is a directory, and deletes it if it is anything else.
    fn open(&self, name: &OsStr) -> io::Result<Option<OwnedFd>> {
        let Some(stat) = Stat::find(&self.root, name)? else {
            return Ok(None);
        };
        if !stat.is_dir() {
            unlink(&self.root, name)?;
            return Ok(None);
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is mounted here was not thrown away.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let open = |how: OFlags| {
            let opened = rustix::fs::openat2(&self.root, name, flags | how, Mode::empty(), resolve);
            opened.map_err(|error| {
                if error == Errno::XDEV {
                    Errno::BUSY
                } else {
                    error
                }
            })
        };
        if stat.permissions() & 0o700 != 0o700 {
            attributes::chmod(&open(OFlags::PATH)?, OsStr::new(""), 0o700)?;
        }
        Ok(Some(open(OFlags::RDONLY)?))
    }

    fn delete_inner(&mut self, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        match unlink(dir, name) {
            Err(error) if error.raw_os_error() == Some(Errno::ISDIR.raw_os_error()) => {}
            result => return result,
        }
        match remove_directory(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            result => return result,
        }
        // Moving a directory writes its `..`: it must be writable.
        attributes::chmod(dir, name, 0o700)?;
        loop {
            self.number += 1;
            let up = format!("inner-{}", self.number);
            match renaming::to_free_name(dir, name, &self.root, up) {
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                result => return Ok(result?),
            }
        }
    }
}

fn unlink(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        // Somebody else empties the trash too.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_directory(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
