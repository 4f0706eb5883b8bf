//! The two ways that an operation can take after its commit, and where each finds and leaves things.
//!
//! ```text
//! tx/<id> --commit--> undo/<id> --undo--> undone/<id> --redo--> undo/<id> ...
//! ```
//! One story is told of both: what was done last is inverted, compared with the workspace, journaled
//! and applied.

use std::{fmt, path::PathBuf};

use sandbox_types::OperationId;
use serde::{Deserialize, Serialize};

use crate::layout::{JOURNAL, Layout, REDOING, SEALED, UNDOING, UNSEALED};

/// The way that an operation takes: back, or forth again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Direction {
    /// What it changed is put back.
    Undo,
    /// Its undo is taken back.
    Redo,
}

impl Direction {
    /// Returns the directory of what is kept of an operation that can go this way.
    pub(crate) fn set(self, layout: &Layout, id: &OperationId) -> PathBuf {
        match self {
            Self::Undo => layout.undo(id),
            Self::Redo => layout.undone(id),
        }
    }

    /// Returns the name of the directory in which those sets lie.
    pub(crate) const fn part(self) -> &'static str {
        match self {
            Self::Undo => "undo",
            Self::Redo => "undone",
        }
    }

    /// Returns the way that takes this one back.
    pub(crate) const fn back(self) -> Self {
        match self {
            Self::Undo => Self::Redo,
            Self::Redo => Self::Undo,
        }
    }

    /// Returns the names of the plan that was done last, and of its seal.
    pub(crate) const fn last(self) -> (&'static str, &'static str) {
        match self {
            Self::Undo => (JOURNAL, SEALED),
            Self::Redo => (UNDOING, UNSEALED),
        }
    }

    /// Returns the names of the plan that is done now, and of its seal.
    pub(crate) const fn next(self) -> (&'static str, &'static str) {
        match self {
            Self::Undo => (UNDOING, UNSEALED),
            Self::Redo => (REDOING, SEALED),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undo => "undo",
            Self::Redo => "redo",
        })
    }
}
