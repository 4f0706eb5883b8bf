//! The plan of a commit or an undo: what moves between the workspace and a set's directory.
//!
//! ```text
//! workspace/p  <--Exchange-->  set/upper/p          a file is replaced, the old one is kept
//! workspace/p  <---Attach----  set/upper/p | kept/n something new, or put back
//! workspace/p  ----Detach--->  set/upper/p | kept/n something deleted, kept for undo
//! workspace/p  ---Rename---->  workspace/q          a file that was copied and deleted: stored once
//! ```
//! Moves never overlap: no path of a move lies below another one. So a plan can be repeated from the
//! start after a crash, and taken back in reverse.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    apply::is_privileged, attributes::Attributes, raw, stat::Stat, stat::Time, tree::compare_paths,
    xattr::Xattrs,
};

/// How a file is recognised again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) ino: u64,
    /// When the file changed last, as of the plan; renaming moves it.
    pub(crate) ctime: Time,
    /// The mode to restore after the move: set for a directory that its owner may only rename after
    /// making it writable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reopen: Option<u32>,
    /// The time that a directory has again after the move: xfs sets it when an exchange writes `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<Time>,
}

impl Identity {
    /// Returns the identity of the file with this status.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            ino: stat.ino,
            ctime: stat.ctime,
            reopen: None,
            mtime: None,
        }
    }

    /// Returns the identity of a file that moves: of a directory its time too, and its mode if its
    /// owner may not rename it as it is.
    pub(crate) fn to_move(stat: &Stat) -> Self {
        let closed = stat.is_dir() && stat.permissions() & 0o200 == 0;
        Self {
            reopen: (closed && !is_privileged()).then(|| stat.permissions()),
            mtime: stat.is_dir().then_some(stat.mtime),
            ..Self::of(stat)
        }
    }
}

/// Where in the set's directory a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// At the same path in the upper layer.
    Upper,
    /// Under this number among the kept files.
    Kept(u64),
}

impl Place {
    /// Returns the path relative to the set's directory.
    pub(crate) fn path(self, path: &Path) -> PathBuf {
        match self {
            Self::Upper => Path::new("upper").join(path),
            Self::Kept(number) => Path::new("kept").join(number.to_string()),
        }
    }
}

/// Preparation of one file in the upper layer before it moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Cleaning {
    /// Removes overlay marks and stripped attributes, sets what they stood for.
    Attributes {
        #[serde(with = "raw::path")]
        path: PathBuf,
        ino: u64,
        #[serde(with = "raw::xattrs")]
        remove: Xattrs,
        #[serde(with = "raw::xattrs")]
        set: Xattrs,
        /// The mode before and after.
        mode: Option<(u32, u32)>,
    },
    /// Takes a whiteout or a device out of a directory that moves as a whole.
    Shelve {
        #[serde(with = "raw::path")]
        path: PathBuf,
        ino: u64,
        number: u64,
        /// The inode of that directory, and its time, which stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        directory: Option<(u64, Time)>,
    },
}

/// One change of a name in the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Move {
    /// Both sides have the path: they change places in one atomic step.
    Exchange {
        #[serde(with = "raw::path")]
        path: PathBuf,
        leaving: Identity,
        entering: Identity,
    },
    /// The workspace gets the path.
    Attach {
        #[serde(with = "raw::path")]
        path: PathBuf,
        from: Place,
        entering: Identity,
    },
    /// The workspace loses the path.
    Detach {
        #[serde(with = "raw::path")]
        path: PathBuf,
        to: Place,
        leaving: Identity,
    },
    /// A file of the workspace goes to another name in it, which must be free.
    Rename {
        #[serde(with = "raw::path")]
        from: PathBuf,
        #[serde(with = "raw::path")]
        to: PathBuf,
        file: Identity,
    },
    /// The workspace gets a directory that was removed since, for a forced undo.
    MakeDirectory {
        #[serde(with = "raw::path")]
        path: PathBuf,
        /// Those that it had, if they are known.
        attributes: Option<Attributes>,
    },
}

impl Move {
    /// Returns the path that it changes, relative to the workspace: of a rename the new one.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Rename { to: path, .. }
            | Self::Exchange { path, .. }
            | Self::Attach { path, .. }
            | Self::Detach { path, .. }
            | Self::MakeDirectory { path, .. } => path,
        }
    }

    /// Returns the path that a rename takes away.
    pub(crate) fn old_path(&self) -> Option<&Path> {
        match self {
            Self::Rename { from, .. } => Some(from),
            Self::Exchange { .. }
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::MakeDirectory { .. } => None,
        }
    }

    /// Returns all paths that it changes.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path()).chain(self.old_path())
    }

    /// Returns the move that takes this one back; a directory that was made stays.
    pub(crate) fn inverse(&self) -> Option<Self> {
        match self.clone() {
            Self::Exchange {
                path,
                leaving,
                entering,
            } => Some(Self::Exchange {
                path,
                leaving: entering,
                entering: leaving,
            }),
            Self::Attach {
                path,
                from,
                entering,
            } => Some(Self::Detach {
                path,
                to: from,
                leaving: entering,
            }),
            Self::Detach { path, to, leaving } => Some(Self::Attach {
                path,
                from: to,
                entering: leaving,
            }),
            Self::Rename { from, to, file } => Some(Self::Rename {
                from: to,
                to: from,
                file,
            }),
            Self::MakeDirectory { .. } => None,
        }
    }
}

/// New attributes of what stays: a directory, or after a restore a file whose content is the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Directory {
    #[serde(with = "raw::path")]
    pub(crate) path: PathBuf,
    pub(crate) ino: u64,
    /// When it changed last before the plan.
    pub(crate) ctime: Time,
    pub(crate) before: Attributes,
    pub(crate) after: Attributes,
}

/// All that a commit or an undo does, in the order in which it is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) cleanings: Vec<Cleaning>,
    pub(crate) moves: Vec<Move>,
    /// Deepest first: each change of a name moves the time of its directory.
    pub(crate) directories: Vec<Directory>,
}

impl Plan {
    /// Returns whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.directories.is_empty()
    }

    /// Returns the plan that brings the workspace back. What was cleaned stays clean.
    pub(crate) fn inverse(&self) -> Self {
        let back = |directory: &Directory| Directory {
            before: directory.after.clone(),
            after: directory.before.clone(),
            ..directory.clone()
        };
        Self {
            cleanings: Vec::new(),
            moves: self.moves.iter().rev().filter_map(Move::inverse).collect(),
            directories: self.directories.iter().map(back).collect(),
        }
    }

    /// Returns the highest number that it gives to a file that is set aside.
    pub(crate) fn highest_kept(&self) -> u64 {
        let moved = self.moves.iter().filter_map(|change| match change {
            Move::Attach {
                from: Place::Kept(number),
                ..
            }
            | Move::Detach {
                to: Place::Kept(number),
                ..
            } => Some(*number),
            Move::Attach { .. }
            | Move::Detach { .. }
            | Move::Exchange { .. }
            | Move::Rename { .. }
            | Move::MakeDirectory { .. } => None,
        });
        let shelved = self.cleanings.iter().filter_map(|cleaning| match cleaning {
            Cleaning::Shelve { number, .. } => Some(*number),
            Cleaning::Attributes { .. } => None,
        });
        moved.chain(shelved).max().unwrap_or(0)
    }

    /// Brings the steps into the order in which they must be done.
    pub(crate) fn sort(&mut self) {
        // What lies in a directory is cleaned before the directory's own mode may close it.
        self.cleanings.reverse();
        self.directories
            .sort_by(|a, b| compare_paths(&b.path, &a.path));
    }
}
