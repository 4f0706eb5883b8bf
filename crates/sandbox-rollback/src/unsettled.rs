//! Finds what killed processes left, without settling it.

use sandbox_types::OperationId;

use crate::{
    Direction, RollbackManager, UpkeepError,
    file_error::cannot,
    layout::{HELD, JOURNAL, UNDOING},
    lock,
    manager::in_use,
    redo, together,
};

/// What a killed process left of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unsettled {
    /// An open transaction in nobody's use: recovery discards it.
    Interrupted(OperationId),
    /// A commit that had begun: recovery completes it.
    Committing(OperationId),
    /// An undo that had begun: recovery completes it.
    Undoing(OperationId),
    /// A redo that had begun: recovery completes it.
    Redoing(OperationId),
}

impl RollbackManager {
    /// Returns what [`RollbackManager::recover`] would settle now; `None` while another process
    /// settles something. Changes nothing, and waits for nobody.
    ///
    /// # Errors
    ///
    /// Fails when the layers cannot be read.
    pub fn unsettled(&self) -> Result<Option<Vec<Unsettled>>, UpkeepError> {
        let layout = self.layout();
        let gate = layout.lock()?;
        let path = layout.layers.join("lock");
        if !lock::try_exclusive(&gate).map_err(cannot("lock", path))? {
            return Ok(None);
        }
        let mut found = Vec::new();
        for id in layout.ids("tx")? {
            let set = layout.tx(&id);
            if set.join(JOURNAL).exists() {
                found.push(Unsettled::Committing(id));
            } else if !set.join(HELD).exists() && !in_use(&set)? {
                found.push(Unsettled::Interrupted(id));
            }
        }
        let undos = layout.ids("undo")?.into_iter();
        found.extend(
            undos
                .filter(|id| layout.undo(id).join(UNDOING).exists())
                .map(Unsettled::Undoing),
        );
        let redos = redo::half_way(layout)?.into_iter();
        found.extend(redos.map(Unsettled::Redoing));
        for (direction, id) in together::half_way(layout)? {
            let step = match direction {
                Direction::Undo => Unsettled::Undoing(id),
                Direction::Redo => Unsettled::Redoing(id),
            };
            if !found.contains(&step) {
                found.push(step);
            }
        }
        Ok(Some(found))
    }
}
