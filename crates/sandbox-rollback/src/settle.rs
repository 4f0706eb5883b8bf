//! Carrying out what a journal says: the same code for a commit and for what a crash left of it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sandbox_types::OperationId;

use crate::{
    Direction,
    apply::Sides,
    clock,
    file_error::{FileError, cannot},
    layout::{HELD, JOURNAL, Layout, SEALED, UNDOING},
    ledger::{Ledger, PutBack},
    meanwhile,
    plan::{Identity, Move, Plan},
    portion, redo, renames, renaming, reserve, retention,
    stat::{Stat, Time},
    step::{self, step},
    together, trash,
};

/// Does the committed plan of `tx/<id>` and files the directory under `undo/`; returns the paths
/// that it left alone because somebody else changed them.
pub(crate) fn finish_commit(
    layout: &Layout,
    id: &OperationId,
    plan: &Plan,
) -> Result<Vec<PathBuf>, FileError> {
    let set = layout.tx(id);
    // A power cut may keep a seal and lose what was done before it, so a sealed commit is done again
    // too, until it is filed: that costs one look at each path.
    let sides = Sides::open(layout, &set)?;
    let left_alone = sides.apply(plan)?;
    reserve::release(&set);
    // The seal's time divides the commit's own changes from later edits. It is synced together with
    // the changes.
    seal(&set, SEALED).map_err(cannot("seal", &set))?;
    sides.sync()?;
    renames::drop_copies(layout, &set, (plan, &left_alone));
    relocate(&set, &layout.undo(id)).map_err(cannot("file", &set))?;
    Ok(left_alone)
}

/// Takes back a commit's plan that failed half-way; the transaction is as before.
pub(crate) fn revert_commit(
    layout: &Layout,
    id: &OperationId,
    plan: &Plan,
) -> Result<(), FileError> {
    revert(layout, &layout.tx(id), JOURNAL, plan)
}

/// Does the committed plan of an undo or redo, and files the directory where the other way finds it.
pub(crate) fn finish(
    layout: &Layout,
    direction: Direction,
    (id, plan): (&OperationId, &Plan),
) -> Result<Vec<PathBuf>, FileError> {
    let (set, filed) = (direction.set(layout, id), direction.back().set(layout, id));
    let (journal, seal_name) = direction.next();
    let sides = Sides::open(layout, &set)?;
    let left_alone = sides.apply(plan)?;
    reserve::release(&set);
    note_put_back(layout, &sides, (plan, &set.join(journal)))?;
    retention::forget_size(&set)?;
    seal(&set, seal_name).map_err(cannot("seal", &set))?;
    sides.sync()?;
    match direction {
        Direction::Undo if filed.exists() => {
            trash::throw(&filed, &layout.trash()).map_err(cannot("discard", &filed))?;
        }
        Direction::Undo => {}
        Direction::Redo => redo::exchange_plans(&set).map_err(cannot("file", &set))?,
    }
    relocate(&set, &filed).map_err(cannot("file", &set))?;
    Ok(left_alone)
}

/// Does the committed commits and undos that killed processes left.
pub(crate) fn finish_journals(layout: &Layout) -> Result<Finished, FileError> {
    let workspace = layout.workspace_ino()?;
    let mut finished = Finished::default();
    portion::finish_all(layout, &mut finished)?;
    for id in layout.ids("tx")? {
        let journal = (&*layout.tx(&id), JOURNAL);
        let settled = meanwhile::read(layout, journal, workspace).and_then(|plan| {
            plan.map(|plan| commit_or_revert(layout, &id, &plan))
                .transpose()
        });
        match settled {
            Ok(None) => {}
            Ok(Some(paths)) => {
                finished.left_alone.extend(paths);
                finished.commits.push(id);
            }
            Err(error) => finished.failed.push((id, error)),
        }
    }
    for id in layout.ids("undo")? {
        let journal = (&*layout.undo(&id), UNDOING);
        let settled = meanwhile::read(layout, journal, workspace).and_then(|plan| {
            plan.map(|plan| finish(layout, Direction::Undo, (&id, &plan)))
                .transpose()
        });
        match settled {
            Ok(None) => {}
            Ok(Some(paths)) => {
                finished.left_alone.extend(paths);
                finished.undos.push(id);
            }
            Err(error) => finished.failed.push((id, error)),
        }
    }
    redo::finish_all(layout, workspace, &mut finished)?;
    together::finish(layout, &mut finished)?;
    Ok(finished)
}

