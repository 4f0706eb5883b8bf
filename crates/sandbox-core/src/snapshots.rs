//! Snapshots of the workspace: take, look, restore, check, delete; and the way back.
//!
//! A restore into the workspace is an operation like any other: it is in the log, and `undo` takes
//! it back.

mod error;
mod files;
mod intent;
mod keys;
mod names;
mod policy;
mod records;
mod rollback;
mod settings;
mod texts;
mod with_state;

use std::{path::PathBuf, sync::Arc, time::Instant};

use jiff::Timestamp;
use sandbox_rollback::{
    Destination, Excludes, NewSnapshot, Omission, Progress, Pruned, Rebuilt, Repository,
    RestoreOptions, Restored, Retention, Snapshot, SnapshotId, Taken, Verification, VerifyDepth,
};
use sandbox_state::When;
use sandbox_types::{Change, ChangeSummary, OperationId, ReportedOperation, Settlement, causes};
use serde::Serialize;

pub use error::SnapshotError;
pub use keys::SnapshotKeyError;
pub use policy::time_before_now;
pub use records::{
    RollbackDone, SnapshotCreated, SnapshotDeleted, SnapshotRestored, SnapshotsRekeyed,
};
pub use rollback::{RollbackOptions, RollbackOutcome};
pub(crate) use settings::{allowed, compression};
pub(crate) use texts::{as_text, one_as_text};
pub use with_state::StateBack;

use settings::{excludes, retention};

use crate::{
    core::{SandboxCore, in_background},
    draft::Draft,
    home::now,
    ledger,
    sandbox::Sandbox,
};

/// The name of the directory, beside the journal, that the snapshots lie in.
const REPOSITORY: &str = "repository";
/// The type of an operation that restores.
const RESTORE_TYPE: &str = "snapshot_restore";

/// What is said of a snapshot that is to be taken.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// Words to find it by; they keep it from being removed by retention.
    pub tags: Vec<String>,
    /// What it is for.
    pub message: Option<String>,
    /// What is left out, besides what the configuration says.
    pub excludes: Excludes,
}

/// A snapshot that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotReport {
    /// Its name.
    pub id: SnapshotId,
    /// The one before it.
    pub parent: Option<SnapshotId>,
    /// When it was taken.
    pub created_at: Timestamp,
    /// Everything in it that is no directory.
    pub files: u64,
    /// Directories, without the workspace itself.
    pub dirs: u64,
    /// The sizes of its regular files together.
    pub bytes: u64,
    /// How much of that no older snapshot had.
    pub new_bytes: u64,
    /// What the repository grew by.
    pub stored_bytes: u64,
    /// How long it took.
    pub duration_ms: f64,
    /// How many files were read; the others had not changed.
    pub files_read: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is for.
    pub message: Option<String>,
    /// The state that is pinned with it.
    pub state_sequence: Option<u64>,
    /// How much was left out on purpose; what is in a directory of these is not counted.
    pub excluded: u64,
    /// What else is in the workspace and not in it.
    pub omitted: Vec<Omitted>,
    /// Files that changed each time while they were read.
    #[serde(serialize_with = "as_text")]
    pub torn: Vec<PathBuf>,
    /// Snapshots that retention removed.
    pub dropped: Vec<SnapshotId>,
}

/// A path that is not in a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Omitted {
    /// Relative to the workspace.
    #[serde(serialize_with = "one_as_text")]
    pub path: PathBuf,
    /// Why.
    pub reason: Omission,
}

/// What to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// Globs relative to the workspace; none means everything.
    pub paths: Vec<String>,
    /// Another directory than the workspace: empty, or not there yet.
    pub to: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreOutcome {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The operation that `undo` takes back; `None` if there is nothing to take back.
    pub operation: Option<OperationId>,
    /// Whether it was only planned.
    pub dry_run: bool,
    /// What changed, or would.
    pub paths: Vec<Change>,
    /// Paths that are not as in the snapshot, and why.
    pub notes: Vec<Note>,
}

