//! What failures to find operations, and to read their history, mean for a person.

use sandbox_core::{HistoryError, monitor::HistoryReadError};

use super::{
    Failure, Kind,
    hints::{with_journal_hint, with_system_hint},
};

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        of_name(Self::of(kind_of_name(&error), &error), &error)
    }
}

/// Returns whose fault it is that a name means nothing.
pub(super) const fn kind_of_name(error: &HistoryError) -> Kind {
    match error {
        HistoryError::Unknown { .. }
        | HistoryError::Short { .. }
        | HistoryError::Ambiguous { .. } => Kind::NotFound,
        HistoryError::Used { .. } => Kind::Usage,
        HistoryError::Read(_) | _ => Kind::Sandbox,
    }
}

/// Adds what to do about a name that means nothing.
pub(super) fn of_name(failure: Failure, error: &HistoryError) -> Failure {
    match error {
        HistoryError::Unknown { .. } | HistoryError::Short { .. } => {
            failure.hint("`sandbox log` lists them")
        }
        HistoryError::Used { .. } => {
            failure.hint("give it another \"id\", or none: then it gets one")
        }
        HistoryError::Ambiguous { .. } => {
            failure.hint("write more of it; `sandbox log --json` has the full ids")
        }
        HistoryError::Read(_) | _ => with_journal_hint(failure, error),
    }
}

impl From<HistoryReadError> for Failure {
    fn from(error: HistoryReadError) -> Self {
        let path = error.path.display().to_string();
        with_system_hint(Self::of(Kind::Sandbox, &error), &error).hint(format!(
            "if nothing else helps, move {path} away: a new history begins"
        ))
    }
}
