//! A snapshot before an operation that writes to the workspace directly.
//!
//! Where no overlay can be mounted (the workspace lies on one, or there are no user namespaces) the
//! workspace is snapshotted before, incrementally. Afterwards what the snapshot has and the
//! workspace has not is kept as an undo set, so that `undo` and `redo` do as always; an operation
//! that is to be discarded is undone at once. While one runs, nothing else runs in the sandbox.
//!
//! ```text
//! lock -> snapshot -> record -> run -> keep -> (undo) -> forget the record
//! ```
//! Who is killed after the record leaves it: the next one to open the sandbox takes all back.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandbox_rollback::{
    BeginError, NewSnapshot, OnConflict, Repository, RepositoryError, RestoreError, Retention,
    RollbackManager, SnapshotId, Transaction, UndoError,
};
use sandbox_types::{
    ChangeSummary, Execution, LimitsRequest, OnFailure, Operation, OperationId, Settlement,
};
use serde::{Deserialize, Serialize};

use crate::{
    launch_plan::PlanError,
    private,
    sandbox::Sandbox,
    settle::{SettleError, Settled},
};

/// The name of the directory, beside the journal, of these snapshots.
const REPOSITORY: &str = "checkpoints";
/// The name of the record of the operation that runs now.
const RECORD: &str = "checkpoint.json";
/// The name of the lock of the operation that runs now.
const LOCK: &str = "checkpoint.lock";

/// How many snapshots stay: the next one only reads what changed since the last.
const SNAPSHOTS_KEPT: usize = 1;

/// How long an operation waits for the one before it.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// There is no snapshot to go back to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Another operation writes to the workspace.
    #[error("another operation writes to the workspace directly")]
    Busy,
    /// The record of it cannot be read or written.
    #[error("cannot write down that the workspace changes in {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The workspace cannot be snapshotted.
    #[error("cannot take a snapshot of the workspace")]
    Snapshot(#[source] RepositoryError),
    /// What was in the workspace before cannot be kept.
    #[error("cannot keep what was in the workspace before")]
    Keep(#[source] RestoreError),
    /// It cannot be put back.
    #[error("cannot put back what was in the workspace before")]
    Undo(#[source] UndoError),
}

/// How the changes of an operation can be taken back.
#[derive(Debug)]
pub(crate) enum WayBack {
    /// They are in a transaction.
    Transaction(Transaction),
    /// They are in the workspace, and a snapshot has what was there before.
    Checkpoint(Checkpoint),
    /// Not at all.
    None,
}

impl WayBack {
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Checkpoint(_) | Self::None => None,
        }
    }
}

/// A snapshot of the workspace, before an operation that has not ended.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    note: Note,
    repository: Repository,
    record: PathBuf,
    _lock: File,
}

/// What is written down while an operation runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    operation: OperationId,
    snapshot: String,
}

/// Refuses what cannot be kept without a transaction.
pub(crate) fn check(operation: &Operation) -> Result<(), PlanError> {
    let has = |limit: fn(&LimitsRequest) -> bool| {
        limit(&operation.limits) || limit(&operation.granted_limits)
    };
    let needs_a_transaction = [
        (operation.review, "review"),
        (operation.files.is_some(), "files (the declared writes)"),
        (
            operation.on_failure == OnFailure::Review,
            "on_failure: review",
        ),
        (has(|it| it.disk.is_some()), "a disk limit"),
        (has(|it| it.inodes.is_some()), "an inode limit"),
    ];
    match needs_a_transaction.into_iter().find(|(asked, _)| *asked) {
        Some((_, option)) => Err(PlanError::DirectWith { option }),
        None => Ok(()),
    }
}

