//! Ends a transaction: commit, discard or hold, by what happened and by what the gate says.

use std::path::PathBuf;

use sandbox_rollback::{
    ChangesError, CommitError, DiscardError, Gate, GateDecision, GateError, GateOutcome, HoldError,
    Transaction,
};
use sandbox_types::{
    Change, ChangeSummary, Execution, ExitReason, LimitKind, OnFailure, Operation, Settlement,
    Violation,
};

use crate::run::NOTHING_CHANGED;

/// The most paths that a reason names.
const PATHS_NAMED_MAX: usize = 20;

/// The changes were not settled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// What changed is unknown; the transaction is held.
    #[error("cannot list the changes")]
    Changes(#[source] ChangesError),
    /// The commit gate cannot decide; the transaction is held.
    #[error("cannot examine the changes")]
    Gate(#[source] GateError),
    /// Commit failed; recovery finishes or reverses it.
    #[error("cannot commit the changes")]
    Commit(#[source] CommitError),
    /// The transaction is left for recovery, the workspace is as before.
    #[error("cannot discard the changes")]
    Discard(#[source] DiscardError),
    /// The transaction is left for recovery, the workspace is as before.
    #[error("cannot hold the changes for review")]
    Hold(#[source] HoldError),
}

/// What became of the changes, and why.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) summary: ChangeSummary,
    pub(crate) violations: Vec<Violation>,
    pub(crate) over_disk_limit: bool,
}

impl Settled {
    /// There was no transaction.
    pub(crate) fn nothing() -> Self {
        Self {
            summary: ChangeSummary::nothing(),
            violations: Vec::new(),
            over_disk_limit: false,
        }
    }
}

/// How a transaction is to end.
enum Ending {
    Commit,
    Discard(Vec<String>),
    Hold(Vec<String>),
}

/// Ends `transaction`. `execution` is `None` when the command was not run or was lost.
pub(crate) fn settle(
    transaction: Transaction,
    operation: &Operation,
    gate: &Gate,
    execution: Option<&Execution>,
) -> Result<Settled, SettleError> {
    let Some(execution) = execution else {
        transaction.discard().map_err(SettleError::Discard)?;
        return Ok(Settled::nothing());
    };
    let survey = match transaction.survey() {
        Ok(survey) => survey,
        Err(error) => return Err(held_after(transaction, SettleError::Changes(error))),
    };
    if survey.changes.is_empty() && survey.strips.is_empty() {
        transaction.discard().map_err(SettleError::Discard)?;
        let summary = ChangeSummary::of(NOTHING_CHANGED, &[]);
        return Ok(Settled {
            summary,
            ..Settled::nothing()
        });
    }

    let verdict = match gate.examine(&survey, &transaction) {
        Ok(verdict) => verdict,
        Err(error) => return Err(held_after(transaction, SettleError::Gate(error))),
    };
    let changes = survey.changes.clone();
    let over_disk_limit = execution.exit == ExitReason::LimitExceeded(LimitKind::Disk)
        || gate
            .bytes_max
            .is_some_and(|limit| bytes_of(&changes) > limit);
    let (settlement, reasons) = match ending(operation, execution.exit, &verdict) {
        Ending::Commit => match transaction.commit(survey) {
            Ok(committed) => (Settlement::Committed, left_alone(&committed.left_alone)),
            // Somebody changed the same paths meanwhile: theirs stay, these changes wait.
            Err(CommitError::Conflict { paths, .. }) => (Settlement::Pending, left_alone(&paths)),
            Err(error) => return Err(SettleError::Commit(error)),
        },
        Ending::Discard(reasons) => {
            transaction.discard().map_err(SettleError::Discard)?;
            (Settlement::Discarded, reasons)
        }
        Ending::Hold(reasons) => {
            transaction.hold().map_err(SettleError::Hold)?;
            (Settlement::Pending, reasons)
        }
    };
    let mut summary = ChangeSummary::of(settlement, &changes);
    summary.held_because = reasons;
    summary.notices = verdict.notices;
    Ok(Settled {
        summary,
        violations: verdict.violations,
        over_disk_limit,
    })
}

/// Keeps the changes of an operation that cannot be decided on: nothing is lost, and a person can
/// look at it. If even that fails, the next recovery discards them.
fn held_after(transaction: Transaction, error: SettleError) -> SettleError {
    match transaction.hold() {
        Ok(()) | Err(_) => error,
    }
}

fn bytes_of(changes: &[Change]) -> u64 {
    ChangeSummary::of(NOTHING_CHANGED, changes).bytes
}

/// Decides how it ends. What the gate forbids is stronger than what the operation asks for.
fn ending(operation: &Operation, exit: ExitReason, gate: &GateDecision) -> Ending {
    if exit == ExitReason::LimitExceeded(LimitKind::Disk) {
        return Ending::Discard(vec![
            "the changes are larger than the disk limit".to_owned(),
        ]);
    }
    if gate.outcome == GateOutcome::Discard {
        return Ending::Discard(gate.reasons.clone());
    }
    match (exit.is_success(), operation.on_failure) {
        (false, OnFailure::Discard) => Ending::Discard(vec!["the command failed".to_owned()]),
        (false, OnFailure::Review) => Ending::Hold(vec!["the command failed".to_owned()]),
        (true, _) | (false, OnFailure::Keep) if operation.review => {
            Ending::Hold(vec!["review was asked for".to_owned()])
        }
        (true, _) | (false, OnFailure::Keep) if gate.outcome == GateOutcome::Hold => {
            Ending::Hold(gate.reasons.clone())
        }
        (true, _) | (false, OnFailure::Keep) => Ending::Commit,
    }
}

fn left_alone(paths: &[PathBuf]) -> Vec<String> {
    paths
        .iter()
        .take(PATHS_NAMED_MAX)
        .map(|path| format!("changed in the workspace meanwhile: {}", path.display()))
        .collect()
}
