//! A directory tree that is only ever entered by file descriptors.
//!
//! What lies in the tree is hostile: names are bytes, links point anywhere, paths are longer than
//! `PATH_MAX`. Each path is opened below the root without following a link and without leaving the
//! mount (openat2(2)), in pieces, and few descriptors are held at a time.

use std::{
    cell::RefCell,
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{Mode, OFlags, RawDir, ResolveFlags},
    io::Errno,
};

mod trail;

use self::trail::Trail;
pub(crate) use self::trail::compare_paths;
use crate::{
    file_error::{FileError, cannot},
    stat::{Stat, is_absent},
};

/// The longest relative path given to one openat2 call, in bytes; `PATH_MAX` is 4096.
const PIECE_BYTES_MAX: usize = 4000;

/// The buffer for one getdents64 call.
const LIST_BUFFER_BYTES: usize = 16 * 1024;

/// An open tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Rc<OwnedFd>,
    label: PathBuf,
    /// Directories on the way to the one opened last: the next one is often one of them, or inside.
    trail: RefCell<Trail>,
}

/// A directory of the tree and a name in it.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) dir: Rc<OwnedFd>,
    pub(crate) name: OsString,
}

impl Tree {
    /// Opens the directory `path` itself, which is trusted: links on the way to it are followed.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Self::open_by(path, ResolveFlags::empty())
    }

    /// Opens the directory `path` itself, and follows no link on the way: others may rename what lies above it.
    pub(crate) fn open_straight(path: &Path) -> Result<Self, FileError> {
        Self::open_by(path, ResolveFlags::NO_SYMLINKS)
    }

    fn open_by(path: &Path, resolve: ResolveFlags) -> Result<Self, FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve);
        Ok(Self {
            root: Rc::new(root.map_err(cannot("open", path))?),
            label: path.to_owned(),
            trail: RefCell::default(),
        })
    }

    /// Returns the status of the directory itself.
    pub(crate) fn stat(&self) -> Result<Stat, FileError> {
        Stat::of_fd(&self.root).map_err(cannot("read", &self.label))
    }

    /// Returns the full path for a message.
    pub(crate) fn full(&self, path: &Path) -> PathBuf {
        self.label.join(path)
    }

    /// Returns a function that adds `act` and the full path to an error.
    pub(crate) fn cannot<E: Into<io::Error>>(
        &self,
        act: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> FileError {
        cannot(act, self.full(path))
    }

    /// Returns the directory `path`, opened with `O_PATH`.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        self.trail
            .borrow_mut()
            .follow(&self.root, path.as_os_str().as_bytes())
    }

    /// Forgets the directories opened before: they may be others by now.
    pub(crate) fn forget(&self) {
        self.trail.take();
    }

    /// Returns the directory that holds `path` and its last component; the root is named by an
    /// empty name.
    pub(crate) fn spot(&self, path: &Path) -> io::Result<Spot> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(Spot {
                dir: self.directory(parent)?,
                name: name.to_owned(),
            }),
            _ if path.as_os_str().is_empty() => Ok(Spot {
                dir: Rc::clone(&self.root),
                name: OsString::new(),
            }),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Returns the status of `path`, or `None` if it or a directory above it is not there.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Option<Stat>> {
        match self.spot(path) {
            Ok(spot) => Stat::find(&spot.dir, &spot.name),
            // A link in the place of a directory: what was there is gone.
            Err(error) if is_absent(&error) || is_link(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the names in the directory `path`, sorted.
    pub(crate) fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let dir = self.directory(path)?;
        names(&dir)
    }
}

/// Returns the names in `dir`, sorted.
pub(crate) fn names(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    let mut buffer: [MaybeUninit<u8>; LIST_BUFFER_BYTES] =
        [MaybeUninit::uninit(); LIST_BUFFER_BYTES];
    let mut entries = RawDir::new(readable, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns whether `error` says that a link stands where a directory was expected.
pub(crate) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn open_below(dir: &OwnedFd, piece: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let opened = rustix::fs::openat2(dir, piece, flags, Mode::empty(), resolve);
    Ok(opened?)
}

/// Cuts `path` at its separators into pieces that one system call accepts.
fn pieces(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.as_os_str().len() <= PIECE_BYTES_MAX {
        let whole = [path.to_owned()];
        return Ok(whole
            .into_iter()
            .filter(|piece| !piece.as_os_str().is_empty())
            .collect());
    }
    let mut pieces = vec![PathBuf::new()];
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(Errno::INVAL.into());
        };
        if let Some(last) = pieces.last_mut()
            && last.as_os_str().len() + 1 + name.len() <= PIECE_BYTES_MAX
        {
            last.push(name);
        } else {
            pieces.push(PathBuf::from(name));
        }
    }
    Ok(pieces)
}
