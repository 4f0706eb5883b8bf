//! What a person calls a snapshot: its id, a beginning of it, or a tag that it alone has.

use std::path::Path;

use sandbox_rollback::{Snapshot, SnapshotId};

use super::SnapshotError;
use crate::{layout::Layout, registry, sandbox::Sandbox};

impl Sandbox {
    /// Returns the snapshot of this id, the only one with this tag, or that of the only id that begins so.
    pub(super) fn snapshot_of(&self, text: &str) -> Result<Snapshot, SnapshotError> {
        let repository = self.repository()?;
        if text.parse::<SnapshotId>().is_ok() {
            return Ok(repository.show(text)?);
        }
        let mut tagged = repository.snapshots()?;
        tagged.retain(|it| it.tags.iter().any(|tag| tag == text));
        match (tagged.len(), tagged.pop()) {
            (1, Some(only)) => Ok(only),
            (_, Some(newest)) => {
                tagged.push(newest);
                Err(SnapshotError::SeveralTagged {
                    tag: text.to_owned(),
                    snapshots: tagged.iter().map(|it| it.id).collect(),
                })
            }
            (_, None) => Ok(repository.show(text)?),
        }
    }

    /// Refuses to restore into a workspace as if it were any directory: no transaction would hold that, and no `undo`
    /// bring back what was there.
    pub(super) fn check_destination(&self, to: &Path) -> Result<(), SnapshotError> {
        let there = to.ancestors().find_map(|it| it.canonicalize().ok());
        let Some(there) = there else { return Ok(()) };
        let home = Layout::new(&self.host.data);
        let others = registry::all(&home).unwrap_or_default();
        let within = others
            .into_iter()
            .find(|it| there.starts_with(&it.workspace));
        match within {
            None => Ok(()),
            Some(record) => Err(SnapshotError::IntoWorkspace {
                path: to.to_owned(),
                name: record.name,
            }),
        }
    }
}
