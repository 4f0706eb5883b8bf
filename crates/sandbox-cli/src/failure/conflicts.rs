//! What is told when paths of the workspace were changed meanwhile.

use std::path::{Path, PathBuf};

use sandbox_core::{PortionError, ReviewError, SplitError};

use super::{Failure, Kind};
use crate::commands::describe::quoted;

/// The most conflicting paths that are printed.
const CONFLICTS_SHOWN_MAX: usize = 10;

impl Failure {
    /// Returns why held changes were not committed, with the ways out of that.
    pub(crate) fn of_commit(error: ReviewError) -> Self {
        let ReviewError::Conflict { paths } = &error else {
            return error.into();
        };
        changed(Self::of(Kind::Refused, &error), paths).hint(
            "`sandbox diff` shows the changes, `sandbox commit --path GLOB` takes others, `sandbox discard` drops them",
        )
    }
}

/// Names the paths that were changed, and the ways out of an undo or a rollback.
pub(super) fn conflict(failure: Failure, paths: &[PathBuf]) -> Failure {
    changed(failure, paths).hint(
        "--dry-run shows what would be put back, --force puts it back all the same, and with --keep-both the edits stay beside it as NAME.edited",
    )
}

/// Names the paths that were changed.
pub(super) fn changed(mut failure: Failure, paths: &[PathBuf]) -> Failure {
    for path in paths.iter().take(CONFLICTS_SHOWN_MAX) {
        failure
            .causes
            .push(format!("changed since: {}", path.display()));
    }
    if paths.len() > CONFLICTS_SHOWN_MAX {
        failure
            .causes
            .push(format!("and {} more", paths.len() - CONFLICTS_SHOWN_MAX));
    }
    failure
}

/// Returns whether the selection is what cannot be done.
pub(super) const fn is_refusal(error: &ReviewError) -> bool {
    matches!(
        error,
        ReviewError::Split { .. }
            | ReviewError::Portion {
                source: PortionError::Nothing { .. }
                    | PortionError::Whole { .. }
                    | PortionError::Renamed { .. }
                    | PortionError::HardLink { .. }
                    | PortionError::Closed { .. },
                ..
            }
    )
}

/// Says what to select instead.
pub(super) fn with_part_hint(failure: Failure, error: &ReviewError) -> Failure {
    let option = |path: &Path| format!("--path {}", quoted(&path.to_string_lossy()));
    if let ReviewError::Split {
        source: SplitError::Whole { path },
        ..
    }
    | ReviewError::Portion {
        source: PortionError::Whole { path },
        ..
    } = error
    {
        failure.hint(format!("take the directory as a whole: {}", option(path)))
    } else if let ReviewError::Split {
        source: SplitError::Renamed { from, to },
        ..
    }
    | ReviewError::Portion {
        source: PortionError::Renamed { from, to },
        ..
    } = error
    {
        failure.hint(format!("take both: {} {}", option(from), option(to)))
    } else if let ReviewError::Split { .. } = error {
        failure.hint("`sandbox diff` lists what waits; a glob is read from the workspace's root")
    } else if let ReviewError::Portion { id, .. } = error {
        failure.hint(format!(
            "`sandbox show {id}` lists what it changed; a glob is read from the workspace's root"
        ))
    } else {
        failure
    }
}
