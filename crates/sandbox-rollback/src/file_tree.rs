//! Reading a hostile directory tree from outside of this crate: by file descriptor, never through a
//! link, never on to another mount.

use std::{ffi::OsString, fs::File, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{file_error::FileError, stat::Stat, transaction::Transaction, tree::Tree};

/// An open directory tree whose files are read one by one.
#[derive(Debug)]
pub struct FileTree {
    tree: Tree,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Opened {
    /// A directory, to be listed.
    Directory,
    /// A regular file, open for reading, and its size in bytes.
    File(File, u64),
    /// A link, pipe, socket or device, which is not opened.
    Other,
    /// Nothing, or a whiteout of an overlay.
    Nothing,
}

impl FileTree {
    /// Opens the directory `path` itself, which is trusted: links on the way to it are followed.
    ///
    /// # Errors
    ///
    /// Fails when it is no directory or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Tree::open(path).map(|tree| Self { tree })
    }

    /// Returns the names in a directory of the tree, sorted; the empty path is the tree itself.
    ///
    /// # Errors
    ///
    /// Fails when the path is no directory, lies on another mount, or cannot be read.
    pub fn names(&self, path: &Path) -> Result<Vec<OsString>, FileError> {
        self.tree
            .names(path)
            .map_err(self.tree.cannot("list", path))
    }

    /// Opens what stands at `path`. A pipe or device is not touched, and nobody is waited for.
    ///
    /// # Errors
    ///
    /// Fails when the path cannot be looked at, or a regular file not be opened for reading.
    pub fn look(&self, path: &Path) -> Result<Opened, FileError> {
        let cannot = || self.tree.cannot::<std::io::Error>("read", path);
        let spot = self.tree.spot(path).map_err(cannot())?;
        let Some(stat) = Stat::find(&spot.dir, &spot.name).map_err(cannot())? else {
            return Ok(Opened::Nothing);
        };
        if stat.is_dir() {
            return Ok(Opened::Directory);
        }
        if !stat.is_file() {
            return Ok(Opened::Other);
        }
        // It may be another file by now: a pipe must not block us, and what we got is looked at.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&spot.dir, &spot.name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Opened::Other),
            Err(Errno::NOENT) => return Ok(Opened::Nothing),
            Err(error) => return Err(cannot()(error.into())),
        };
        let stat = Stat::of_fd(&file).map_err(cannot())?;
        Ok(if stat.is_file() {
            Opened::File(file, stat.size)
        } else {
            Opened::Other
        })
    }
}

impl Transaction {
    /// Returns the files that the operation wrote, by their paths in the workspace.
    ///
    /// # Errors
    ///
    /// Fails when the upper layer cannot be opened.
    pub fn written(&self) -> Result<FileTree, FileError> {
        FileTree::open(self.upper())
    }
}