/// A path that is not as in the snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Relative to the workspace.
    #[serde(serialize_with = "one_as_text")]
    pub path: PathBuf,
    /// Why.
    pub reason: &'static str,
}

impl SandboxCore {
    /// Takes a snapshot of the workspace as it is committed, and pins the state if there is any. Reads only what changed since the last
    /// one, and then removes the oldest ones beyond `max_snapshots`.
    ///
    /// # Errors
    ///
    /// Fails when the workspace cannot be read or the repository not written.
    pub async fn snapshot(
        &self,
        request: SnapshotRequest,
    ) -> Result<SnapshotReport, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.take_snapshot(&request, now())).await
    }

    /// Returns all snapshots, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the repository cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, SnapshotError> {
        Ok(self.sandbox.repository()?.snapshots()?)
    }

    /// Returns the snapshot that `id` is the id, a unique beginning of the id, or a tag of, if only one has it.
    ///
    /// # Errors
    ///
    /// Fails when there is none or more than one.
    pub fn snapshot_named(&self, id: &str) -> Result<Snapshot, SnapshotError> {
        self.sandbox.snapshot_of(id)
    }

    /// Returns which state of the sandbox a snapshot has, for [`SandboxCore::state_get`].
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::snapshot_named`].
    pub fn state_of_snapshot(&self, id: &str) -> Result<When, SnapshotError> {
        self.sandbox.state_of_snapshot(id)
    }

    /// Returns what changed from one snapshot to another, or to the workspace now.
    ///
    /// # Errors
    ///
    /// Fails when one of them is not there or cannot be read.
    pub fn snapshot_diff(
        &self,
        from: &str,
        to: Option<&str>,
    ) -> Result<Vec<Change>, SnapshotError> {
        let repository = self.sandbox.repository()?;
        let from = self.sandbox.snapshot_of(from)?.id;
        let to = to.map(|to| self.sandbox.snapshot_of(to)).transpose()?;
        Ok(repository.diff(&from, to.map(|to| to.id).as_ref())?)
    }

    /// Brings the workspace, or another directory, back to a snapshot.
    ///
    /// # Errors
    ///
    /// Fails when the snapshot is not there or damaged, when a path changes meanwhile, or when a
    /// file cannot be written. Then nothing was touched.
    pub async fn restore(
        &self,
        id: &str,
        request: RestoreRequest,
    ) -> Result<RestoreOutcome, SnapshotError> {
        let (sandbox, id) = (Arc::clone(&self.sandbox), id.to_owned());
        in_background(move || {
            let id = sandbox.snapshot_of(&id)?.id;
            if let Some(to) = &request.to {
                sandbox.check_destination(to)?;
            }
            sandbox.restore_snapshot(id, &request, now())
        })
        .await
    }

    /// Checks the repository; damage is a result.
    ///
    /// # Errors
    ///
    /// Fails when the system cannot read a file of it.
    pub async fn verify_snapshots(
        &self,
        depth: VerifyDepth,
    ) -> Result<Verification, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || Ok(sandbox.repository()?.verify(depth)?)).await
    }

    /// Makes the index of the snapshots again from what is kept; with `dry_run` it only says what that would do.
    ///
    /// # Errors
    ///
    /// Fails when there is nothing, or it cannot be written.
    pub async fn repair_snapshots(&self, dry_run: bool) -> Result<Rebuilt, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || {
            let repository = sandbox.repository()?;
            if dry_run {
                return Ok(repository.rebuild_plan()?);
            }
            Ok(repository.rebuild_index()?)
        })
        .await
    }

    /// Deletes a snapshot, and returns its name. Its space is free after the next prune.
    ///
    /// # Errors
    ///
    /// Fails when there is none of that name, or the repository cannot be written.
    pub async fn delete_snapshot(&self, id: &str) -> Result<SnapshotId, SnapshotError> {
        let (sandbox, id) = (Arc::clone(&self.sandbox), id.to_owned());
        in_background(move || sandbox.delete_snapshot(&id, now())).await
    }

    /// Frees the space of what no snapshot needs.
    ///
    /// # Errors
    ///
    /// Fails when a snapshot cannot be read, or the repository not written.
    pub async fn prune_snapshots(&self, dry_run: bool) -> Result<Pruned, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || {
            let repository = sandbox.repository()?;
            Ok(if dry_run {
                repository.prune_plan()?
            } else {
                let pruned = repository.prune()?;
                sandbox.release_pins();
                pruned
            })
        })
        .await
    }

    /// Brings the workspace, and the state if asked for, back to a snapshot, or to just before an
    /// operation.
    ///
    /// # Errors
    ///
    /// Fails when the target is not known, cannot be reached any more, or a path was edited since.
    pub async fn roll_back(
        &self,
        target: &str,
        options: RollbackOptions,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let (sandbox, target) = (Arc::clone(&self.sandbox), target.to_owned());
        in_background(move || sandbox.roll_back(&target, &options, now())).await
    }
}

impl SandboxCore {
    /// Returns what counts the work of this object with snapshots: for whoever shows how far it is.
    pub fn snapshot_progress(&self) -> Arc<Progress> {
        Arc::clone(&self.sandbox.snapshot_progress)
    }
}

impl Sandbox {
    pub(crate) fn repository(&self) -> Result<Repository, SnapshotError> {
        let directory = self.journal().path().with_file_name(REPOSITORY);
        let repository = self.rollback()?.repository(&directory);
        let repository = repository
            .with_key(keys::of(&self.host))
            .with_progress(Arc::clone(&self.snapshot_progress));
        let encrypt = self.config.safety_constraints.encrypt_snapshots;
        Ok(match encrypt {
            Some(true) => repository.encrypted(),
            Some(false) | None => repository,
        })
    }

    pub(crate) fn take_snapshot(
        &self,
        request: &SnapshotRequest,
        now: Timestamp,
    ) -> Result<SnapshotReport, SnapshotError> {
        // Its workspace would be newer than its state.
        self.finish_left(now)?;
        let request = SnapshotRequest {
            excludes: excludes(&self.config, &request.excludes),
            ..request.clone()
        };
        self.take_snapshot_keeping(&request, retention(&self.config), now)
    }

    fn take_snapshot_keeping(
        &self,
        request: &SnapshotRequest,
        retention: Retention,
        now: Timestamp,
    ) -> Result<SnapshotReport, SnapshotError> {
        let clock = Instant::now();
        // A suspended sandbox stands still: that is a good time for it.
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        self.check_workspace()?;
        let taken = self.take_with_state(&mut NewSnapshot {
            created_at: now,
            tags: request.tags.clone(),
            message: request.message.clone(),
            state_sequence: None,
            compression: compression(&self.config),
            retention,
            excludes: request.excludes.clone(),
        })?;
        let Taken {
            snapshot, dropped, ..
        } = &taken;
        records::created(self.journal(), snapshot, taken.stored_bytes, now)
            .map_err(SnapshotError::Record)?;
        for id in dropped {
            records::deleted(self.journal(), *id, "retention", now)
                .map_err(SnapshotError::Record)?;
        }
        self.release_pins();
        Ok(report(taken, clock.elapsed().as_secs_f64() * 1000.0))
    }

    fn delete_snapshot(&self, id: &str, now: Timestamp) -> Result<SnapshotId, SnapshotError> {
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        let repository = self.repository()?;
        let id = self.snapshot_of(id)?.id;
        repository.delete(&id)?;
        self.release_pins();
        records::deleted(self.journal(), id, "asked for", now).map_err(SnapshotError::Record)?;
        Ok(id)
    }

    fn restore_snapshot(
        &self,
        id: SnapshotId,
        request: &RestoreRequest,
        now: Timestamp,
    ) -> Result<RestoreOutcome, SnapshotError> {
        self.restore_as(OperationId::generate(), (id, request), now)
    }

    /// Restores a snapshot as the operation of this name.
    fn restore_as(
        &self,
        operation: OperationId,
        (id, request): (SnapshotId, &RestoreRequest),
        now: Timestamp,
    ) -> Result<RestoreOutcome, SnapshotError> {
        let clock = Instant::now();
        let _in_use = self.enter()?;
        self.check_workspace()?;
        let options = RestoreOptions {
            operation,
            paths: request.paths.clone(),
            to: match &request.to {
                None => Destination::Workspace,
                Some(path) => Destination::Directory(path.clone()),
            },
            dry_run: request.dry_run,
        };
        let is_operation = !request.dry_run && request.to.is_none();
        let repository = self.repository()?;
        let reported = self.reported_restore(&id, &options);
        let verdict = allowed();
        if is_operation {
            ledger::started(self.journal(), reported.clone(), &verdict, now)
                .map_err(SnapshotError::Record)?;
        }
        // No `?` from here to the record, as for every operation.
        let restored = repository.restore(&id, &options);
        let ended = match &restored {
            Ok(restored) => Ok(ChangeSummary::of(Settlement::Committed, &restored.changes)),
            Err(error) => Err(causes(error)),
        };
        if is_operation {
            let mut report = Draft::of_started(self, reported, now).restored(verdict, &ended);
            report.duration_ms = clock.elapsed().as_secs_f64() * 1000.0;
            ledger::finished(self.journal(), &report, now).map_err(SnapshotError::Record)?;
            self.retain(now);
        }
        let restored = restored.map_err(|source| SnapshotError::Restore { id, source })?;
        if !request.dry_run {
            records::restored(self.journal(), (&restored, &options), now)
                .map_err(SnapshotError::Record)?;
        }
        Ok(outcome(restored, options))
    }

    fn reported_restore(&self, id: &SnapshotId, options: &RestoreOptions) -> ReportedOperation {
        let mut argv: Vec<String> = ["sandbox", "snapshot", "restore"].map(str::to_owned).into();
        argv.push(id.to_string());
        for path in &options.paths {
            argv.extend(["--path".to_owned(), path.clone()]);
        }
        ReportedOperation {
            id: options.operation.clone(),
            type_name: RESTORE_TYPE.to_owned(),
            argv,
            cwd: self.workspace().to_string_lossy().into_owned(),
            secrets: Vec::new(),
        }
    }
}

fn report(taken: Taken, duration_ms: f64) -> SnapshotReport {
    let snapshot = taken.snapshot;
    let omitted = taken.omitted.into_iter();
    SnapshotReport {
        id: snapshot.id,
        parent: snapshot.parent,
        created_at: snapshot.created_at,
        files: snapshot.files,
        dirs: snapshot.dirs,
        bytes: snapshot.bytes,
        new_bytes: snapshot.new_bytes,
        stored_bytes: taken.stored_bytes,
        duration_ms,
        files_read: taken.files_read,
        tags: snapshot.tags,
        message: snapshot.message,
        state_sequence: snapshot.state_sequence,
        omitted: omitted
            .map(|(path, reason)| Omitted { path, reason })
            .collect(),
        excluded: taken.excluded,
        torn: taken.torn,
        dropped: taken.dropped,
    }
}

fn outcome(restored: Restored, options: RestoreOptions) -> RestoreOutcome {
    let notes = restored.notes.into_iter();
    RestoreOutcome {
        snapshot: restored.snapshot,
        operation: restored.undoable.then_some(options.operation),
        dry_run: options.dry_run,
        paths: restored.changes,
        notes: notes.map(|(path, reason)| Note { path, reason }).collect(),
    }
}

#[cfg(test)]
mod tests;
