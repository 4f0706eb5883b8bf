//! The files of a part go over to its own set.

use std::{fs, io};

use rustix::fs::RenameFlags;

use super::{Mark, PART, PARTING, held};
use crate::{
    apply::{spot, transfer},
    file_error::{FileError, cannot},
    journal,
    layout::{CHANGES, Layout},
    retention,
    settle::{self, Finished},
    step::{self, step},
    tree::Tree,
};

/// Moves the files to the new set, and files it beside the old one.
pub(super) fn finish(layout: &Layout, mark: &Mark) -> Result<(), FileError> {
    let whole = mark.direction.set(layout, &mark.id);
    let new = whole.join(PART);
    let (last, _) = mark.direction.last();
    let sync = || {
        step()?;
        step::sync_file_system(fs::File::open(&whole)?)
    };
    let sync = || sync().map_err(cannot::<io::Error>("sync the file system of", &whole));
    if new.exists() {
        let plan = journal::read(&new, last, layout.workspace_ino()?)?.unwrap_or_default();
        let (old, target) = (Tree::open(&whole)?, Tree::open(&new)?);
        for change in &plan.moves {
            let Some((place, file)) = held(change) else {
                continue;
            };
            let path = place.path(change.path());
            // What the workspace kept for somebody else's sake is in neither set.
            let transfer = || transfer(spot(&old, &path)?, spot(&target, &path)?, file);
            transfer().map_err(old.cannot("move", &path))?;
        }
        retention::forget_size(&whole)?;
        sync()?;
        let beside = mark.direction.set(layout, &mark.part);
        settle::relocate(&new, &beside).map_err(cannot("file", &new))?;
        sync()?;
    }
    let file = || {
        for (draft, name) in [("changes.rest", CHANGES), (PARTING, last)] {
            step()?;
            let (from, to) = (whole.join(draft), whole.join(name));
            match rustix::fs::renameat_with(
                rustix::fs::CWD,
                from,
                rustix::fs::CWD,
                to,
                RenameFlags::empty(),
            ) {
                Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    };
    file().map_err(cannot::<io::Error>("file", &whole))?;
    sync()?;
    // A mark that stays costs the next command a look.
    drop(step().and_then(|()| fs::remove_file(layout.layers.join(PARTING))));
    Ok(())
}

/// Completes what a killed process left.
pub(crate) fn finish_all(layout: &Layout, finished: &mut Finished) -> Result<(), FileError> {
    let path = layout.layers.join(PARTING);
    let mark: Mark = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => match serde_json::from_slice(&read.map_err(cannot("read", &path))?) {
            Ok(mark) => mark,
            // It is synced before anything moves: this one was not.
            Err(_) => return fs::remove_file(&path).map_err(cannot("remove", &path)),
        },
    };
    let whole = mark.direction.set(layout, &mark.id);
    if !whole.join(PARTING).exists() {
        let remove = || {
            step()?;
            fs::remove_file(&path)
        };
        return remove().map_err(cannot("remove", &path));
    }
    if let Err(error) = finish(layout, &mark) {
        finished.failed.push((mark.id, error));
    }
    Ok(())
}
