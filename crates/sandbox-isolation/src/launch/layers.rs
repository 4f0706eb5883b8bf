//! The layers of a transaction: where they are, and how the kernel is told.

use std::{
    ffi::{CString, OsStr},
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use super::{error::LaunchError, recipe::c_string};
use crate::{
    child::step::{STAGE_LAYERS, STAGE_LOWER},
    plan::{LaunchPlan, WorkspaceMode},
};

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

    /// Returns the options of the mount. All layers are named relative to where they are staged.
    pub(super) fn options(&self) -> Result<CString, LaunchError> {
        let staged = |path: &str| path.trim_start_matches('/').to_owned();
        let (lower, layers) = (staged(STAGE_LOWER), staged(STAGE_LAYERS));
        let mut options = format!("lowerdir={lower},upperdir={layers}/").into_bytes();
        options.extend(escape_option(self.upper.as_os_str()));
        options.extend(format!(",workdir={layers}/").into_bytes());
        options.extend(escape_option(self.work.as_os_str()));
        options.extend(b",userxattr,volatile");
        c_string(OsStr::from_bytes(&options), "the layers")
    }
}

/// Commas separate options, and a backslash escapes (`fs/overlayfs/params.c`).
fn escape_option(name: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if matches!(byte, b',' | b'\\' | b':') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}
