//! What goes with a sandbox, for whoever is asked whether it may.

use serde::Serialize;

use super::{Home, Overrides};
use crate::{registry::SandboxRecord, sandbox::Sandbox};

/// What is lost when a sandbox is destroyed, beside changes that wait for review.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Losses {
    /// Snapshots.
    pub snapshots: u64,
    /// Keys of the state whose values are secret.
    pub secrets: u64,
    /// Operations that could be undone.
    pub undoable: u64,
}

impl Losses {
    /// Returns whether nothing goes that anybody could miss.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Home {
    /// Counts what would go with a sandbox. What cannot be read is lost already, and is not counted.
    pub fn losses(&self, record: &SandboxRecord) -> Losses {
        let opened = self.assemble_to_read(record.clone(), &Overrides::default());
        opened.map_or_else(|_unusable| Losses::default(), |sandbox| sandbox.losses())
    }
}

impl Sandbox {
    fn losses(&self) -> Losses {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let snapshots = self.repository().ok().and_then(|it| it.snapshots().ok());
        let keys = self.state_list("").unwrap_or_default();
        let undoable = self.rollback.as_ref().and_then(|it| it.undoable().ok());
        Losses {
            snapshots: count(snapshots.map_or(0, |it| it.len())),
            secrets: count(keys.iter().filter(|it| it.newest.secret).count()),
            undoable: count(undoable.map_or(0, |it| it.len())),
        }
    }
}
