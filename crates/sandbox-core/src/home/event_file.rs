//! Where the file of events must not lie.

use std::{
    fs, iter,
    path::{Path, PathBuf},
};

use super::OpenError;
use crate::{layout::Layout, registry::SandboxRecord};

/// Refuses a file that operations could replace, and one among our own files: an event that is
/// appended to a journal damages it.
pub(super) fn check(file: &Path, record: &SandboxRecord, layout: &Layout) -> Result<(), OpenError> {
    let ours = iter::once(layout.home()).chain(record.layers.as_deref());
    let places = iter::once((
        record.workspace.as_path(),
        "the workspace, where operations could replace it",
    ))
    .chain(ours.map(|it| (it, "the sandbox's own data, which it could damage")));
    let real_file = real(file);
    for (place, why) in places {
        let real_place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        if file.starts_with(place) || real_file.starts_with(real_place) {
            return Err(OpenError::EventFile {
                path: file.to_owned(),
                place: why,
            });
        }
    }
    Ok(())
}

/// Returns the path without links in its parents. The file itself is not opened if it is one.
fn real(file: &Path) -> PathBuf {
    let parent = file.parent().and_then(|it| fs::canonicalize(it).ok());
    match (parent, file.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => file.to_owned(),
    }
}
