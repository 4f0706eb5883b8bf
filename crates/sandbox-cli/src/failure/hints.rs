//! What to do about an error at the end of a chain: of the system, or of the journal.

use std::{error::Error, io};

use sandbox_core::{AppendError, JournalFault};

use super::Failure;

/// What to do about anything that a newer program wrote.
pub(super) const NEWER: &str = "use the newer version of sandbox";

/// Adds what to do about the system's error at the end of the chain, if there is one.
pub(super) fn with_system_hint(failure: Failure, error: &(dyn Error + 'static)) -> Failure {
    let mut deepest = Some(error);
    let mut system = None;
    while let Some(error) = deepest {
        system = error.downcast_ref::<io::Error>().or(system);
        deepest = error.source();
    }
    match system.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => failure
            .hint("it must belong to you and be writable; SANDBOX_HOME sets where data is kept"),
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            failure
                .hint("free some space; SANDBOX_HOME sets where data is kept")
                .hint("changes that are held take space too: `sandbox log` lists them, `sandbox discard OP` drops them")
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
