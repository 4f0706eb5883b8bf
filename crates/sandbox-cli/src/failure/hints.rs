//! What to do about an error at the end of a chain: of the system, or of the journal.

use std::{error::Error, io};

use sandbox_core::{AppendError, JournalFault};

use super::Failure;

/// What to do about anything that a newer program wrote.
pub(super) const NEWER: &str = "use the newer version of sandbox";

/// `EMFILE`: errno(3).
const TOO_MANY_FILES: i32 = 24;

/// Adds what to do about the system's error at the end of the chain, if there is one.
pub(super) fn with_system_hint(failure: Failure, error: &(dyn Error + 'static)) -> Failure {
    let mut deepest = Some(error);
    let mut system = None;
    while let Some(error) = deepest {
        system = error.downcast_ref::<io::Error>().or(system);
        deepest = error.source();
    }
    if system.and_then(io::Error::raw_os_error) == Some(TOO_MANY_FILES) {
        return failure
            .hint("this process may open too few files: `ulimit -n` shows and sets how many");
    }
    match system.map(io::Error::kind) {
        Some(io::ErrorKind::NotADirectory | io::ErrorKind::Unsupported) => failure
            .hint("SANDBOX_HOME sets where data is kept: a directory of your own, on a disk"),
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => failure
            .hint("it must belong to you and be writable; SANDBOX_HOME sets where data is kept"),
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            failure
                .hint("free some space where the error says: on the disk of the workspace, or of SANDBOX_HOME")
                .hint("`sandbox status` says what undo sets and snapshots take; `sandbox discard OP` drops held changes, `sandbox snapshot prune` frees old snapshots, `safety_constraints.undo_keep_mb` bounds undo sets from the next commit on")
        }
        Some(_) | None => failure,
    }
}

/// Adds what to do about a journal that cannot be read or continued.
pub(super) fn with_journal_hint(failure: Failure, error: &(dyn Error + 'static)) -> Failure {
    let mut chain = Some(error);
    while let Some(error) = chain {
        let is_newer = matches!(error.downcast_ref(), Some(JournalFault::Version))
            || matches!(error.downcast_ref(), Some(AppendError::Newer { .. }));
        if is_newer {
            return failure.hint(NEWER);
        }
        chain = error.source();
    }
    with_system_hint(failure, error).hint("`sandbox audit verify` checks the journal")
}
