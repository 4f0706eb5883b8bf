//! The way back: to a snapshot by one restore, to before an operation by undoing it and all after
//! it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sandbox_rollback::{OnConflict, RepositoryError, Retention, RollbackManager, SnapshotId};
use sandbox_types::{Change, OperationId};
use serde::Serialize;

use super::{
    Note, RestoreRequest, SnapshotError, SnapshotReport, SnapshotRequest, StateBack, as_text,
    records::{self, RollbackDone},
};
use crate::{history::HistoryError, ledger, sandbox::Sandbox};

/// How to roll back.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// Globs relative to the workspace, for a snapshot; none means everything.
    pub paths: Vec<String>,
    /// Roll the versioned state of the sandbox back too.
    pub state: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was rolled back.
#[derive(Clone, Debug, Serialize)]
pub struct RollbackOutcome {
    /// The snapshot or the operation, in full.
    pub target: String,
    /// Whether it was only planned.
    pub dry_run: bool,
    /// The operation that restored a snapshot: `undo` takes it back.
    pub operation: Option<OperationId>,
    /// The operations that were undone, or would be, newest first.
    pub undone: Vec<OperationId>,
    /// The snapshot of what was before: rolling back to it takes this back.
    pub safety: Option<SnapshotId>,
    /// What became of the versioned state, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateBack>,
    /// What changed, or would; a path may stand here once for each operation that changed it.
    pub paths: Vec<Change>,
    /// Paths that somebody else changed since.
    #[serde(serialize_with = "as_text")]
    pub conflicts: Vec<PathBuf>,
    /// Paths that are not as in the snapshot, and why.
    pub notes: Vec<Note>,
}

/// What a name means.
pub(super) enum Target {
    Snapshot(SnapshotId),
    Operation(OperationId),
}

impl Sandbox {
    pub(super) fn roll_back(
        &self,
        target: &str,
        options: &RollbackOptions,
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let target = self.target(target)?;
        let outcome = if options.state {
            self.roll_back_both(&target, options, now)?
        } else {
            self.roll_back_workspace(&target, options, None, now)?
        };
        if !options.dry_run {
            let done = RollbackDone {
                target: outcome.target.clone(),
                operation: outcome.operation.clone(),
                undone: outcome.undone.clone(),
                safety: outcome.safety,
                state_sequence: outcome.state.as_ref().map(|it| it.sequence),
            };
            records::rolled_back(self.journal(), &done, now).map_err(SnapshotError::Record)?;
        }
        Ok(outcome)
    }

    /// Rolls the workspace back; takes a snapshot before if the way needs one and there is none.
    pub(super) fn roll_back_workspace(
        &self,
        target: &Target,
        options: &RollbackOptions,
        safety: Option<SnapshotId>,
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        match target {
            Target::Snapshot(id) => self.to_snapshot(*id, options, now),
            Target::Operation(id) if !options.paths.is_empty() => {
                Err(SnapshotError::PathsOfOperation { id: id.clone() })
            }
            Target::Operation(id) => self.to_before(id, (options, safety), now),
        }
    }

    /// Takes the snapshot that takes a rollback back. It drops no other one: that may be the target.
    pub(super) fn safety(
        &self,
        target: &str,
        now: Timestamp,
    ) -> Result<SnapshotReport, SnapshotError> {
        let request = SnapshotRequest {
            tags: Vec::new(),
            message: Some(format!("before the rollback to {target}")),
            // All that it may change.
            excludes: sandbox_rollback::Excludes::default(),
        };
        self.take_snapshot_keeping(&request, Retention::All, now)
    }

