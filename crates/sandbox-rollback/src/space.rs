//! What is kept takes space on disk: how much.

use serde::Serialize;

use crate::{Direction, RollbackManager, UpkeepError, retention::look_at_size_of};

/// The allocated bytes of what is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Space {
    /// What operations replaced or deleted, for `undo`.
    pub undo_bytes: u64,
    /// What undos took out, for `redo`.
    pub redo_bytes: u64,
    /// What waits for review.
    pub held_bytes: u64,
}

impl RollbackManager {
    /// Returns how much is kept. What goes meanwhile is not counted.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn space(&self) -> Result<Space, UpkeepError> {
        let all = |direction: Direction| -> Result<u64, UpkeepError> {
            let ids = self.layout().ids(direction.part())?;
            let sets = ids.iter().map(|id| direction.set(self.layout(), id));
            Ok(sets.filter_map(|set| look_at_size_of(&set).ok()).sum())
        };
        let held = self.pending()?;
        let held = held.iter().map(|id| self.layout().tx(id));
        Ok(Space {
            undo_bytes: all(Direction::Undo)?,
            redo_bytes: all(Direction::Redo)?,
            held_bytes: held.filter_map(|set| look_at_size_of(&set).ok()).sum(),
        })
    }
}
