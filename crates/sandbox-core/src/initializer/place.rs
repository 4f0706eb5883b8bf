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
use sandbox_isolation::{is_system_directory, probe_namespaces};
use sandbox_types::SandboxName;

use super::{CreateError, trust::is_trusted};
use crate::{
    layout::{Layout, is_of_layers},
    registry::Claims,
};

/// Below these, everything belongs to the system.
const SYSTEM_TREES: &[&str] = &["/bin", "/boot", "/dev", "/etc", "/proc", "/sbin", "/sys"];

/// File systems that keep no owners and modes, from statfs(2): nothing could be put back as it was.
const UNFIT_FOR_LAYERS: &[(i64, &str)] = &[
    (0x4d44, "a FAT file system"),
    (0x2011_bab0, "an exFAT file system"),
    (0x517b, "an SMB share"),
    (0xff53_4d42, "an SMB share"),
    (0xfe53_4d42, "an SMB share"),
    (0x786f_4256, "a shared folder of VirtualBox"),
];

/// What overlayfs takes for no upper layer, and which otherwise do all that a commit needs.
const UNFIT_FOR_OVERLAYS: &[(i64, &str)] = &[
    (
        0x794c_7630,
        "an overlay file system (a container's root, for example)",
    ),
    (0x6969, "NFS"),
    (0x6573_5546, "a FUSE file system"),
    (
        0x0102_1997,
        "a 9p file system (a directory of a virtual machine's host)",
    ),
    (0x00c3_6400, "CephFS"),
];

/// Refuses directories that are no workspace.
pub(super) fn check_workspace(
    layout: &Layout,
    workspace: &Path,
    existing: &[Claims],
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
    let within = workspace
        .components()
        .any(|it| is_of_layers(it.as_os_str()));
    if within {
        return unsuitable("transactions of a sandbox lie in it".to_owned());
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

/// Returns what a table calls a kind of file system, if it has it.
fn named(table: &[(i64, &'static str)], kind: i64) -> Option<&'static str> {
    let mut rows = table.iter();
    rows.find(|(magic, _)| *magic == kind)
        .map(|(_, what)| *what)
}

/// Returns the directory for the transactions of a workspace, or why there can be none.
pub(super) fn layers(
    layout: &Layout,
    name: &SandboxName,
    workspace: &Path,
    existing: &[Claims],
) -> Result<PathBuf, String> {
    let probe = nearest_existing(workspace);
    let kind = statfs(probe).map_err(|error| format!("cannot look at its file system: {error}"))?;
    if let Some(what) = named(UNFIT_FOR_LAYERS, kind.f_type) {
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
            None if !is_trusted(directory) => "could be renamed by other users".to_owned(),
            None => return Ok(layout.layers_beside(directory, name)),
        };
        obstacle.get_or_insert(format!("{} {found}", directory.display()));
    }
    // Nothing else is left on the file system, or nothing that is ours to write.
    match not_inside(workspace, existing) {
        None => Ok(layout.layers_beside(workspace, name)),
        Some(reason) => {
            let obstacle = obstacle.map(|it| format!("{it}, and ")).unwrap_or_default();
            Err(format!(
                "{obstacle}in the workspace it {reason}; put SANDBOX_HOME on its file system"
            ))
        }
    }
}

/// Returns why transactions must not lie in the workspace; `None` if they may: its own commands do not see them.
fn not_inside(workspace: &Path, existing: &[Claims]) -> Option<String> {
    let mut above = existing.iter();
    if let Some(record) = above.find(|record| workspace.starts_with(&record.workspace)) {
        return Some(format!(
            "would be open to the commands of the sandbox '{}'",
            record.name
        ));
    }
    let reason = if !workspace.exists() || !is_writable(workspace) {
        "could not be written"
    } else if !is_trusted(workspace) {
        "could be renamed by other users"
    } else if probe_namespaces().is_err() {
        "could not be covered without namespaces"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

/// Returns why no overlay can be mounted on the workspace, although its files can be exchanged.
pub(super) fn no_overlay(workspace: &Path) -> Option<String> {
    let kind = statfs(nearest_existing(workspace)).ok()?;
    if let Some(what) = named(UNFIT_FOR_OVERLAYS, kind.f_type) {
        return Some(format!("the workspace lies on {what}"));
    }
    submounts(workspace).map(|reason| format!("{reason} (what is in them cannot be undone)"))
}

/// Asks access(2), which knows of read-only mounts and of capabilities.
fn is_writable(directory: &Path) -> bool {
    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Returns where other file systems are mounted below `directory`.
pub(crate) fn mounted_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mounted = table
        .split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .filter(|path| path != directory && path.starts_with(directory));
    Ok(mounted.collect())
}

/// Returns why no transaction is possible in a workspace with other file systems mounted below it;
/// `None` if there are none. An overlay does not show what is mounted in its lower directory.
pub(crate) fn submounts(workspace: &Path) -> Option<String> {
    let mounted = mounted_in(workspace).ok()?;
    if mounted.is_empty() {
        return None;
    }
    let mounted: Vec<String> = mounted.iter().map(|it| it.display().to_string()).collect();
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
    fn file_systems_that_are_not_for_overlays_are_known() {
        for kind in [
            0x4d44,
            0x2011_bab0,
            0x517b,
            0xff53_4d42,
            0xfe53_4d42,
            0x786f_4256,
        ] {
            assert!(named(UNFIT_FOR_LAYERS, kind).is_some(), "{kind:x}");
        }
        for kind in [0x794c_7630, 0x6969, 0x6573_5546, 0x0102_1997, 0x00c3_6400] {
            assert!(named(UNFIT_FOR_OVERLAYS, kind).is_some(), "{kind:x}");
        }
        // ext4, xfs, btrfs, tmpfs.
        for kind in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994] {
            let tables = [UNFIT_FOR_LAYERS, UNFIT_FOR_OVERLAYS];
            assert!(
                tables.iter().all(|it| named(it, kind).is_none()),
                "{kind:x}"
            );
        }
    }

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
