//! The Landlock ruleset of a guest in a view.

use super::{error::LaunchError, recipe::c_string};
use crate::{
    child::{guest::Ruleset, step::Access},
    plan::{LaunchPlan, WorkspaceMode},
    sys::landlock::{self, RulesetAttributes},
    view::{Entry, Layout},
};

pub(super) mod access {
    //! `LANDLOCK_ACCESS_FS_*` and `LANDLOCK_SCOPE_*` (`linux/landlock.h`).
    pub(in crate::launch) const EXECUTE: u64 = 1;
    pub(in crate::launch) const WRITE_FILE: u64 = 1 << 1;
    pub(in crate::launch) const READ_FILE: u64 = 1 << 2;
    pub(in crate::launch) const READ_DIR: u64 = 1 << 3;
    pub(super) const FIRST_ABI: u64 = (1 << 13) - 1;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(in crate::launch) const IOCTL_DEV: u64 = 1 << 15;
    pub(in crate::launch) const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
    pub(in crate::launch) const SCOPES: u64 = 0b11;
}

/// Returns which rights a version of Landlock knows, and how much of the attributes.
pub(crate) fn handled(abi: u32) -> (u64, usize) {
    let mut handled = access::FIRST_ABI;
    for (since, right) in [
        (2, access::REFER),
        (3, access::TRUNCATE),
        (5, access::IOCTL_DEV),
    ] {
        if abi >= since {
            handled |= right;
        }
    }
    let size = match abi {
        ..4 => 8,
        4..6 => 16,
        6.. => 24,
    };
    (handled, size)
}

/// Returns what the guest may do with files: what the view shows it, once more.
pub(super) fn of(plan: &LaunchPlan, layout: &Layout) -> Result<Option<Ruleset>, LaunchError> {
    let Some(abi) = landlock::abi() else {
        return Ok(None);
    };
    let (handled, size) = handled(abi);
    let read = access::EXECUTE | access::READ_FILE | access::READ_DIR;
    let mut paths = vec![
        (c"/".to_owned(), read),
        (
            c"/dev".to_owned(),
            (access::READ_FILE | access::READ_DIR | access::WRITE_FILE | access::IOCTL_DEV)
                & handled,
        ),
    ];
    let mut workspace = None;
    for (path, entry) in &layout.entries {
        let right = match entry {
            Entry::Workspace if plan.workspace_mode != WorkspaceMode::ReadOnly => {
                workspace = Some((c_string(path, "a path")?, handled));
                continue;
            }
            Entry::Temporary { .. }
            | Entry::Bind {
                is_directory: true,
                access: Access::Write,
                ..
            } => handled,
            Entry::Bind {
                access: Access::Write,
                ..
            } => handled & access::FILE,
            Entry::Workspace
            | Entry::Bind { .. }
            | Entry::Directory
            | Entry::Link(_)
            | Entry::File(_)
            | Entry::Processors => continue,
        };
        paths.push((c_string(path, "a path")?, right));
    }
    Ok(Some(Ruleset {
        attributes: RulesetAttributes {
            handled_access_fs: handled,
            handled_access_net: 0,
            scoped: if abi >= 6 { access::SCOPES } else { 0 },
        },
        size,
        paths,
        workspace,
    }))
}
