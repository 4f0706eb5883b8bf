//! What the directory of a transaction holds from its beginning.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use crate::{
    clock,
    file_error::{FileError, cannot},
    layout::{Begun, Layout, make_private},
    lock, root,
    stat::Stat,
};

/// Makes all that a new set needs; `spare` is the lock file of one that was used before. Nothing is synced: after a
/// crash of the machine an open transaction is discarded anyway.
pub(crate) fn fill(
    layout: &Layout,
    set: &Path,
    spare: Option<fs::File>,
) -> Result<(OwnedFd, Begun), FileError> {
    let path = set.join("lock");
    let open = || spare.map_or_else(|| new_lock(&path), Ok);
    let (file, lock, mut begun) = open()
        .and_then(|file| stamp(layout, file))
        .map_err(cannot("record", &path))?;
    for directory in ["upper", "work"] {
        let path = set.join(directory);
        make_private(&path).map_err(cannot("create", path))?;
    }
    begun.root = root::imitate(&layout.workspace, &set.join("upper"))?;
    write_begun(&file, &begun).map_err(cannot("write", &path))?;
    Ok((lock, begun))
}

pub(crate) fn write_begun(file: &fs::File, begun: &Begun) -> io::Result<()> {
    let record = serde_json::to_vec(begun)?;
    file.write_all_at(&record, 0)?;
    let length = record.len() as u64;
    if file.metadata()?.len() != length {
        file.set_len(length)?;
    }
    Ok(())
}

fn new_lock(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if !lock::try_exclusive(&file.try_clone()?.into())? {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    Ok(file)
}

/// Takes the time, before anything of the workspace is looked at. `file` is the transaction's lock, taken.
pub(crate) fn stamp(layout: &Layout, file: fs::File) -> io::Result<(fs::File, OwnedFd, Begun)> {
    let lock = OwnedFd::from(file.try_clone()?);
    let begun = Begun {
        workspace: Stat::at(rustix::fs::CWD, &layout.workspace)?.ino,
        started: clock::stamp(&lock)?,
        root: None,
    };
    Ok((file, lock, begun))
}
