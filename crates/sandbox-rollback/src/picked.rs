//! Which changes globs select, where some of them can only be taken together.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use globset::GlobSet;
use sandbox_types::{Change, ChangeKind, told_changes};

use crate::gate::{GateError, compile, covers};

/// Globs, and the directories that are new or replaced as a whole of which they cover all content: whoever names all
/// that is in a new directory means the directory too.
pub(crate) struct Picked {
    globs: GlobSet,
    wholes: BTreeSet<PathBuf>,
}

impl Picked {
    /// `changes` is sorted by path; `tops` is what moves as a whole.
    pub(crate) fn of(
        globs: &[String],
        changes: &[Change],
        tops: &[&Path],
    ) -> Result<Self, GateError> {
        let globs = compile(globs)?;
        let is_covered = |top: &Path| {
            let from = changes.partition_point(|it| it.path.as_path() <= top);
            let below = changes[from..]
                .iter()
                .take_while(|it| it.path.starts_with(top));
            let mut below = below.peekable();
            below.peek().is_some() && below.all(|it| covers(&globs, &it.path))
        };
        let tops = tops.iter().filter(|top| !covers(&globs, top));
        let wholes = tops.filter(|top| is_covered(top));
        let wholes = wholes.map(|&top| top.to_owned()).collect();
        Ok(Self { globs, wholes })
    }

    /// Returns whether the path is selected.
    pub(crate) fn covers(&self, path: &Path) -> bool {
        covers(&self.globs, path) || self.wholes.contains(path)
    }
}

/// Returns the two ends of what is told as a rename of which only one is picked. A plan has what was changed too, a mode
/// perhaps, as two moves.
pub(crate) fn parted_rename(
    all: &[Change],
    is_picked: impl Fn(&Path) -> bool,
) -> Option<(PathBuf, PathBuf)> {
    told_changes(all).iter().find_map(|it| {
        let from = it.from.as_deref()?;
        let parted = is_picked(from) != is_picked(&it.path);
        (it.kind == ChangeKind::Renamed && parted).then(|| (from.to_owned(), it.path.clone()))
    })
}