/// Does the plan, or takes it back and holds the transaction for review, so that the workspace is
/// either after or before.
fn commit_or_revert(
    layout: &Layout,
    id: &OperationId,
    plan: &Plan,
) -> Result<Vec<PathBuf>, FileError> {
    finish_commit(layout, id, plan).or_else(|error| {
        let held = layout.tx(id).join(HELD);
        let hold = || {
            step()?;
            fs::write(&held, b"")
        };
        hold().map_err(cannot("hold", &held))?;
        revert_commit(layout, id, plan)?;
        Err(error)
    })
}

/// What [`finish_journals`] did.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) commits: Vec<OperationId>,
    pub(crate) undos: Vec<OperationId>,
    pub(crate) redos: Vec<OperationId>,
    /// Of several operations as one: those that are as if nothing had been begun.
    pub(crate) reversed: Vec<OperationId>,
    pub(crate) left_alone: Vec<PathBuf>,
    pub(crate) failed: Vec<(OperationId, FileError)>,
}

pub(crate) fn revert(
    layout: &Layout,
    set: &Path,
    journal: &str,
    plan: &Plan,
) -> Result<(), FileError> {
    let sides = Sides::open(layout, set)?;
    reserve::release(set);
    sides.revert(plan)?;
    sides.sync()?;
    let remove = || {
        step()?;
        fs::remove_file(set.join(journal))?;
        step()?;
        step::sync_all(&fs::File::open(set)?)
    };
    remove().map_err(cannot("take back", set.join(journal)))
}

pub(crate) fn seal(set: &Path, name: &str) -> io::Result<()> {
    let draft = set.join(format!("{name}.new"));
    step()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    let time = clock::stamp(&file.try_clone()?.into())?;
    file.write_all(&serde_json::to_vec(&time)?)?;
    step()?;
    fs::rename(&draft, set.join(name))
}

pub(crate) fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    step()?;
    let (old, new) = (rustix::fs::CWD, rustix::fs::CWD);
    Ok(renaming::to_free_name(old, from, new, to)?)
}

/// Notes in the ledger which files lie in the workspace again.
pub(crate) fn note_put_back(
    layout: &Layout,
    sides: &Sides,
    (plan, journal): (&Plan, &Path),
) -> Result<(), FileError> {
    let put_back = put_back(sides, plan)?;
    let ledger = layout.ledger();
    let append = || {
        let written = Stat::at(rustix::fs::CWD, journal)?.mtime;
        step()?;
        Ledger::append(&ledger, &put_back, written)
    };
    append().map_err(cannot("write", &ledger))
}

fn put_back(sides: &Sides, plan: &Plan) -> Result<Vec<PutBack>, FileError> {
    let mut files = Vec::new();
    let mut note = |path: &Path, ino: u64, before: Time| -> Result<(), FileError> {
        let stat = sides
            .workspace
            .find(path)
            .map_err(sides.workspace.cannot("read", path))?;
        files.extend(stat.filter(|stat| stat.ino == ino).map(|stat| PutBack {
            ino,
            now: stat.ctime,
            before,
        }));
        Ok(())
    };
    for change in &plan.moves {
        match change {
            Move::Exchange { path, entering, .. } | Move::Attach { path, entering, .. } => {
                let Identity { ino, ctime, .. } = *entering;
                note(path, ino, ctime)?;
            }
            Move::Rename { to, file, .. } => note(to, file.ino, file.ctime)?,
            Move::Detach { .. } | Move::MakeDirectory { .. } => {}
        }
    }
    for directory in &plan.directories {
        note(&directory.path, directory.ino, directory.ctime)?;
    }
    Ok(files)
}
