//! Deleting trees that hostile commands made: any depth, any mode, few descriptors.
//!
//! A directory that is not empty is renamed up into the trash before its turn comes, so no path is
//! ever longer than two names. A crash in between leaves only more trash.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::{attributes, stat::Stat, step::step, tree::names};

/// Moves the directory `path` into `trash` under a name that is free.
pub(crate) fn throw(path: &Path, trash: &Path) -> io::Result<()> {
    let stem = path.file_name().unwrap_or(OsStr::new("set"));
    for number in 0..=u32::MAX {
        let mut name = stem.to_owned();
        name.push(format!(".{number}"));
        let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
        step()?;
        let target = trash.join(name);
        match rustix::fs::renameat_with(from, path, to, target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// Deletes what is in `trash`, at most `budget` files; returns whether it is empty.
///
/// # Errors
///
/// Fails with the first error after deleting all that can be deleted.
pub(crate) fn empty(trash: &Path, budget: u64) -> io::Result<bool> {
    let root = OwnedFd::from(fs::File::open(trash)?);
    let mut bin = Bin {
        root,
        budget,
        number: 0,
        stuck: BTreeSet::new(),
        error: None,
    };
    loop {
        let mut entries = names(&bin.root)?;
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

struct Bin {
    root: OwnedFd,
    budget: u64,
    number: u64,
    /// Names that cannot be deleted.
    stuck: BTreeSet<OsString>,
    error: Option<io::Error>,
}

impl Bin {
    fn delete(&mut self, name: OsString) {
        if let Err(error) = self.try_delete(&name) {
            self.stuck.insert(name);
            self.error.get_or_insert(error);
        }
    }

    fn try_delete(&mut self, name: &OsStr) -> io::Result<()> {
        let Some(stat) = Stat::find(&self.root, name)? else {
            return Ok(());
        };
        if !stat.is_dir() {
            return unlink(&self.root, name);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if stat.permissions() & 0o700 != 0o700 {
            attributes::chmod(&self.root, name, 0o700)?;
        }
        let dir = rustix::fs::openat(&self.root, name, flags, Mode::empty())?;
        for inner in names(&dir)? {
            if self.budget == 0 {
                return Ok(());
            }
            self.budget -= 1;
            self.delete_inner(&dir, &inner)?;
        }
        remove_directory(&self.root, name)
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
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(dir, name, &self.root, up, flags) {
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
