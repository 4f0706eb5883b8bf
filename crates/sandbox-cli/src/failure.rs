//! What went wrong, why, and what to do next. Printed by `ui.rs`, numbered by `exit_codes.rs`.

mod conflicts;
mod hints;
mod of_history;
mod of_library;
mod of_running;
mod of_snapshots;
mod of_state;

use std::{error::Error, fmt};

use sandbox_types::causes;
use serde::{Deserialize, Serialize};

/// Whose fault it is: decides the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// What was typed cannot be done.
    Usage,
    /// A configuration is wrong.
    Config,
    /// There is no such sandbox or operation.
    NotFound,
    /// It can be done, and is not: something would be lost.
    Refused,
    /// The sandbox or the system failed.
    Sandbox,
    /// Our own mistake.
    Internal,
}

/// A failure, as it is printed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// Outermost first; never empty.
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// Returns a failure without a deeper cause.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            causes: vec![message.into()],
            hints: Vec::new(),
        }
    }

    /// Returns the failure that `error` and its sources describe.
    pub(crate) fn of(kind: Kind, error: &dyn Error) -> Self {
        Self {
            kind,
            causes: distinct(causes(error)),
            hints: Vec::new(),
        }
    }

    /// Says what was attempted when it failed.
    #[must_use]
    pub(crate) fn while_doing(mut self, what: impl Into<String>) -> Self {
        self.causes.insert(0, what.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

/// Drops a cause that says the same as the one before: an error that only passes another one on.
fn distinct(mut causes: Vec<String>) -> Vec<String> {
    causes.dedup();
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_cause_comes_first() {
        let inner = std::io::Error::other("disk on fire");
        let failure = Failure::of(Kind::Sandbox, &inner)
            .while_doing("cannot save")
            .hint("run");
        assert_eq!(failure.causes, ["cannot save", "disk on fire"]);
        assert_eq!(failure.to_string(), "cannot save: disk on fire");
    }
}
