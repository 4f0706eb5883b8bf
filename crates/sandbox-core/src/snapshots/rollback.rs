//! The way back: to a snapshot by one restore, to before an operation by undoing it and all after it,
//! as one.

use std::{mem, path::PathBuf};

use jiff::Timestamp;
use sandbox_rollback::{
    CommitError, Direction, OnConflict, PortionError, RepositoryError, RestoreError, Retention,
    RollbackManager, SnapshotId, TogetherPlan, UndoError,
};
use sandbox_types::{Change, OperationId, told_changes};
use serde::Serialize;

use super::{
    Note, RestoreRequest, SnapshotError, SnapshotReport, SnapshotRequest, StateBack, as_text,
    intent::{Intent, StateIntent, Way},
    records::{self, RollbackDone},
};
use crate::{history::HistoryError, ledger, review::KeptEdit, sandbox::Sandbox, undo::kept};

/// How to roll back.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// Globs relative to the workspace; none means everything.
    pub paths: Vec<String>,
    /// Roll the versioned state of the sandbox back too.
    pub state: bool,
    /// What becomes of what was edited since one of the operations. What a snapshot brings back
    /// replaces edits in any case: `undo` of it brings them back.
    pub on_conflict: OnConflict,
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
    /// What changed, or would, each path once.
    pub paths: Vec<Change>,
    /// Paths that somebody else changed since.
    #[serde(serialize_with = "as_text")]
    pub conflicts: Vec<PathBuf>,
    /// Edited files that stay (or would) beside what came back.
    pub kept: Vec<KeptEdit>,
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
        if !options.dry_run {
            self.finish_left(now)?;
        }
        let mut outcome = self.plan_rollback(&target, options, now)?;
        if options.dry_run {
            return Ok(outcome);
        }
        if options.on_conflict == OnConflict::Refuse && !outcome.conflicts.is_empty() {
            return Err(SnapshotError::Conflict {
                paths: outcome.conflicts,
            });
        }
        let _in_use = self.enter()?;
        // Given up after the lock: who holds the store sees what is left of this.
        let store;
        let _lock = self.rollback_lock()?.ok_or(SnapshotError::Busy)?;
        // Left by one that was killed a moment ago: the next try finishes it first. It must not be written over.
        if self.has_intent() {
            return Err(SnapshotError::Left);
        }
        // A restore is undone without a snapshot.
        if options.state || matches!(target, Target::Operation(_)) {
            outcome.safety = Some(self.safety(&outcome.target, now)?.id);
        }
        let way = self.way(&target, (options, &mut outcome), now)?;
        // Nobody else changes the state until the intent is gone.
        store = match &outcome.state {
            Some(_) => self.known_store()?,
            None => None,
        };
        self.go_back((way, store.as_ref()), (options, &mut outcome), now)?;
        let done = RollbackDone {
            target: outcome.target.clone(),
            operation: outcome.operation.clone(),
            undone: outcome.undone.clone(),
            safety: outcome.safety,
            state_sequence: outcome.state.as_ref().map(|it| it.sequence),
        };
        records::rolled_back(self.journal(), &done, now).map_err(SnapshotError::Record)?;
        self.forget_intent()?;
        drop(store);
        self.retain(now);
        Ok(outcome)
    }

    /// Returns what would be done.
    fn plan_rollback(
        &self,
        target: &Target,
        options: &RollbackOptions,
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        self.check_workspace()?;
        let mut planned = match target {
            Target::Snapshot(id) => self.plan_restore(*id, options, now)?,
            Target::Operation(id) => self.plan_undos(id, options)?,
        };
        if options.state {
            let sequence = self.sequence_of(target)?;
            planned.state = Some(StateBack {
                sequence,
                keys: self.state_plan(sequence)?,
            });
        }
        Ok(planned)
    }

    /// Returns how the workspace goes back; single paths of operations become operations first.
    fn way(
        &self,
        target: &Target,
        (options, outcome): (&RollbackOptions, &mut RollbackOutcome),
        now: Timestamp,
    ) -> Result<Way, SnapshotError> {
        match target {
            Target::Snapshot(_) if outcome.paths.is_empty() => Ok(Way::Nothing),
            Target::Snapshot(_) => Ok(Way::Snapshot(OperationId::generate())),
            Target::Operation(_) => {
                if !options.paths.is_empty() {
                    for id in &mut outcome.undone {
                        let part = self.portion((id, &options.paths), now);
                        *id = part.map_err(|source| SnapshotError::Part {
                            id: id.clone(),
                            source: Box::new(source),
                        })?;
                    }
                }
                Ok(Way::Operations(outcome.undone.clone()))
            }
        }
    }

    /// Rolls the workspace back, and then the state. The intent that this leaves is for the caller to
    /// forget.
    fn go_back(
        &self,
        (way, store): (Way, Option<&sandbox_state::Store>),
        (options, outcome): (&RollbackOptions, &mut RollbackOutcome),
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let before = store.map_or(Ok(0), sandbox_state::Store::sequence);
        let before = before.map_err(super::with_state::read_failed)?;
        let intent = Intent {
            target: outcome.target.clone(),
            way,
            safety: outcome.safety,
            state: outcome.state.as_ref().map(|state| StateIntent {
                before,
                to: state.sequence,
            }),
        };
        self.intend(&intent)?;
        if let Err(error) = self.go_back_workspace(&intent.way, (options, outcome), now) {
            // What is half-way, or perhaps done, goes on at the next command, and the rest with it.
            if !error.may_have_gone() {
                self.forget_intent()?;
            }
            return Err(error);
        }
        let (Some(state), Some(store)) = (&mut outcome.state, store) else {
            return Ok(());
        };
        if state.keys.is_empty() {
            return Ok(());
        }
        match self.rollback_state_in(store, state.sequence, now) {
            Ok(done) => {
                let back =
                    |(key, version): (String, sandbox_state::Version)| sandbox_state::KeyBack {
                        key,
                        restores: version.restores,
                    };
                state.keys = done.changed.into_iter().map(back).collect();
                Ok(())
            }
            // It went back, and only the journal does not say so: the next command does that.
            Err(error) if store.sequence().ok() != Some(before) => Err(error.into()),
            Err(error) => Err(self.without_state(&intent, error.into())),
        }
    }

    /// Puts the workspace back to before the rollback: the state cannot go with it. If that fails,
    /// the next command finishes both.
    fn without_state(&self, intent: &Intent, error: SnapshotError) -> SnapshotError {
        let source = Box::new(error);
        let back = || -> Result<(), SnapshotError> {
            let rollback = self.rollback()?;
            let failed = |source| SnapshotError::Undo {
                target: intent.target.clone(),
                source: Box::new(source),
            };
            match &intent.way {
                Way::Nothing => {}
                Way::Operations(ids) => {
                    let ids: Vec<OperationId> = ids.iter().rev().cloned().collect();
                    rollback
                        .go_together(Direction::Redo, &ids, OnConflict::KeepBoth)
                        .map_err(failed)?;
                }
                Way::Snapshot(id) => {
                    rollback.undo(id, OnConflict::KeepBoth).map_err(failed)?;
                }
            }
            self.forget_intent()
        };
        match back() {
            Ok(()) => *source,
            Err(_) => SnapshotError::WorkspaceOnly { source },
        }
    }

    fn go_back_workspace(
        &self,
        way: &Way,
        (options, outcome): (&RollbackOptions, &mut RollbackOutcome),
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        match way {
            Way::Nothing => {}
            Way::Snapshot(operation) => {
                let request = RestoreRequest {
                    paths: options.paths.clone(),
                    to: None,
                    dry_run: false,
                };
                let id = outcome.target.parse();
                let id = id.map_err(|_not_an_id| SnapshotError::UnknownTarget {
                    target: outcome.target.clone(),
                })?;
                let restored = self.restore_as(operation.clone(), (id, &request), now)?;
                (outcome.operation, outcome.notes) = (restored.operation, restored.notes);
                outcome.paths = restored.paths;
            }
            Way::Operations(ids) => {
                let done = self
                    .rollback()?
                    .go_together(Direction::Undo, ids, options.on_conflict)
                    .map_err(|source| undo_failed(&outcome.target, source))?;
                outcome.kept = kept(done.into_iter().flat_map(|it| it.kept).collect());
                for id in ids {
                    ledger::about(self.journal(), ledger::UNDONE, id, None, now)
                        .map_err(SnapshotError::Record)?;
                }
            }
        }
        Ok(())
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
        let snapshot = match self.snapshot_of(target) {
            Ok(snapshot) => Some(snapshot.id),
            Err(SnapshotError::Repository(
                RepositoryError::Empty | RepositoryError::Unknown { .. },
            )) => None,
            Err(SnapshotError::Repository(RepositoryError::Ambiguous { .. })) => {
                return Err(SnapshotError::AmbiguousTarget { target: text() });
            }
            Err(error) => return Err(error),
        };
        let operation = match self.resolve(target) {
            Ok(id) => Some(id),
            Err(HistoryError::Unknown { .. } | HistoryError::Short { .. }) => None,
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

    fn plan_restore(
        &self,
        id: SnapshotId,
        options: &RollbackOptions,
        now: Timestamp,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let request = RestoreRequest {
            paths: options.paths.clone(),
            to: None,
            dry_run: true,
        };
        let restored = self.restore_snapshot(id, &request, now)?;
        Ok(RollbackOutcome {
            paths: restored.paths,
            notes: restored.notes,
            ..planned(id.to_string(), options)
        })
    }

    /// Plans to undo `id` and what was committed after it, newest first.
    fn plan_undos(
        &self,
        id: &OperationId,
        options: &RollbackOptions,
    ) -> Result<RollbackOutcome, SnapshotError> {
        let rollback = self.rollback()?;
        let undoable = rollback.undoable().map_err(SnapshotError::List)?;
        let Some(at) = undoable.iter().position(|it| it == id) else {
            return Err(SnapshotError::NotUndoable { id: id.clone() });
        };
        let mut going: Vec<OperationId> = undoable[at..].iter().rev().cloned().collect();
        let mut plan = plan_undos(rollback, &mut going, options)?;
        Ok(RollbackOutcome {
            undone: going,
            paths: told_changes(&plan.changes).into_owned(),
            kept: kept(mem::take(&mut plan.kept)),
            conflicts: plan.conflicts,
            ..planned(id.to_string(), options)
        })
    }
}

fn planned(target: String, options: &RollbackOptions) -> RollbackOutcome {
    RollbackOutcome {
        target,
        dry_run: options.dry_run,
        operation: None,
        undone: Vec::new(),
        safety: None,
        state: None,
        paths: Vec::new(),
        conflicts: Vec::new(),
        kept: Vec::new(),
        notes: Vec::new(),
    }
}

/// Plans to undo `going`, newest first; takes those out that changed nothing of the selected paths.
fn plan_undos(
    rollback: &RollbackManager,
    going: &mut Vec<OperationId>,
    options: &RollbackOptions,
) -> Result<TogetherPlan, SnapshotError> {
    let (on_conflict, globs) = (options.on_conflict, options.paths.as_slice());
    let mut plans = Vec::new();
    let mut touching = Vec::new();
    for id in mem::take(going) {
        let part = if globs.is_empty() {
            Ok(None)
        } else {
            rollback.portion_plan(Direction::Undo, &id, (globs, on_conflict))
        };
        let plan = match part {
            Ok(Some(plan)) => plan,
            Ok(None) => rollback
                .plan_of(Direction::Undo, &id, on_conflict)
                .map_err(|source| SnapshotError::Plan {
                    id: id.clone(),
                    source,
                })?,
            Err(PortionError::Nothing { .. }) => continue,
            Err(source) => {
                let source = crate::undo::portion_failed(Direction::Undo, &id, source);
                return Err(SnapshotError::Part {
                    id,
                    source: Box::new(source),
                });
            }
        };
        plans.push(plan);
        touching.push(id);
    }
    if touching.is_empty() {
        return Err(SnapshotError::NothingSelected {
            globs: globs.join(", "),
        });
    }
    *going = touching;
    Ok(TogetherPlan::of(plans))
}

fn undo_failed(target: &str, source: UndoError) -> SnapshotError {
    if let UndoError::Conflict { paths, .. } = source {
        return SnapshotError::Conflict { paths };
    }
    SnapshotError::Undo {
        target: target.to_owned(),
        source: Box::new(source),
    }
}

impl SnapshotError {
    /// Returns whether the workspace may have gone back all the same, or will.
    fn may_have_gone(&self) -> bool {
        if let Self::Undo { source, .. } = self {
            return matches!(
                **source,
                UndoError::Interrupted { .. } | UndoError::Record { .. }
            );
        }
        if let Self::Record(_) = self {
            return true;
        }
        let commit = |error: &RestoreError| {
            matches!(error, RestoreError::Commit(CommitError::Interrupted { .. }))
        };
        matches!(self, Self::Restore { source, .. } if commit(source))
    }
}
