//! Which directories may be a workspace, and where its transactions can lie.

use std::{
    ffi::OsString,
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, StatxFlags, access, statfs, statx};
use sandbox_isolation::is_system_directory;
use sandbox_types::SandboxName;

use super::CreateError;
use crate::{layout::Layout, registry::SandboxRecord};

/// Below these, everything belongs to the system.
const SYSTEM_TREES: &[&str] = &["/bin", "/boot", "/dev", "/etc", "/proc", "/sbin", "/sys"];

/// File systems on which overlayfs cannot keep its upper layer, from statfs(2).
const UNFIT_FOR_LAYERS: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0x6573_5546, "a FUSE file system"),
    (0x4d44, "a FAT file system"),
    (0x517b, "an SMB share"),
    (0xff53_4d42, "an SMB share"),
];

/// What overlayfs takes for no upper layer, and which otherwise does all that a commit needs.
const OVERLAY: i64 = 0x794c_7630;

/// Refuses directories that are no workspace.
pub(super) fn check_workspace(
    layout: &Layout,
    workspace: &Path,
    existing: &[SandboxRecord],
) -> Result<(), CreateError> {
    let unsuitable = |reason: String| {
        Err(CreateError::Unsuitable {
            workspace: workspace.to_owned(),
            reason,
        })
    };
    let mut trees = SYSTEM_TREES.iter();
    let system = is_system_directory(workspace) || trees.any(|tree| workspace.starts_with(tree));
    if system {
        return unsuitable("it belongs to the system; choose a project directory".to_owned());
    }
    if !is_open_to_guest(workspace) {
        return unsuitable(
            "its owner may not list and search it; `chmod u+rx` opens it".to_owned(),
        );
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
    // A guest could change what another sandbox will commit or undo.
    let holder = existing.iter().find(|record| {
        record
            .layers
            .as_ref()
            .is_some_and(|layers| layers.starts_with(workspace) || workspace.starts_with(layers))
    });
    if let Some(record) = holder {
        return unsuitable(format!(
            "the transactions of the sandbox '{}' lie in it; choose a directory below it",
            record.name
        ));
    }
    Ok(())
}

/// Returns whether a guest could use it. A root caller's guest has the rights of the workspace's owner; every other's
/// has its caller's. One that is not there yet will be.
fn is_open_to_guest(workspace: &Path) -> bool {
    let Ok(found) = std::fs::metadata(workspace) else {
        return true;
    };
    if rustix::process::geteuid().is_root() {
        return found.mode() & 0o500 == 0o500;
    }
    access(workspace, Access::READ_OK | Access::EXEC_OK).is_ok()
}

/// Refuses a home that could not be made or used.
pub(super) fn check_home(layout: &Layout) -> Result<(), CreateError> {
    let home = layout.home();
    can_be_home(home).map_err(|source| super::step("use", home, source))
}

fn can_be_home(home: &Path) -> io::Result<()> {
    let place = nearest_existing(home);
    if !place.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    // Root may write there, and still nobody can make a directory.
    if ["/proc", "/sys"].iter().any(|tree| place.starts_with(tree)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(access(place, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Returns the directory for the transactions of a workspace, or why there can be none.
pub(super) fn layers(
    layout: &Layout,
    name: &SandboxName,
    workspace: &Path,
    existing: &[SandboxRecord],
) -> Result<PathBuf, String> {
    let probe = nearest_existing(workspace);
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
    // A directory of ours near the workspace, as git keeps its worktrees: never inside of one.
    let near = workspace
        .ancestors()
        .skip(1)
        .take_while(|directory| same_mount(directory, probe));
    let mut obstacle = None;
    for directory in near {
        let inside = existing
            .iter()
            .find(|record| directory.starts_with(&record.workspace));
        let found = match inside {
            Some(record) => format!("belongs to the sandbox '{}'", record.name),
            None if !is_writable(directory) => "is not writable".to_owned(),
            None => return Ok(layout.layers_beside(directory, name)),
        };
        obstacle.get_or_insert(format!("{} {found}", directory.display()));
    }
    let obstacle = obstacle.unwrap_or_else(|| {
        "the workspace is a mount point, so that no directory beside it lies on its file system"
            .to_owned()
    });
    Err(format!(
        "{obstacle}; put SANDBOX_HOME on its file system, or use a directory inside {}",
        workspace.display()
    ))
}

/// Returns why no overlay can be mounted on the workspace, although its files can be exchanged.
pub(super) fn no_overlay(workspace: &Path) -> Option<String> {
    let kind = statfs(nearest_existing(workspace)).ok()?;
    if kind.f_type == OVERLAY {
        let reason =
            "the workspace lies on an overlay file system (a container's root, for example)";
        return Some(reason.to_owned());
    }
    submounts(workspace).map(|reason| format!("{reason} (what is in them cannot be undone)"))
}

/// Asks access(2), which knows of read-only mounts and of capabilities.
fn is_writable(directory: &Path) -> bool {
    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Returns why no transaction is possible in a workspace with other file systems mounted below it;
/// `None` if there are none. An overlay does not show what is mounted in its lower directory.
pub(crate) fn submounts(workspace: &Path) -> Option<String> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let mounted: Vec<String> = table
        .split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .filter(|path| path != workspace && path.starts_with(workspace))
        .map(|path| path.display().to_string())
        .collect();
    if mounted.is_empty() {
        return None;
    }
    Some(format!(
        "other file systems are mounted in the workspace, on {}",
        mounted.join(", ")
    ))
}

/// Returns the fifth field of a line of `proc_pid_mountinfo(5)`, where blanks and backslashes are
/// written as three octal digits.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    Some(PathBuf::from(OsString::from_vec(path)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = br"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt/a b\c")));
        assert_eq!(mount_point(b""), None);
        assert!(submounts(Path::new("/")).unwrap().contains("/proc"));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(submounts(empty.path()), None);
    }
}
