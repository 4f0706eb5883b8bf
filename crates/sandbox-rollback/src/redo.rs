//! What only a redo needs: a mark for recovery, and the exchange of the plans.
//!
//! A redo's plan becomes the journal that an undo takes back, so it is filed under `undo/` again.

use std::{fs, io, path::Path};

use sandbox_types::OperationId;

use crate::{
    Direction,
    file_error::{FileError, cannot},
    layout::{JOURNAL, Layout, REDOING, UNDOING, UNSEALED},
    meanwhile,
    settle::{self, Finished},
    step::{self, step},
};

/// Writes the mark that says that a redo may be half-way.
pub(crate) fn mark(layout: &Layout) -> Result<(), FileError> {
    let mark = layout.redo_mark();
    let set_mark = || {
        step()?;
        fs::write(&mark, b"")?;
        step::sync_all(&fs::File::open(&layout.layers)?)
    };
    set_mark().map_err(cannot("write", &mark))
}

/// Removes the mark, once it is durable that the set lies in its place: without the mark nobody looks
/// for one that does not. A mark that stays costs the next recovery a look.
pub(crate) fn unmark(layout: &Layout) -> io::Result<()> {
    step()?;
    step::sync_file_system(fs::File::open(&layout.layers)?)?;
    step()?;
    fs::remove_file(layout.redo_mark())
}

/// Makes the redo's plan the set's journal. Each step is durable before the next one: with the undo's
/// plan beside the new journal, the operation would look undone.
pub(crate) fn exchange_plans(set: &Path) -> io::Result<()> {
    let directory = fs::File::open(set)?;
    for old in [UNDOING, UNSEALED] {
        step()?;
        match fs::remove_file(set.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    step()?;
    step::sync_all(&directory)?;
    step()?;
    fs::rename(set.join(REDOING), set.join(JOURNAL))?;
    step()?;
    step::sync_all(&directory)
}

/// Returns the operations whose redo a killed process left half-way.
pub(crate) fn half_way(layout: &Layout) -> Result<Vec<OperationId>, FileError> {
    if !layout.redo_mark().exists() {
        return Ok(Vec::new());
    }
    let mut found = layout.ids(Direction::Redo.part())?;
    found.retain(|id| {
        let set = layout.undone(id);
        set.join(REDOING).exists() || is_redone(&set)
    });
    Ok(found)
}

/// Returns whether all is done but the last step: the directory lies in the wrong place.
fn is_redone(set: &Path) -> bool {
    !set.join(UNDOING).exists() && !set.join(REDOING).exists() && set.join(JOURNAL).exists()
}

/// Does the redos that killed processes left.
pub(crate) fn finish_all(
    layout: &Layout,
    workspace: u64,
    finished: &mut Finished,
) -> Result<(), FileError> {
    for id in half_way(layout)? {
        let set = layout.undone(&id);
        let settled =
            meanwhile::read(layout, (&set, REDOING), workspace).and_then(|plan| match plan {
                Some(plan) => settle::finish(layout, Direction::Redo, (&id, &plan)),
                None => settle::relocate(&set, &layout.undo(&id))
                    .map_err(cannot("file", &set))
                    .map(|()| Vec::new()),
            });
        match settled {
            Ok(paths) => {
                finished.left_alone.extend(paths);
                finished.redos.push(id);
            }
            Err(error) => finished.failed.push((id, error)),
        }
    }
    let mark = layout.redo_mark();
    if finished.failed.is_empty() && mark.exists() {
        unmark(layout).map_err(cannot("remove", &mark))?;
    }
    Ok(())
}
