//! The workspace as it will be: what the transaction has, and the workspace where it shows through.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use crate::{
    file_error::FileError, overlay, stat::Stat, transaction::Transaction, tree::Tree, xattr,
};

pub(super) struct View {
    upper: Tree,
    lower: Tree,
    workspace: PathBuf,
}

/// Which of the two trees has a path.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Layer {
    Upper,
    Lower,
}

/// Where the two trees have a directory.
#[derive(Clone, Copy)]
struct Levels {
    upper: bool,
    lower: bool,
}

/// What is at a path, for who wants to read it.
pub(super) enum Content {
    Nothing,
    Directory,
    File(Vec<u8>),
    /// No plain file that can be read to its end: a link, a pipe, one too long.
    Odd,
}

impl View {
    pub(super) fn of(transaction: &Transaction) -> Result<Self, FileError> {
        Ok(Self {
            upper: Tree::open(transaction.upper())?,
            lower: transaction.layout.open_workspace()?,
            workspace: transaction.layout.workspace.clone(),
        })
    }

    /// Returns the status of `path`; links are not followed.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Stat>, FileError> {
        Ok(self.locate(path)?.map(|(_, stat)| stat))
    }

    pub(super) fn exists(&self, path: &Path) -> Result<bool, FileError> {
        Ok(self.find(path)?.is_some())
    }

    /// Returns the names in a directory.
    pub(super) fn names(&self, path: &Path) -> Result<BTreeSet<OsString>, FileError> {
        let mut names = BTreeSet::new();
        let Some(levels) = self.levels(path)? else {
            return Ok(names);
        };
        for (here, tree) in [(levels.upper, &self.upper), (levels.lower, &self.lower)] {
            if !here {
                continue;
            }
            match tree.names(path) {
                Ok(of_tree) => names.extend(of_tree),
                Err(error) if crate::stat::is_absent(&error) => {}
                Err(error) => return Err(tree.cannot("list", path)(error)),
            }
        }
        let mut visible = BTreeSet::new();
        for name in names {
            if self.exists(&path.join(&name))? {
                visible.insert(name);
            }
        }
        Ok(visible)
    }

    /// Returns what `path` holds, up to `bytes_max`.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> Result<Content, FileError> {
        let Some((layer, stat)) = self.locate(path)? else {
            return Ok(Content::Nothing);
        };
        if stat.is_dir() {
            return Ok(Content::Directory);
        }
        if !stat.is_file() || stat.size > bytes_max {
            return Ok(Content::Odd);
        }
        let tree = self.tree(layer);
        let read = || -> io::Result<Vec<u8>> {
            let spot = tree.spot(path)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&spot.dir, &spot.name, flags, Mode::empty())?;
            let mut bytes = Vec::new();
            std::fs::File::from(file)
                .take(bytes_max)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(Content::File).map_err(tree.cannot("read", path))
    }

    /// Returns the text of a link; `None` if there is none.
    pub(super) fn link(&self, path: &Path) -> Result<Option<PathBuf>, FileError> {
        use std::os::unix::ffi::OsStrExt as _;
        let Some((layer, _)) = self.locate(path)?.filter(|(_, stat)| stat.is_symlink()) else {
            return Ok(None);
        };
        let tree = self.tree(layer);
        let spot = tree.spot(path).map_err(tree.cannot("read", path))?;
        let text = rustix::fs::readlinkat(&spot.dir, &spot.name, Vec::new())
            .map_err(tree.cannot("read", path))?;
        Ok(Some(PathBuf::from(OsStr::from_bytes(text.to_bytes()))))
    }

    /// Returns where in the workspace `target` leads from the directory `from`, if that can be told without following a
    /// link: `..` only at its beginning, and all of it in the workspace.
    pub(super) fn target(&self, from: &Path, target: &Path) -> Result<Option<PathBuf>, FileError> {
        let mut at = from.to_owned();
        let mut rest = target;
        if let Ok(inside) = target.strip_prefix(&self.workspace) {
            (at, rest) = (PathBuf::new(), inside);
        }
        let mut went_down = false;
        for part in rest.components() {
            match part {
                Component::ParentDir if went_down || !at.pop() => return Ok(None),
                Component::CurDir | Component::ParentDir => {}
                Component::Normal(name) => {
                    went_down = true;
                    at.push(name);
                }
                Component::RootDir | Component::Prefix(_) => return Ok(None),
            }
        }
        for above in at.ancestors() {
            if self.find(above)?.is_some_and(|stat| stat.is_symlink()) {
                return Ok(None);
            }
        }
        Ok(Some(at))
    }

    fn tree(&self, layer: Layer) -> &Tree {
        match layer {
            Layer::Upper => &self.upper,
            Layer::Lower => &self.lower,
        }
    }

    fn locate(&self, path: &Path) -> Result<Option<(Layer, Stat)>, FileError> {
        let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
            let cannot = || self.upper.cannot::<io::Error>("read", path);
            let spot = self.upper.spot(path).map_err(cannot())?;
            let stat = Stat::of_fd(&spot.dir).map_err(cannot())?;
            return Ok(Some((Layer::Upper, stat)));
        };
        let Some(levels) = self.levels(parent)? else {
            return Ok(None);
        };
        if levels.upper {
            let stat = self
                .upper
                .find(path)
                .map_err(self.upper.cannot("read", path))?;
            if let Some(stat) = stat {
                if self.is_whiteout(path, &stat)? {
                    return Ok(None);
                }
                // Another device stays behind, and what the workspace has there stays.
                if !stat.is_device() {
                    return Ok(Some((Layer::Upper, stat)));
                }
            }
        }
        if !levels.lower {
            return Ok(None);
        }
        let stat = self
            .lower
            .find(path)
            .map_err(self.lower.cannot("read", path))?;
        Ok(stat.map(|stat| (Layer::Lower, stat)))
    }

    /// Returns which trees show in the directory `path`; `None` if it is none.
    fn levels(&self, path: &Path) -> Result<Option<Levels>, FileError> {
        let mut levels = Levels {
            upper: true,
            lower: true,
        };
        let mut at = PathBuf::new();
        for part in path.components() {
            at.push(part);
            let upper = if levels.upper {
                self.upper
                    .find(&at)
                    .map_err(self.upper.cannot("read", &at))?
            } else {
                None
            };
            match upper {
                Some(stat) if stat.is_dir() => {
                    levels.lower &= !overlay::is_opaque(&self.upper_xattrs(&at)?);
                }
                Some(stat) if self.is_whiteout(&at, &stat)? || !stat.is_device() => {
                    return Ok(None);
                }
                None | Some(_) => levels.upper = false,
            }
            if levels.lower {
                let stat = self
                    .lower
                    .find(&at)
                    .map_err(self.lower.cannot("read", &at))?;
                levels.lower = stat.is_some_and(|stat| stat.is_dir());
            }
            if !levels.upper && !levels.lower {
                return Ok(None);
            }
        }
        Ok(Some(levels))
    }

    fn is_whiteout(&self, path: &Path, stat: &Stat) -> Result<bool, FileError> {
        if overlay::is_whiteout(stat) {
            return Ok(true);
        }
        let Some(parent) = path.parent() else {
            return Ok(false);
        };
        if stat.size != 0 || !overlay::holds_xattr_whiteouts(&self.upper_xattrs(parent)?) {
            return Ok(false);
        }
        Ok(overlay::is_xattr_whiteout(stat, &self.upper_xattrs(path)?))
    }

    fn upper_xattrs(&self, path: &Path) -> Result<xattr::Xattrs, FileError> {
        let cannot = || self.upper.cannot::<io::Error>("read attributes of", path);
        let spot = self.upper.spot(path).map_err(cannot())?;
        xattr::read(&spot.dir, &spot.name).map_err(cannot())
    }
}