impl Sandbox {
    /// Takes the snapshot that `operation` can be taken back to.
    pub(crate) fn checkpoint(
        &self,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Checkpoint, CheckpointError> {
        let rollback = self.rollback.as_ref().ok_or(CheckpointError::Busy)?;
        let record = self.checkpoint_file(RECORD);
        let lock = self.checkpoint_lock()?.ok_or(CheckpointError::Busy)?;
        let repository = self.checkpoints(rollback);
        take_back(rollback, &repository, &record)?;
        let snapshot = NewSnapshot {
            created_at: now,
            tags: Vec::new(),
            message: None,
            state_sequence: None,
            compression: crate::snapshots::compression(&self.config),
            retention: Retention::Newest(SNAPSHOTS_KEPT),
            // The operation may change anything.
            excludes: sandbox_rollback::Excludes::default(),
        };
        let taken = repository
            .snapshot(&snapshot)
            .map_err(CheckpointError::Snapshot)?;
        let note = Note {
            operation: operation.id.clone(),
            snapshot: taken.snapshot.id.to_string(),
        };
        let write = || private::replace(&record, &serde_json::to_string(&note)?);
        write().map_err(|source| CheckpointError::Record {
            path: record.clone(),
            source,
        })?;
        Ok(Checkpoint {
            note,
            repository,
            record,
            _lock: lock,
        })
    }

    /// Takes back what a killed operation wrote, and returns which one it was. Does nothing while
    /// one runs.
    pub(crate) fn recover_checkpoint(&self) -> Result<Option<OperationId>, CheckpointError> {
        let record = self.checkpoint_file(RECORD);
        let Some(rollback) = self.rollback.as_ref().filter(|_| record.exists()) else {
            return Ok(None);
        };
        let Some(_lock) = self.try_checkpoint_lock()? else {
            return Ok(None);
        };
        take_back(rollback, &self.checkpoints(rollback), &record)
    }

    fn checkpoints(&self, rollback: &RollbackManager) -> Repository {
        rollback.repository(&self.checkpoint_file(REPOSITORY))
    }

    fn checkpoint_file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn checkpoint_lock(&self) -> Result<Option<File>, CheckpointError> {
        let begun = Instant::now();
        loop {
            let lock = self.try_checkpoint_lock()?;
            if lock.is_some() || begun.elapsed() > WAIT_MAX {
                return Ok(lock);
            }
            // flock has no timeout, and the holder may be another process: ask again.
            thread::park_timeout(PAUSE);
        }
    }

    fn try_checkpoint_lock(&self) -> Result<Option<File>, CheckpointError> {
        let path = self.checkpoint_file(LOCK);
        private::try_lock(&path).map_err(|source| CheckpointError::Record {
            path: path.clone(),
            source,
        })
    }
}

impl Checkpoint {
    /// Keeps what was there before, and puts it back if the operation is to be discarded.
    pub(crate) fn settle(
        self,
        sandbox: &Sandbox,
        operation: &Operation,
        execution: Option<&Execution>,
    ) -> Settled {
        let mut settled = self.keep(sandbox, operation, execution);
        let reason = sandbox.no_overlay_because();
        settled.missing.push(format!(
            "transaction: {reason}, so the command wrote to the workspace directly, with a snapshot taken before; no rule looked at its changes"
        ));
        settled
    }

    fn keep(
        &self,
        sandbox: &Sandbox,
        operation: &Operation,
        execution: Option<&Execution>,
    ) -> Settled {
        let Some(rollback) = &sandbox.rollback else {
            return Settled::never(operation);
        };
        let snapshot = self.note.snapshot.parse::<SnapshotId>();
        let kept = snapshot.map(|it| self.repository.keep_since(&it, &operation.id));
        let committed = match kept {
            Ok(Ok(committed)) => committed,
            Ok(Err(error)) => {
                return Settled::failed(Settlement::None, &[], SettleError::Keep(error));
            }
            Err(_not_an_id) => return Settled::never(operation),
        };
        let failed = execution.is_none_or(|it| !it.exit.is_success());
        let discard = execution.is_none() || failed && operation.on_failure == OnFailure::Discard;
        let settlement = if discard && committed.undoable {
            if let Err(error) = rollback.undo(&operation.id, OnConflict::Force) {
                let changes = &committed.changes;
                return Settled::failed(Settlement::Committed, changes, SettleError::Back(error));
            }
            Settlement::Discarded
        } else {
            Settlement::Committed
        };
        if let Err(error) = self.forget() {
            let changes = &committed.changes;
            return Settled::failed(settlement, changes, SettleError::Forget(error));
        }
        let mut summary = ChangeSummary::of(settlement, &committed.changes);
        if settlement == Settlement::Discarded {
            summary.held_because = vec!["the command failed".to_owned()];
        }
        Settled {
            summary,
            ..Settled::nothing()
        }
    }

    /// The operation is settled: nobody is to take it back any more.
    fn forget(&self) -> io::Result<()> {
        fs::remove_file(&self.record)?;
        self.record.parent().map_or(Ok(()), private::sync)?;
        // What older snapshots needed. If that fails now, the next operation does it.
        drop(self.repository.prune());
        Ok(())
    }
}

/// Takes back what the operation in the record wrote, if there is one.
fn take_back(
    rollback: &RollbackManager,
    repository: &Repository,
    record: &std::path::Path,
) -> Result<Option<OperationId>, CheckpointError> {
    let failed = |source| CheckpointError::Record {
        path: record.to_owned(),
        source,
    };
    let note: Note = match fs::read(record) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(io::Error::from)
            .map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let snapshot: SnapshotId = note
        .snapshot
        .parse()
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let undoable = match repository.keep_since(&snapshot, &note.operation) {
        Ok(committed) => committed.undoable,
        // It was killed after that.
        Err(RestoreError::Begin(BeginError::Exists { .. })) => true,
        Err(error) => return Err(CheckpointError::Keep(error)),
    };
    if undoable {
        let undone = rollback.undo(&note.operation, OnConflict::Force);
        undone.map_err(CheckpointError::Undo)?;
    }
    fs::remove_file(record).map_err(failed)?;
    Ok(Some(note.operation))
}
