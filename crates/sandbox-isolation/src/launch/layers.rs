//! The layers of a transaction: where they are, and how the kernel is told.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

use super::{error::LaunchError, recipe::c_string};
use crate::{
    child::step::STAGE_LAYERS,
    plan::{LaunchPlan, WorkspaceMode},
};

/// What the kernel leaves in a work directory. Nobody may look into these.
const LEFT: [&str; 3] = ["work", "work/incompat", "work/incompat/volatile"];

/// The two layers of a transaction that get the changes, relative to the directory that holds the sandbox's
/// transactions: a transaction that is not begun yet has no directory of its own.
pub(crate) struct Layers<'a> {
    pub(crate) directory: &'a Path,
    upper: &'a Path,
    work: &'a Path,
}

impl<'a> Layers<'a> {
    /// Returns them, if the workspace is changed by a transaction.
    pub(crate) fn of(plan: &'a LaunchPlan) -> Result<Option<Self>, LaunchError> {
        let WorkspaceMode::Overlay { upper, work } = &plan.workspace_mode else {
            return Ok(None);
        };
        let set = upper.parent().filter(|set| work.parent() == Some(set));
        let layers = set.and_then(Path::parent).and_then(|directory| {
            Some(Self {
                directory,
                upper: upper.strip_prefix(directory).ok()?,
                work: work.strip_prefix(directory).ok()?,
            })
        });
        layers.map(Some).ok_or_else(|| {
            let source = io::Error::other("its upper and work directories have different parents");
            LaunchError::new("mount the transaction over the workspace", source)
        })
    }

    /// Returns the upper and the work directory as the overlay is told them: relative to where they are staged.
    pub(super) fn names(&self) -> Result<[CString; 2], LaunchError> {
        let name = |layer: &Path| {
            let mut name = STAGE_LAYERS.trim_start_matches('/').as_bytes().to_vec();
            name.push(b'/');
            name.extend(escape(layer.as_os_str()));
            c_string(OsStr::from_bytes(&name), "the layers")
        };
        Ok([name(self.upper)?, name(self.work)?])
    }
}

/// A backslash escapes (`fs/overlayfs/params.c`).
fn escape(name: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if byte == b'\\' {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

/// Lets the layers of `plan` be mounted once more, by whom they were not used: the kernel refuses to mount `volatile`
/// layers a second time. Their overlay must be gone.
pub(crate) fn let_be_mounted_again(plan: &LaunchPlan) -> io::Result<()> {
    let WorkspaceMode::Overlay { work, .. } = &plan.workspace_mode else {
        return Ok(());
    };
    for left in LEFT {
        // It fails only if it is not there.
        fs::set_permissions(work.join(left), fs::Permissions::from_mode(0o700)).ok();
    }
    match fs::remove_dir_all(work.join(LEFT[0])) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
