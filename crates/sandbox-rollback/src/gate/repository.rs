//! Directories that git takes for a repository, and what their configuration makes it run.

use std::{io::Read as _, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use sandbox_types::Change;

use super::{
    GateError,
    git_config::{self, Doubts},
    protected,
};
use crate::{file_error::FileError, stat::Stat, transaction::Transaction, tree::Tree};

/// The most bytes of a git configuration that are read.
const GIT_CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Returns what a change brings to a repository that is no `.git`: git takes any directory for one that has the usual
/// marks, and runs what its configuration says for who only stands in it.
pub(super) fn class(
    change: &Change,
    transaction: &Transaction,
) -> Result<Option<&'static str>, GateError> {
    let path = &change.path;
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
        return Ok(None);
    };
    if directory.file_name().is_some_and(|it| it == "hooks") {
        let repository = directory.parent().unwrap_or(directory);
        return Ok(is_repository(repository, transaction)?.then_some(protected::GIT_HOOK));
    }
    // The last one that is made completes it.
    let is_mark = protected::GIT_MARKS.iter().any(|mark| name == *mark);
    if !(is_mark || name == "config") || !is_repository(directory, transaction)? {
        return Ok(None);
    }
    let config = directory.join("config");
    let (upper, workspace) = (transaction.upper(), &transaction.layout.workspace);
    let runs = match (exists(upper, &config)?, exists(workspace, &config)?) {
        (true, _) => runs_programs(upper, &config)?,
        (false, true) => runs_programs(workspace, &config)?,
        (false, false) => false,
    };
    Ok(runs.then_some(protected::GIT_CONFIG))
}

fn is_repository(directory: &Path, transaction: &Transaction) -> Result<bool, GateError> {
    // The user's own, or looked at by its name.
    if directory.file_name().is_some_and(|it| it == ".git") {
        return Ok(false);
    }
    for mark in protected::GIT_MARKS {
        let mark = directory.join(mark);
        if !exists(transaction.upper(), &mark)? && !exists(&transaction.layout.workspace, &mark)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether something is there, or may be: what cannot be looked at counts.
fn exists(tree: &Path, path: &Path) -> Result<bool, GateError> {
    let tree = Tree::open(tree).map_err(|source| GateError::Read { source })?;
    Ok(tree.find(path).map_or(true, |found| found.is_some()))
}

/// Returns whether a changed git configuration makes git run something. What cannot be read to its
/// end as a plain file counts as if it did: a link, a pipe, one too long, one closed to us.
pub(super) fn runs_programs(tree: &Path, path: &Path) -> Result<bool, GateError> {
    let read = || -> Result<bool, FileError> {
        let tree = Tree::open(tree)?;
        let cannot_read = || tree.cannot::<std::io::Error>("read", path);
        let Ok(spot) = tree.spot(path) else {
            return Ok(true);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&spot.dir, &spot.name, flags, Mode::empty()) {
            Ok(fd) => std::fs::File::from(fd),
            Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(true),
            Err(error) => return Err(cannot_read()(error.into())),
        };
        let stat = Stat::of_fd(&file).map_err(cannot_read())?;
        if !stat.is_file() {
            return Ok(!stat.is_dir());
        }
        if stat.size > GIT_CONFIG_BYTES_MAX {
            return Ok(true);
        }
        let mut bytes = Vec::new();
        file.take(GIT_CONFIG_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(cannot_read())?;
        Ok(git_config::doubts(&bytes) != Doubts::Of(Vec::new()))
    };
    read().map_err(|source| GateError::Read { source })
}

pub(super) fn is_directory(transaction: &Transaction, path: &Path) -> Result<bool, GateError> {
    let tree = Tree::open(transaction.upper()).map_err(|source| GateError::Read { source })?;
    let stat = tree
        .find(path)
        .map_err(tree.cannot("read", path))
        .map_err(|source| GateError::Read { source })?;
    Ok(stat.is_some_and(|stat| stat.is_dir()))
}
