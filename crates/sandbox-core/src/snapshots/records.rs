//! What the journal says of snapshots.

use jiff::Timestamp;
use sandbox_rollback::{Destination, Rekeyed, RestoreOptions, Restored, Snapshot, SnapshotId};
use sandbox_state::AppendError;
use sandbox_types::{ChangeSummary, OperationId, Settlement};
use serde::{Deserialize, Serialize};

use crate::ledger::{self, Ledger};

/// A snapshot that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotCreated {
    /// Which one.
    pub snapshot: SnapshotId,
    /// The one before it.
    pub parent: Option<SnapshotId>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is for.
    pub message: Option<String>,
    /// The state that is pinned with it.
    pub state_sequence: Option<u64>,
    /// Everything in it that is no directory.
    pub files: u64,
    /// The sizes of its regular files together.
    pub bytes: u64,
    /// What the repository grew by.
    pub stored_bytes: u64,
}

/// A snapshot that was restored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotRestored {
    /// Which one.
    pub snapshot: SnapshotId,
    /// The operation that the restore was; `None` if it was not into the workspace, or changed
    /// nothing.
    pub operation: Option<OperationId>,
    /// Where to, if it was not the workspace.
    pub to: Option<String>,
    /// Which paths; none means everything.
    pub paths: Vec<String>,
    /// How many paths were created.
    pub created: u64,
    /// How many were modified.
    pub modified: u64,
    /// How many were deleted.
    pub deleted: u64,
}

/// A snapshot that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotDeleted {
    /// Which one.
    pub snapshot: SnapshotId,
    /// `retention`, `policy`, or `asked for`.
    pub reason: String,
}

/// The snapshots are encrypted with another key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotsRekeyed {
    /// Whether they were not encrypted before.
    pub encrypted: bool,
    /// Files that have the new key.
    pub packs: u64,
}

/// A rollback that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollbackDone {
    /// The snapshot or the operation, in full.
    pub target: String,
    /// The operation that restored a snapshot.
    pub operation: Option<OperationId>,
    /// The operations that were undone, in that order.
    pub undone: Vec<OperationId>,
    /// The snapshot of what was before.
    pub safety: Option<SnapshotId>,
    /// The sequence number of the state that is back, if the state was rolled back too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_sequence: Option<u64>,
}

pub(super) fn rekeyed(
    ledger: &Ledger,
    rekeyed: Rekeyed,
    now: Timestamp,
) -> Result<(), AppendError> {
    let said = SnapshotsRekeyed {
        encrypted: rekeyed.encrypted,
        packs: rekeyed.packs,
    };
    ledger
        .append(ledger::SNAPSHOTS_REKEYED, now, &said)
        .map(drop)
}

pub(super) fn created(
    ledger: &Ledger,
    snapshot: &Snapshot,
    stored_bytes: u64,
    now: Timestamp,
) -> Result<(), AppendError> {
    let created = SnapshotCreated {
        snapshot: snapshot.id,
        parent: snapshot.parent,
        tags: snapshot.tags.clone(),
        message: snapshot.message.clone(),
        state_sequence: snapshot.state_sequence,
        files: snapshot.files,
        bytes: snapshot.bytes,
        stored_bytes,
    };
    ledger
        .append(ledger::SNAPSHOT_CREATED, now, &created)
        .map(drop)
}

pub(super) fn deleted(
    ledger: &Ledger,
    snapshot: SnapshotId,
    reason: &str,
    now: Timestamp,
) -> Result<(), AppendError> {
    let deleted = SnapshotDeleted {
        snapshot,
        reason: reason.to_owned(),
    };
    ledger
        .append(ledger::SNAPSHOT_DELETED, now, &deleted)
        .map(drop)
}

pub(super) fn restored(
    ledger: &Ledger,
    (restored, options): (&Restored, &RestoreOptions),
    now: Timestamp,
) -> Result<(), AppendError> {
    let counts = ChangeSummary::of(Settlement::Committed, &restored.changes);
    let payload = SnapshotRestored {
        snapshot: restored.snapshot,
        operation: restored.undoable.then(|| options.operation.clone()),
        to: match &options.to {
            Destination::Workspace => None,
            Destination::Directory(path) => Some(path.to_string_lossy().into_owned()),
        },
        paths: options.paths.clone(),
        created: counts.created,
        modified: counts.modified,
        deleted: counts.deleted,
    };
    ledger
        .append(ledger::SNAPSHOT_RESTORED, now, &payload)
        .map(drop)
}

pub(super) fn rolled_back(
    ledger: &Ledger,
    done: &RollbackDone,
    now: Timestamp,
) -> Result<(), AppendError> {
    ledger.append(ledger::ROLLED_BACK, now, done).map(drop)
}
