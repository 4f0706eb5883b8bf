//! Which directories may be a workspace, and where its transactions can lie.

use std::{
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statfs, statx};
use sandbox_types::SandboxName;

use super::CreateError;
use crate::layout::Layout;

/// Directories of the system: as a workspace they would replace what the guest runs from.
const SYSTEM_DIRECTORIES: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin",
    "/sys", "/usr", "/var",
];

/// File systems on which overlayfs cannot keep its upper layer, from statfs(2).
const UNFIT_FOR_LAYERS: &[(i64, &str)] = &[
    (
        0x794c_7630,
        "an overlay file system (a container's root, for example)",
    ),
    (0x6969, "NFS"),
    (0x6573_5546, "a FUSE file system"),
    (0x4d44, "a FAT file system"),
    (0x517b, "an SMB share"),
    (0xff53_4d42, "an SMB share"),
];

/// Refuses directories that are no workspace.
pub(super) fn check_workspace(layout: &Layout, workspace: &Path) -> Result<(), CreateError> {
    let unsuitable = |reason: String| {
        Err(CreateError::Unsuitable {
            workspace: workspace.to_owned(),
            reason,
        })
    };
    let system = SYSTEM_DIRECTORIES.iter().any(|directory| {
        let directory = Path::new(directory);
        workspace == directory
            || (workspace.starts_with(directory)
                && ["/dev", "/proc", "/sys", "/bin", "/sbin", "/boot", "/etc"]
                    .iter()
                    .any(|it| directory == Path::new(it)))
    });
    if system {
        return unsuitable("it belongs to the system; choose a project directory".to_owned());
    }
    let home =
        std::fs::canonicalize(layout.home()).unwrap_or_else(|_missing| layout.home().to_owned());
    if home.starts_with(workspace) {
        return unsuitable(format!(
            "it contains the sandbox's own data in {}; choose a directory below it, or set SANDBOX_HOME to a place outside of it",
            home.display()
        ));
    }
    if workspace.starts_with(&home) {
        return unsuitable(format!(
            "it lies inside the sandbox's own data in {}",
            home.display()
        ));
    }
    Ok(())
}

/// Returns the directory for the transactions of a workspace, or why there can be none.
/// `probe` is the workspace, or its parent while the workspace does not exist.
pub(super) fn layers(
    layout: &Layout,
    name: &SandboxName,
    workspace: &Path,
    probe: &Path,
) -> Result<PathBuf, String> {
    let kind = statfs(probe).map_err(|error| format!("cannot look at its file system: {error}"))?;
    if let Some((_, what)) = UNFIT_FOR_LAYERS
        .iter()
        .find(|(magic, _)| *magic == kind.f_type)
    {
        return Err(format!("the workspace lies on {what}"));
    }
    if same_mount(probe, nearest_existing(layout.home())) {
        return Ok(layout.layers(name));
    }
    // A directory of ours beside the workspace, as git keeps its worktrees: never inside of it.
    let uid = rustix::process::getuid().as_raw();
    match workspace.parent() {
        Some(parent) if same_mount(parent, probe) => Ok(parent
            .join(format!(".sandbox-layers-{uid}"))
            .join(name.as_str())),
        _ => Err(format!(
            "the workspace is a mount point, so that no directory beside it lies on its file system; put SANDBOX_HOME on it, or use a directory inside {}",
            workspace.display()
        )),
    }
}

fn nearest_existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}

/// Renames work between two directories only on the same mount of the same file system.
fn same_mount(one: &Path, other: &Path) -> bool {
    let mount = |path: &Path| {
        let found = statx(
            CWD,
            path.as_os_str().as_bytes(),
            AtFlags::empty(),
            StatxFlags::MNT_ID,
        )
        .ok()?;
        let device = std::fs::metadata(path).ok()?.dev();
        Some((found.stx_mnt_id, device))
    };
    match (mount(one), mount(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}
