//! What a guest sees of the host, and what of ours is covered in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2},
    io::Errno,
};
use sandbox_isolation::View;
use sandbox_types::Operation;

use super::{PlanError, hidden, transactions};
use crate::{home::user_configuration, host::Host, sandbox::Sandbox};

/// Returns what the guest of an operation sees besides the system: what was granted, without what is ours.
pub(super) fn of(operation: &Operation, sandbox: &Sandbox) -> Result<View, PlanError> {
    let isolation = &sandbox.config.isolation;
    let together = |configured: &[PathBuf], asked: &[PathBuf]| {
        configured.iter().chain(asked).cloned().collect::<Vec<_>>()
    };
    let read = together(&isolation.read, &operation.read);
    let write = together(&isolation.write, &operation.write);
    let mut hide = hidden(operation, sandbox);
    hide.push(sandbox.host.data.clone());
    hide.extend(transactions::in_sight(sandbox, &together(&read, &write))?);
    if !write.is_empty() {
        hide.extend(cover_of_configuration(
            &sandbox.host,
            sandbox.workspace(),
            &write,
        )?);
    }
    Ok(View {
        home: sandbox.host.home.clone(),
        search_path: sandbox.host.search_path.clone(),
        toolchains: sandbox.host.toolchains(),
        secrets: sandbox.host.secrets(),
        read,
        write,
        hide,
    })
}

/// Returns the places of the user's configuration, which grants to all sandboxes. Its directory is made if it is
/// missing in a directory that may be written: what is not there cannot be covered, and a command could put it there.
fn cover_of_configuration(
    host: &Host,
    workspace: &Path,
    write: &[PathBuf],
) -> Result<Vec<PathBuf>, PlanError> {
    let unusable = |source| PlanError::Configuration {
        path: host.user_config.clone(),
        source,
    };
    let places = user_configuration(host, workspace).map_err(unusable)?;
    if let Some(directory) = places
        .first()
        .filter(|_| host.user_config.parent().is_some())
    {
        let holds =
            |path: &PathBuf| fs::canonicalize(path).is_ok_and(|it| directory.starts_with(it));
        if write.iter().any(holds) {
            make_own(directory).map_err(unusable)?;
        }
    }
    Ok(places)
}

/// Makes a directory whose real path this is, through no link, and only in one of the caller's own: in the home of
/// somebody else, root makes nothing.
fn make_own(path: &Path) -> io::Result<()> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    };
    let mut missing = Vec::new();
    let mut found: Option<OwnedFd> = None;
    for above in path.ancestors() {
        match open(above) {
            Ok(directory) => {
                found = Some(directory);
                break;
            }
            Err(Errno::NOENT) => missing.extend(above.file_name()),
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let Some(mut directory) = found else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if fstat(&directory)?.st_uid != rustix::process::geteuid().as_raw() {
        let reason = "it is not there, and would lie in a directory of another user, where a command could make it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    for name in missing.into_iter().rev() {
        match mkdirat(&directory, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    }
    Ok(())
}
