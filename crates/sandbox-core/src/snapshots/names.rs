//! What a person calls a snapshot: its id, a beginning of it, or a tag that it alone has.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use sandbox_rollback::{Snapshot, SnapshotId};

use super::{REPOSITORY, SnapshotError};
use crate::{layout::Layout, registry, sandbox::Sandbox};

/// The unit of `st_blocks`: stat(2).
const BLOCK_BYTES: u64 = 512;

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

    /// Returns what all snapshots take on disk. What cannot be read is not counted.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        let mut waiting = vec![self.journal().path().with_file_name(REPOSITORY)];
        let mut bytes: u64 = 0;
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(it) if it.is_dir() => waiting.push(entry.path()),
                    Ok(it) => bytes = bytes.saturating_add(it.blocks().saturating_mul(BLOCK_BYTES)),
                    Err(_gone) => {}
                }
            }
        }
        bytes
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
