//! The root of an upper layer: the overlay shows its attributes as those of the workspace's root.
//!
//! An unprivileged owner cannot give it all of them, see chown(2) and xattr(7): a group that is not
//! one of theirs, for example. What is missing is remembered, so that it is no change of the guest's.

use std::{ffi::OsStr, fs, io, os::fd::OwnedFd, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    attributes::{Attributes, set_mtime},
    file_error::{FileError, cannot},
    overlay, xattr,
};

/// How the root of the upper layer differed from the workspace's when the transaction began.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootGap {
    /// What it should have got.
    wanted: Attributes,
    /// What it got.
    given: Attributes,
}

/// Gives `upper` the attributes of `workspace`, as far as the kernel permits; returns the rest.
pub(crate) fn imitate(workspace: &Path, upper: &Path) -> Result<Option<RootGap>, FileError> {
    let wanted = open(workspace).and_then(|it| wanted(&it));
    let wanted = wanted.map_err(cannot("read", workspace))?;
    let give = || -> io::Result<_> {
        let upper = open(upper)?;
        if wanted.apply_permitted(&upper, OsStr::new(""))? {
            return Ok(None);
        }
        let given = Attributes::read(&upper, OsStr::new(""))?;
        Ok(Some(given))
    };
    let given = give().map_err(cannot("set attributes of", upper))?;
    Ok(given.map(|given| RootGap { wanted, given }))
}

/// Returns whether `upper` has the attributes that [`imitate`] gave it, and would give it now. Its time follows the
/// workspace's, as an overlay's does that is mounted.
pub(crate) fn is_imitated(
    workspace: &Path,
    upper: &Path,
    gap: Option<&RootGap>,
) -> io::Result<bool> {
    let upper = open(upper)?;
    let wanted = wanted(&open(workspace)?)?;
    let mut now = Attributes::read(&upper, OsStr::new(""))?;
    now.xattrs.retain(|name, _| !overlay::is_private(name));
    let same = match gap {
        None => now.same_but_time(&wanted),
        Some(gap) => now.same_but_time(&gap.given) && wanted.same_but_time(&gap.wanted),
    };
    if same && now.mtime != wanted.mtime {
        set_mtime(&upper, OsStr::new(""), wanted.mtime)?;
    }
    Ok(same)
}

/// Returns what the root of an upper layer is to have of `workspace`.
fn wanted(workspace: &OwnedFd) -> io::Result<Attributes> {
    let mut wanted = Attributes::read(workspace, OsStr::new(""))?;
    wanted
        .xattrs
        .retain(|name, _| !overlay::is_private(name) && name != xattr::CAPABILITY);
    Ok(wanted)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::File::open(path)?.into())
}

impl RootGap {
    /// Returns what the guest would have left if `upper` had begun with all attributes: those that
    /// it could not get and that are as it got them are the workspace's, which are `lower` now.
    pub(crate) fn bridge(&self, mut upper: Attributes, lower: &Attributes) -> Attributes {
        let Self { wanted, given } = self;
        if given.uid != wanted.uid && upper.uid == given.uid {
            upper.uid = lower.uid;
        }
        if given.gid != wanted.gid && upper.gid == given.gid {
            upper.gid = lower.gid;
        }
        let missing = wanted.xattrs.keys().chain(given.xattrs.keys());
        for name in missing.filter(|name| wanted.xattrs.get(*name) != given.xattrs.get(*name)) {
            if upper.xattrs.get(name) != given.xattrs.get(name) {
                continue;
            }
            match lower.xattrs.get(name) {
                Some(value) => upper.xattrs.insert(name.clone(), value.clone()),
                None => upper.xattrs.remove(name),
            };
        }
        upper
    }
}
