//! Directories of the workspace that the plan of an undo opens up to look into them.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::{
    apply::{OPEN_TO_OWNER, is_privileged},
    attributes,
    file_error::FileError,
    layout::Layout,
    plan::Directory,
    stat::{Stat, is_absent},
    step::step,
    tree::{Tree, is_link},
};

/// What the guest closed to its owner, opened for as long as this lives: an undo that is carried out
/// opens it again by itself, after its journal.
pub(super) struct Opened {
    tree: Tree,
    /// The inode and the mode before, by path.
    closed: BTreeMap<PathBuf, (u64, u32)>,
}

impl Opened {
    pub(super) fn new(layout: &Layout) -> Result<Self, FileError> {
        Ok(Self {
            tree: layout.open_workspace()?,
            closed: BTreeMap::new(),
        })
    }

    /// Opens up those of `directories`, which are sorted deepest first, that their unprivileged owner
    /// may not look into.
    pub(super) fn open_up(&mut self, directories: &[Directory]) -> Result<(), FileError> {
        if is_privileged() {
            return Ok(());
        }
        for directory in directories.iter().rev() {
            self.open_one(directory)
                .map_err(self.tree.cannot("open up", &directory.path))?;
        }
        Ok(())
    }

    fn open_one(&mut self, directory: &Directory) -> io::Result<()> {
        let spot = match self.tree.spot(&directory.path) {
            Ok(spot) => spot,
            // It is gone, or somebody else closed what is above it: the plan tells.
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(stat) = Stat::find(&spot.dir, &spot.name)? else {
            return Ok(());
        };
        let mode = stat.permissions();
        if !stat.is_dir() || stat.ino != directory.ino || mode & OPEN_TO_OWNER == OPEN_TO_OWNER {
            return Ok(());
        }
        self.closed.insert(directory.path.clone(), (stat.ino, mode));
        step()?;
        attributes::chmod(&spot.dir, &spot.name, mode | OPEN_TO_OWNER)
    }

    /// Returns the mode of `path` before it was opened up, if it was.
    pub(super) fn mode(&self, path: &Path) -> Option<u32> {
        self.closed.get(path).map(|(_, mode)| *mode)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.tree.forget();
        // Deepest first. What cannot be closed again is at most open to its owner.
        for (path, (ino, mode)) in self.closed.iter().rev() {
            if let Ok(spot) = self.tree.spot(path)
                && let Ok(Some(stat)) = Stat::find(&spot.dir, &spot.name)
                && stat.ino == *ino
            {
                drop(attributes::chmod(&spot.dir, &spot.name, *mode));
            }
        }
    }
}
