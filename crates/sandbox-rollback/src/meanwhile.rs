//! What somebody else did between a kill and the recovery after it.
//!
//! Each name that a plan changes moves the time of its directory, and the plan gives the directory the time that it
//! should have. A recovery does the plan again, and must not do so with a directory that was edited since. The kill is
//! no time that is written down, but every move changes a directory of the set as well, which is nobody else's: what
//! came later than that was not ours.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    file_error::FileError,
    journal,
    layout::Layout,
    plan::{Move, Place, Plan},
    stat::Time,
    tree::Tree,
};

/// The clock of a file system ticks every 10 milliseconds at the slowest, so both sides of a move may differ by one tick.
const TICK_NANOS: u32 = 20_000_000;

/// Reads the journal of what was interrupted, as it is to be done now.
pub(crate) fn read(
    layout: &Layout,
    (set, name): (&Path, &str),
    workspace: u64,
) -> Result<Option<Plan>, FileError> {
    let Some(mut plan) = journal::read(set, name, workspace)? else {
        return Ok(None);
    };
    keep_times(layout, set, &mut plan)?;
    Ok(Some(plan))
}

/// Leaves the times of edits alone.
fn keep_times(layout: &Layout, set: &Path, plan: &mut Plan) -> Result<(), FileError> {
    let (workspace, set) = (layout.open_workspace()?, Tree::open(set)?);
    let look = |path: &Path| {
        let found = workspace.find(path);
        found.map_err(workspace.cannot("read", path))
    };
    let ours = last_moves(&workspace, &set, plan)?;
    let is_later = |time: Time, directory: &Path| {
        let last = ours.get(directory);
        last.is_none_or(|last| time > later(*last))
    };
    for directory in &mut plan.directories {
        let path = directory.path.as_path();
        let Some(now) = look(path)?.filter(|it| it.ino == directory.ino) else {
            continue;
        };
        let is_planned = [directory.before.mtime, directory.after.mtime].contains(&now.mtime);
        if !is_planned && is_later(now.mtime, path) {
            directory.before.mtime = now.mtime;
            directory.after.mtime = now.mtime;
        }
    }
    for change in &mut plan.moves {
        let path = change.path().to_owned();
        let (Move::Attach { entering, .. } | Move::Exchange { entering, .. }) = change else {
            continue;
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        if entering.mtime.is_some()
            && let Some(now) = look(&path)?
            && now.ino == entering.ino
            && is_later(now.mtime, parent)
        {
            entering.mtime = None;
        }
    }
    Ok(())
}

/// Returns when the plan changed a name in a directory last, by the directory.
fn last_moves(
    workspace: &Tree,
    set: &Tree,
    plan: &Plan,
) -> Result<BTreeMap<PathBuf, Time>, FileError> {
    let mut last = BTreeMap::new();
    let mut note = |path: &Path, tree: &Tree, witness: &Path| -> Result<(), FileError> {
        let found = tree.find(witness).map_err(tree.cannot("read", witness))?;
        if let (Some(parent), Some(stat)) = (path.parent(), found) {
            let time = last.entry(parent.to_owned()).or_insert(stat.ctime);
            *time = stat.ctime.max(*time);
        }
        Ok(())
    };
    for change in &plan.moves {
        let path = change.path();
        let place = match change {
            Move::Exchange { .. } => Place::Upper,
            Move::Attach { from: place, .. } | Move::Detach { to: place, .. } => *place,
            Move::Rename { from, to, .. } => {
                for end in [from, to] {
                    for name in [from, to] {
                        note(end, workspace, name)?;
                    }
                }
                continue;
            }
            Move::MakeDirectory { .. } => {
                note(path, workspace, path)?;
                continue;
            }
        };
        if let Some(directory) = place.path(path).parent() {
            note(path, set, directory)?;
        }
    }
    Ok(last)
}

fn later(Time(seconds, nanos): Time) -> Time {
    let nanos = nanos + TICK_NANOS;
    match nanos.checked_sub(1_000_000_000) {
        Some(rest) => Time(seconds + 1, rest),
        None => Time(seconds, nanos),
    }
}
