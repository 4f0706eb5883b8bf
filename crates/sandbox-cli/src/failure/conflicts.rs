//! What is told when paths of the workspace were changed meanwhile.

use std::path::PathBuf;

use super::Failure;

/// The most conflicting paths that are printed.
const CONFLICTS_SHOWN_MAX: usize = 10;

/// Names the paths that were changed, and the ways out of a commit and an undo.
pub(super) fn conflict(failure: Failure, paths: &[PathBuf]) -> Failure {
    changed(failure, paths)
        .hint(
            "for `undo`: --dry-run shows what would be put back, --force puts it back all the same",
        )
        .hint("for `commit`: `sandbox diff` shows the changes, `sandbox discard` drops them")
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
