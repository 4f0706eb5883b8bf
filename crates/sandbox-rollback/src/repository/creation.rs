//! Making a repository: with its first snapshot, which waits for storage as rarely as any other.
//!
//! Everything is written under names that end in `.first`, and not durably. Then
//! 1. one sync makes all of it durable,
//! 2. each part gets its name, `format.json` before the packs: readers look for it first,
//! 3. a sync of the directory makes the names durable; now it may be said that there is a snapshot.
//!
//! A crash before step 2 leaves only names that end so: they go. One after it leaves a part that has
//! its name: then all parts are durable, and the others get theirs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Repository,
    cipher::Sealing,
    error::RepositoryError,
    format,
    index::{Index, sync_directory},
    session::{Sharing, pack_files, take_lock},
};
use crate::{
    file_error::{FileError, cannot},
    layout::make_private,
    step::{self, step},
};

/// What the names of parts end in that are not there yet.
pub(super) const SUFFIX: &str = ".first";

/// The parts, in the order in which they get their names.
const PARTS: [&str; 6] = [
    "format.json",
    "index.redb",
    "index.sealed",
    "index.seal",
    "packs",
    "sealed",
];

fn first(directory: &Path, part: &str) -> PathBuf {
    directory.join(format!("{part}{SUFFIX}"))
}

/// Returns whether something is there that waits for its name, or was left.
fn has_firsts(directory: &Path) -> bool {
    PARTS.iter().any(|part| first(directory, part).exists())
}

/// Returns whether a part has its name that no repository is without: an empty directory and an index may
/// be what an older program left.
fn is_published(directory: &Path) -> bool {
    // What cannot be looked at may be there.
    let has_packs = |name| match pack_files(&directory.join(name)) {
        Ok(found) => !found.is_empty(),
        Err(error) => error.source.kind() != io::ErrorKind::NotFound,
    };
    let has_format = directory.join("format.json").try_exists();
    has_format.unwrap_or(true) || has_packs("packs") || has_packs("sealed")
}

/// Gives the parts their names if whoever made the repository was killed while doing so. For those who
/// read: what was left before is nobody's yet.
pub(super) fn settle(directory: &Path) -> Result<(), RepositoryError> {
    if has_firsts(directory) && is_published(directory) {
        let _lock = take_lock(directory, Sharing::Alone)?;
        finish(directory)?;
    }
    Ok(())
}

/// As [`settle`], and removes what was left before. For those who change something.
pub(super) fn clear(directory: &Path) -> Result<(), RepositoryError> {
    if has_firsts(directory) {
        let _lock = take_lock(directory, Sharing::Alone)?;
        finish(directory)?;
    }
    Ok(())
}

/// Finishes what a killed process left, or removes it. Nobody else may use the repository.
pub(super) fn finish(directory: &Path) -> Result<(), RepositoryError> {
    if !has_firsts(directory) {
        return Ok(());
    }
    if is_published(directory) {
        name_parts(directory)?;
        return Ok(sync_directory(directory)?);
    }
    Ok(remove_firsts(directory)?)
}

/// Gives each part its name, unless something has it.
fn name_parts(directory: &Path) -> Result<(), FileError> {
    for part in PARTS {
        let (from, to) = (first(directory, part), directory.join(part));
        if !from.exists() {
            continue;
        }
        let name = || -> io::Result<()> {
            if to.exists() {
                return remove(&from);
            }
            step()?;
            fs::rename(&from, &to)
        };
        name().map_err(cannot("publish", &from))?;
    }
    Ok(())
}

/// Removes all that waits for its name.
pub(super) fn remove_firsts(directory: &Path) -> Result<(), FileError> {
    for part in PARTS {
        let path = first(directory, part);
        remove(&path).map_err(cannot("remove", &path))?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    removed(path, |directory| fs::remove_dir_all(directory))
}

/// Removes a file, or a directory without anything in it.
fn remove_empty(path: &Path) -> io::Result<()> {
    removed(path, |directory| fs::remove_dir(directory))
}

fn removed(path: &Path, directory: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) => {
            step()?;
            if metadata.is_dir() {
                directory(path)
            } else {
                fs::remove_file(path)
            }
        }
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Begins a repository where there is none: the parts without their names. It has the lock.
pub(super) fn begin(
    repository: &Repository,
) -> Result<(Repository, Index, Sealing), RepositoryError> {
    let directory = &repository.directory;
    let sealing: Sealing = match &repository.key {
        Some(key) if repository.encrypt => Some(key.wrap(None)?.into()),
        None if repository.encrypt => {
            return Err(RepositoryError::Locked {
                path: directory.clone(),
            });
        }
        _ => None,
    };
    // What an older program left has no packs: it would stand in the way of the names.
    for part in PARTS {
        let path = directory.join(part);
        remove_empty(&path).map_err(cannot("remove", &path))?;
    }
    let draft = Repository {
        is_draft: true,
        ..repository.clone()
    };
    let packs = draft.packs(&sealing);
    make_private(&packs).map_err(cannot("create", &packs))?;
    let index = Index::begin(&draft.index(&sealing))?;
    format::write_draft(&draft, sealing.as_deref().map(|cipher| &cipher.slot))?;
    Ok((draft, index, sealing))
}

/// Makes the repository, all of whose parts are written, a durable one.
pub(super) fn publish(directory: &Path) -> Result<(), RepositoryError> {
    let sync = || step::sync_file_system(fs::File::open(directory)?);
    sync().map_err(cannot("sync the file system of", directory))?;
    name_parts(directory)?;
    Ok(sync_directory(directory)?)
}