    /// Finds out whether the name is that of a snapshot or of an operation.
    fn target(&self, target: &str) -> Result<Target, SnapshotError> {
        let text = || target.to_owned();
        let snapshot = match self.repository()?.show(target) {
            Ok(snapshot) => Some(snapshot.id),
            Err(RepositoryError::Empty | RepositoryError::Unknown { .. }) => None,
            Err(RepositoryError::Ambiguous { .. }) => {
                return Err(SnapshotError::AmbiguousTarget { target: text() });
            }
            Err(error) => return Err(error.into()),
        };
        let operation = match self.resolve(target) {
            Ok(id) => Some(id),
            Err(HistoryError::Unknown { .. }) => None,
            Err(HistoryError::Ambiguous { .. }) => {
                return Err(SnapshotError::AmbiguousTarget { target: text() });
            }
            Err(error) => return Err(SnapshotError::History(error)),
        };
        match (snapshot, operation) {
            (Some(id), None) => Ok(Target::Snapshot(id)),
            (None, Some(id)) => Ok(Target::Operation(id)),
            (Some(_), Some(_)) => Err(SnapshotError::AmbiguousTarget { target: text() }),
            (None, None) => Err(SnapshotError::UnknownTarget { target: text() }),
        }
    }

    fn to_snapshot(
        &self,
        id: SnapshotId,
        options: &RollbackOptions,
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let request = RestoreRequest {
            paths: options.paths.clone(),
            to: None,
            dry_run: options.dry_run,
        };
        let restored = self.restore_snapshot(id, &request, now)?;
        Ok(RollbackOutcome {
            target: id.to_string(),
            dry_run: options.dry_run,
            operation: restored.operation,
            undone: Vec::new(),
            safety: None,
            state: None,
            paths: restored.paths,
            conflicts: Vec::new(),
            notes: restored.notes,
        })
    }

    /// Undoes `id` and what was committed after it, newest first. Each undo is all or nothing; the
    /// snapshot that is taken before takes all of them back.
    fn to_before(
        &self,
        id: &OperationId,
        (options, safety): (&RollbackOptions, Option<SnapshotId>),
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let _in_use = self.enter()?;
        self.check_workspace()?;
        let rollback = self.rollback()?;
        let undoable = rollback.undoable().map_err(SnapshotError::List)?;
        let Some(at) = undoable.iter().position(|it| it == id) else {
            return Err(SnapshotError::NotUndoable { id: id.clone() });
        };
        let going: Vec<OperationId> = undoable[at..].iter().rev().cloned().collect();
        let (paths, conflicts) = plan(rollback, &going)?;
        let mut outcome = RollbackOutcome {
            target: id.to_string(),
            dry_run: options.dry_run,
            operation: None,
            undone: going,
            safety: None,
            state: None,
            paths,
            conflicts,
            notes: Vec::new(),
        };
        if options.dry_run {
            return Ok(outcome);
        }
        if !outcome.conflicts.is_empty() {
            return Err(SnapshotError::Conflict {
                paths: outcome.conflicts,
            });
        }
        let safety = match safety {
            Some(safety) => safety,
            None => self.safety(&outcome.target, now)?.id,
        };
        for operation in &outcome.undone {
            rollback
                .undo(operation, OnConflict::Refuse)
                .map_err(|source| SnapshotError::Undo {
                    id: operation.clone(),
                    safety,
                    source: Box::new(source),
                })?;
            ledger::about(self.journal(), ledger::UNDONE, operation, None, now)
                .map_err(SnapshotError::Record)?;
        }
        outcome.safety = Some(safety);
        Ok(outcome)
    }
}

/// Returns what undoing `going`, newest first, changes, and what stands in the way: what was edited
/// since, except where a newer one of them, which is undone before, made that edit.
fn plan(
    rollback: &RollbackManager,
    going: &[OperationId],
) -> Result<(Vec<Change>, Vec<PathBuf>), SnapshotError> {
    let mut paths: Vec<Change> = Vec::new();
    let mut conflicts = Vec::new();
    for id in going {
        let failed = |source| SnapshotError::Plan {
            id: id.clone(),
            source,
        };
        let plan = rollback.undo_plan(id).map_err(failed)?;
        let newer = |path: &Path| {
            let touches =
                |change: &Change| change.path.starts_with(path) || path.starts_with(&change.path);
            paths.iter().any(touches)
        };
        conflicts.extend(plan.conflicts.into_iter().filter(|path| !newer(path)));
        paths.extend(plan.changes);
    }
    Ok((paths, conflicts))
}
