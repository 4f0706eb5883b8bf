//! Where transactions and undo sets lie in what a guest would see, of whichever sandbox and home.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::PlanError;
use crate::{
    initializer::mounted_in,
    layout::{Layout, is_of_layers},
    registry,
    sandbox::Sandbox,
};

/// Returns the directories that transactions lie in and that are not in the sandbox's own data: in the workspace, and
/// in what is granted. What is missed here could be read and forged, so that nothing is left out silently.
pub(super) fn in_sight(sandbox: &Sandbox, granted: &[PathBuf]) -> Result<Vec<PathBuf>, PlanError> {
    let workspace = sandbox.workspace();
    let mut found = named_in(workspace)?;
    if sandbox.record.has_layers_inside() {
        // Also if it was not found: then something else may come to stand there.
        found.extend(parent_of(sandbox.record.layers.as_ref()));
    }
    if granted.is_empty() {
        return Ok(found);
    }
    let data = &sandbox.host.data;
    let all = registry::claims(&Layout::new(data)).map_err(PlanError::Transactions)?;
    let elsewhere = all.iter().filter_map(|it| parent_of(it.layers.as_ref()));
    found.extend(elsewhere.filter(|layers| !layers.starts_with(data)));
    for path in granted {
        for place in places_in(path, workspace)? {
            found.extend(named_in(&place)?);
        }
    }
    Ok(found)
}

/// Returns where to look for those of other homes in what is granted: where it begins, where other file systems are
/// mounted in it, and on the way to the workspace.
fn places_in(granted: &Path, workspace: &Path) -> Result<Vec<PathBuf>, PlanError> {
    let look = |source| looked(granted, source);
    let real = match fs::canonicalize(granted) {
        Ok(real) => real,
        // It was refused by its name, or was there when it was configured.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(look(source)),
    };
    let mut places = mounted_in(&real).map_err(look)?;
    let above = workspace.ancestors().skip(1);
    let between = above.take_while(|it| it.starts_with(&real) && **it != real);
    places.extend(between.map(Path::to_owned));
    places.push(real);
    Ok(places)
}

/// Returns the directories with such a name in `directory`.
fn named_in(directory: &Path) -> Result<Vec<PathBuf>, PlanError> {
    let look = |source| looked(directory, source);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_closed(directory, error.kind()) => return Ok(Vec::new()),
        Err(source) => return Err(look(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(look)?;
        // A link is none of ours: a command may have made it, to have something else covered.
        if is_of_layers(&entry.file_name()) && entry.file_type().map_err(look)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a directory that cannot be read has nothing that a guest could reach: it is none, or nobody may enter it.
fn is_closed(directory: &Path, why: io::ErrorKind) -> bool {
    let is_none = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&why);
    is_none || why == io::ErrorKind::PermissionDenied && access(directory, Access::EXEC_OK).is_err()
}

fn parent_of(layers: Option<&PathBuf>) -> Option<PathBuf> {
    layers?.parent().map(Path::to_owned)
}

fn looked(path: &Path, source: io::Error) -> PlanError {
    PlanError::Look {
        path: path.to_owned(),
        source,
    }
}
