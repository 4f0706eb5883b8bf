//! Held changes are committed or discarded by a person; committed ones can be put back.

use std::{path::PathBuf, time::SystemTime};

use jiff::Timestamp;
use sandbox_rollback::{
    CommitError, DiscardError, OnConflict, PortionError, ResumeError, SplitError, Transaction,
    UndoError, UndoLimits, UpkeepError,
};
use sandbox_state::AppendError;
use sandbox_types::{Change, ChangeSummary, OperationId, Settlement};
use serde::Serialize;

use crate::{
    history::HistoryError, launch_plan::PlanError, ledger, part::COMMIT, sandbox::Sandbox,
    settle::SettleError, suspend::EnterError,
};

/// Held or committed changes cannot be settled as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The sandbox has no transactions.
    #[error(transparent)]
    NoTransactions(#[from] PlanError),
    /// The name means no operation.
    #[error(transparent)]
    Name(#[from] HistoryError),
    /// The sandbox is suspended or was destroyed.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// No operation waits.
    #[error("no operation of this sandbox waits for review")]
    NothingHeld,
    /// The named operation does not wait.
    #[error("the operation {id} does not wait for review")]
    NotHeld {
        /// The operation.
        id: OperationId,
    },
    /// Another process was faster.
    #[error("another process has settled, undone or redone the operation {id} meanwhile")]
    Meanwhile {
        /// The operation.
        id: OperationId,
    },
    /// No operation can be put back.
    #[error("there is nothing to undo")]
    NothingToUndo,
    /// The named operation cannot be put back.
    #[error(
        "the operation {id} has nothing to undo: it changed nothing, was undone already, or its undo set was dropped"
    )]
    NotUndoable {
        /// The operation.
        id: OperationId,
    },
    /// No undo can be taken back.
    #[error("there is nothing to redo")]
    NothingToRedo,
    /// The undo of the named operation cannot be taken back.
    #[error(
        "the operation {id} has nothing to redo: it was not undone, or what its undo took out was dropped"
    )]
    NotRedoable {
        /// The operation.
        id: OperationId,
    },
    /// A path was edited meanwhile.
    #[error("{} path(s) were changed since", paths.len())]
    Conflict {
        /// The paths, relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// A path was edited since the undo that is to be taken back.
    #[error("{} path(s) were changed since", paths.len())]
    RedoConflict {
        /// The paths, relative to the workspace.
        paths: Vec<PathBuf>,
    },
    /// The transactions cannot be listed.
    #[error("cannot list the transactions")]
    List(#[source] UpkeepError),
    /// The held transaction cannot be opened.
    #[error("cannot open the held changes of {id}")]
    Resume {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: ResumeError,
    },
    /// The selected changes cannot be taken out of the others.
    #[error("cannot take a part of the held changes of {id}")]
    Split {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: SplitError,
    },
    /// The selected changes cannot be taken out of the others.
    #[error("cannot take a part of what {id} changed")]
    Portion {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: PortionError,
    },
    /// The changes cannot be settled.
    #[error("cannot settle the held changes of {id}")]
    Settle {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: SettleError,
    },
    /// The changes cannot be put back.
    #[error("cannot undo {id}")]
    Undo {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: UndoError,
    },
    /// The undo cannot be taken back.
    #[error("cannot redo {id}")]
    Redo {
        /// The operation.
        id: OperationId,
        /// Why.
        #[source]
        source: UndoError,
    },
    /// It is done, and there is no record of it.
    #[error("it is done, and cannot be recorded")]
    Record(#[source] AppendError),
}

impl ReviewError {
    /// Returns whether what was typed is no path pattern.
    pub const fn is_pattern(&self) -> bool {
        matches!(
            self,
            Self::Split {
                source: SplitError::Glob(_),
                ..
            } | Self::Portion {
                source: PortionError::Glob(_),
                ..
            }
        )
    }
}

/// What became of held changes.
#[derive(Clone, Debug, Serialize)]
pub struct ReviewOutcome {
    /// The operation.
    pub operation: OperationId,
    /// Its changes and their settlement.
    pub changes: ChangeSummary,
    /// The operation that it was a part of, and whose other changes still wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<OperationId>,
}

/// Which held changes to settle.
#[derive(Clone, Debug, Default)]
pub struct HeldSelection {
    /// Which operation; `None` is the newest one that waits.
    pub id: Option<String>,
    /// Globs relative to the workspace; none means all changes.
    pub paths: Vec<String>,
}

/// How to undo, or to redo.
#[derive(Clone, Debug, Default)]
pub struct UndoOptions {
    /// Which operation; `None` is the last one that changed something, or that was undone.
    pub id: Option<String>,
    /// Only say what would be put back.
    pub dry_run: bool,
    /// What becomes of what was edited meanwhile.
    pub on_conflict: OnConflict,
    /// Globs relative to the workspace; none means all that it changed.
    pub paths: Vec<String>,
}

/// What was put back, or brought back.
#[derive(Clone, Debug, Serialize)]
pub struct UndoOutcome {
    /// The operation.
    pub operation: OperationId,
    /// Whether it was only planned.
    pub dry_run: bool,
    /// The paths that were put back (or would be), as the undo changes them.
    pub paths: Vec<Change>,
    /// Paths that were edited since the operation.
    #[serde(serialize_with = "crate::snapshots::as_text")]
    pub conflicts: Vec<PathBuf>,
    /// Edited files that stay (or would) beside what was put back.
    pub kept: Vec<KeptEdit>,
    /// The operation that it was a part of, and whose other changes stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<OperationId>,
    /// Operations that wrote to the workspace directly since, newest first: they cannot be undone. Only where no
    /// operation was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub direct_since: Vec<OperationId>,
}

/// An edited file that stays in the workspace beside the one that was put back.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeptEdit {
    /// Where it was, and where the other one is now.
    #[serde(serialize_with = "crate::snapshots::one_as_text")]
    pub path: PathBuf,
    /// Where it is now.
    #[serde(serialize_with = "crate::snapshots::one_as_text")]
    pub kept_as: PathBuf,
}

impl Sandbox {
    /// Returns the operations whose changes wait for review, oldest first.
    pub(crate) fn pending(&self) -> Result<Vec<OperationId>, ReviewError> {
        let Some(rollback) = &self.rollback else {
            return Ok(Vec::new());
        };
        rollback.pending().map_err(ReviewError::List)
    }

    /// Opens the held transaction that `id` names.
    pub(crate) fn held(&self, id: Option<&str>) -> Result<Transaction, ReviewError> {
        let rollback = self.rollback()?;
        let pending = rollback.pending().map_err(ReviewError::List)?;
        let id = match id {
            None => pending.last().cloned().ok_or(ReviewError::NothingHeld)?,
            Some(text) => {
                let id = self.resolve(text)?;
                if !pending.contains(&id) {
                    return Err(ReviewError::NotHeld { id });
                }
                id
            }
        };
        rollback.resume(&id).map_err(|source| {
            self.unless_settled(
                ReviewError::Resume {
                    id: id.clone(),
                    source,
                },
                &id,
            )
        })
    }

    /// Returns why a held operation is not settled: its changes wait no more, or else `error`.
    fn unless_settled(&self, error: ReviewError, id: &OperationId) -> ReviewError {
        match self.pending() {
            Ok(waiting) if !waiting.contains(id) => ReviewError::Meanwhile { id: id.clone() },
            Ok(_) | Err(_) => error,
        }
    }

    pub(crate) fn commit(
        &self,
        selection: &HeldSelection,
        now: Timestamp,
    ) -> Result<ReviewOutcome, ReviewError> {
        self.check_policies()?;
        let _in_use = self.enter()?;
        self.check_workspace()?;
        let held = self.held(selection.id.as_deref())?;
        let (transaction, part_of) = self.part(held, (&selection.paths, COMMIT), now)?;
        let id = transaction.id().clone();
        let failed = |source| ReviewError::Settle {
            id: id.clone(),
            source,
        };
        let survey = transaction
            .survey()
            .map_err(|it| self.unless_settled(failed(SettleError::Changes(it)), &id))?;
        let changes = survey.changes.clone();
        match transaction.commit(survey) {
            Ok(_committed) => {}
            Err(CommitError::Conflict { paths, .. }) => {
                return Err(ReviewError::Conflict { paths });
            }
            Err(error) => {
                return Err(self.unless_settled(failed(SettleError::Commit(error)), &id));
            }
        }
        self.retain(now);
        self.reviewed(
            id,
            ledger::COMMITTED,
            (ChangeSummary::of(Settlement::Committed, &changes), part_of),
            now,
        )
    }

    pub(crate) fn discard(
        &self,
        selection: &HeldSelection,
        now: Timestamp,
    ) -> Result<ReviewOutcome, ReviewError> {
        let _in_use = self.enter()?;
        let held = self.held(selection.id.as_deref())?;
        let (transaction, part_of) = self.part(held, (&selection.paths, "discard"), now)?;
        let id = transaction.id().clone();
        let failed = |source| ReviewError::Settle {
            id: id.clone(),
            source,
        };
        let changes = transaction
            .changes()
            .map_err(|it| self.unless_settled(failed(SettleError::Changes(it)), &id))?;
        let discard = |it: DiscardError| self.unless_settled(failed(SettleError::Discard(it)), &id);
        transaction.discard().map_err(discard)?;
        self.reviewed(
            id,
            ledger::DISCARDED,
            (ChangeSummary::of(Settlement::Discarded, &changes), part_of),
            now,
        )
    }

    fn reviewed(
        &self,
        operation: OperationId,
        kind: &str,
        (changes, part_of): (ChangeSummary, Option<OperationId>),
        now: Timestamp,
    ) -> Result<ReviewOutcome, ReviewError> {
        ledger::about(self.journal(), kind, &operation, None, now).map_err(ReviewError::Record)?;
        Ok(ReviewOutcome {
            operation,
            changes,
            part_of,
        })
    }

    /// Drops the oldest undo sets beyond what is configured. What cannot be dropped now is dropped
    /// next time.
    pub(crate) fn retain(&self, now: Timestamp) {
        if let Some(rollback) = &self.rollback {
            let limits = UndoLimits {
                count: self.config.undo_keep(),
                age: self.config.undo_keep_age(),
                bytes: self.config.undo_keep_bytes(),
            };
            let now = SystemTime::from(now);
            let _dropped_later = rollback.retain(&limits, now);
        }
    }
}
