//! Ends a transaction: commit, discard or hold, by what happened and by what the gate says.

use std::{io, path::PathBuf};

use sandbox_rollback::{
    ChangesError, CommitError, DiscardError, Discarded, Gate, GateDecision, GateError, GateOutcome,
    HoldError, RestoreError, Survey, Transaction, UndoError,
};
use sandbox_types::{
    Change, ChangeSummary, ContentAction, Execution, ExitReason, LimitKind, OnFailure, Operation,
    Settlement, Violation, causes, config::ContentSettings,
};

use crate::{
    content::{self, Examined},
    run::NOTHING_CHANGED,
};

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
    /// Commit failed; the transaction is held, or recovery completes what had begun.
    #[error("cannot commit the changes")]
    Commit(#[source] CommitError),
    /// What the command wrote directly stays in the workspace, and cannot be undone.
    #[error("cannot keep what was in the workspace before")]
    Keep(#[source] RestoreError),
    /// What the command wrote directly stays in the workspace; `undo` takes it back.
    #[error("cannot put back what was in the workspace before")]
    Back(#[source] UndoError),
    /// The next one to open the sandbox takes back what the command wrote directly.
    #[error("cannot write down that the operation has ended")]
    Forget(#[source] io::Error),
    /// The transaction is left for recovery, the workspace is as before.
    #[error("cannot discard the changes")]
    Discard(#[source] DiscardError),
    /// The transaction is left for recovery, the workspace is as before.
    #[error("cannot hold the changes for review")]
    Hold(#[source] HoldError),
}

/// What became of the changes, and why.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) summary: ChangeSummary,
    pub(crate) violations: Vec<Violation>,
    /// The limit that the changes are over.
    pub(crate) over: Option<LimitKind>,
    /// What was wanted of the transaction and is not there, one sentence each.
    pub(crate) missing: Vec<String>,
    /// Kept until the guest's mounts are gone.
    #[expect(dead_code, reason = "only held")]
    pub(crate) discarded: Option<Discarded>,
    /// What failed meanwhile. The summary says what became of the changes all the same.
    pub(crate) failure: Option<SettleError>,
}

impl Settled {
    /// There was no transaction.
    pub(crate) fn nothing() -> Self {
        Self {
            summary: ChangeSummary::nothing(),
            violations: Vec::new(),
            over: None,
            missing: Vec::new(),
            discarded: None,
            failure: None,
        }
    }

    /// Nothing can be taken back, without having been asked for.
    pub(crate) fn never(operation: &Operation) -> Self {
        let missing = "undo: there is no transaction here, and nothing can be undone".to_owned();
        Self {
            missing: Some(missing)
                .filter(|_| !operation.direct)
                .into_iter()
                .collect(),
            ..Self::nothing()
        }
    }

    /// Settling failed; `settlement` is what became of the changes, as far as they are known.
    pub(crate) fn failed(settlement: Settlement, changes: &[Change], error: SettleError) -> Self {
        let mut summary = ChangeSummary::of(settlement, changes);
        summary.held_because = vec![causes(&error).join(": ")];
        Self {
            summary,
            failure: Some(error),
            ..Self::nothing()
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
    (gate, content): (&Gate, &ContentSettings),
    execution: Option<&Execution>,
) -> Settled {
    let Some(execution) = execution else {
        return match transaction.discard() {
            Ok(discarded) => Settled {
                discarded: Some(discarded),
                ..Settled::nothing()
            },
            Err(error) => left_behind(&[], SettleError::Discard(error)),
        };
    };
    let survey = match transaction.survey() {
        Ok(survey) => survey,
        Err(error) => return held_after(transaction, &[], SettleError::Changes(error)),
    };
    let changes = survey.changes.clone();
    if changes.is_empty() && survey.strips.is_empty() {
        return match transaction.discard() {
            Ok(discarded) => Settled {
                summary: ChangeSummary::of(NOTHING_CHANGED, &[]),
                discarded: Some(discarded),
                ..Settled::nothing()
            },
            Err(error) => left_behind(&[], SettleError::Discard(error)),
        };
    }
    let verdict = match gate.examine(&survey, &transaction) {
        Ok(verdict) => verdict,
        Err(error) => return held_after(transaction, &changes, SettleError::Gate(error)),
    };
    let over = over(execution.exit, gate, &changes);
    let ending = ending(operation, execution.exit, &verdict);
    let examined = match &ending {
        // What reaches nobody need not be looked at.
        Ending::Discard(_) => Examined::default(),
        Ending::Commit | Ending::Hold(_) => content::examine(&transaction, &changes, content),
    };
    let ending = after_scan(ending, &examined, content.action);
    let mut settled = end(transaction, survey, ending);
    settled.summary.notices = verdict.notices;
    settled.violations = verdict.violations;
    settled
        .violations
        .extend(examined.violation(content.action));
    settled.summary.findings = examined.findings;
    settled.summary.scan = examined.scan;
    settled.over = over;
    settled
}

fn end(transaction: Transaction, survey: Survey, ending: Ending) -> Settled {
    let changes = survey.changes.clone();
    let (settlement, reasons) = match ending {
        Ending::Commit => match transaction.commit(survey) {
            Ok(committed) => (Settlement::Committed, left_alone(&committed.left_alone)),
            // Somebody changed the same paths meanwhile: theirs stay, these changes wait.
            Err(CommitError::Conflict { paths, .. }) => (Settlement::Pending, left_alone(&paths)),
            Err(error) => {
                let settlement = after_failed_commit(&error);
                return Settled::failed(settlement, &changes, SettleError::Commit(error));
            }
        },
        Ending::Discard(reasons) => match transaction.discard() {
            Ok(_thrown) => (Settlement::Discarded, reasons),
            Err(error) => return left_behind(&changes, SettleError::Discard(error)),
        },
        Ending::Hold(reasons) => match transaction.hold() {
            Ok(()) => (Settlement::Pending, reasons),
            Err(error) => return left_behind(&changes, SettleError::Hold(error)),
        },
    };
    let mut summary = ChangeSummary::of(settlement, &changes);
    summary.held_because = reasons;
    Settled {
        summary,
        ..Settled::nothing()
    }
}

fn after_failed_commit(error: &CommitError) -> Settlement {
    match error {
        // Its journal is written: the next recovery completes it.
        CommitError::Interrupted { .. } => Settlement::Committed,
        // It is neither committed nor held: the next recovery drops it.
        CommitError::Hold { .. } => Settlement::Discarded,
        CommitError::Busy { .. }
        | CommitError::Lock { .. }
        | CommitError::Unfinished { .. }
        | CommitError::WorkspaceReplaced { .. }
        | CommitError::Conflict { .. }
        | CommitError::Check { .. }
        | CommitError::Record { .. }
        | CommitError::Apply { .. }
        | _ => Settlement::Pending,
    }
}

/// Keeps the changes of an operation that cannot be decided on: nothing is lost, and a person can
/// look at it. If even that fails, the next recovery discards them.
fn held_after(transaction: Transaction, changes: &[Change], error: SettleError) -> Settled {
    match transaction.hold() {
        Ok(()) => Settled::failed(Settlement::Pending, changes, error),
        Err(_) => left_behind(changes, error),
    }
}

/// The workspace is as before; the next recovery discards the transaction.
fn left_behind(changes: &[Change], error: SettleError) -> Settled {
    Settled::failed(Settlement::Discarded, changes, error)
}

/// Returns the limit that the changes are over: found while the command ran, or only now.
fn over(exit: ExitReason, gate: &Gate, changes: &[Change]) -> Option<LimitKind> {
    if let ExitReason::LimitExceeded(kind @ (LimitKind::Disk | LimitKind::Inodes)) = exit {
        return Some(kind);
    }
    let paths = u64::try_from(changes.len()).unwrap_or(u64::MAX);
    let is_over = |limit: Option<u64>, amount| limit.is_some_and(|limit| amount > limit);
    if is_over(gate.bytes_max, bytes_of(changes)) {
        Some(LimitKind::Disk)
    } else {
        is_over(gate.paths_max, paths).then_some(LimitKind::Inodes)
    }
}

fn bytes_of(changes: &[Change]) -> u64 {
    ChangeSummary::of(NOTHING_CHANGED, changes).bytes
}

/// Why changes are held that somebody asked to hold ([`sandbox_types::ChangeSummary::held_because`]).
pub const REVIEW_ASKED_FOR: &str = "review was asked for";

/// Decides how it ends. What the gate forbids is stronger than what the operation asks for.
fn ending(operation: &Operation, exit: ExitReason, gate: &GateDecision) -> Ending {
    if exit == ExitReason::LimitExceeded(LimitKind::Disk) {
        return Ending::Discard(vec![
            "the changes are larger than the disk limit".to_owned(),
        ]);
    }
    if exit == ExitReason::LimitExceeded(LimitKind::Inodes) {
        return Ending::Discard(vec!["more paths changed than the inode limit".to_owned()]);
    }
    if gate.outcome == GateOutcome::Discard {
        return Ending::Discard(gate.reasons.clone());
    }
    match (exit.is_success(), operation.on_failure) {
        (false, OnFailure::Discard) => Ending::Discard(vec!["the command failed".to_owned()]),
        (false, OnFailure::Review) => Ending::Hold(vec!["the command failed".to_owned()]),
        (true, _) | (false, OnFailure::Keep) if operation.review => {
            Ending::Hold(vec![REVIEW_ASKED_FOR.to_owned()])
        }
        (true, _) | (false, OnFailure::Keep) if gate.outcome == GateOutcome::Hold => {
            Ending::Hold(gate.reasons.clone())
        }
        (true, _) | (false, OnFailure::Keep) => Ending::Commit,
    }
}

/// Decides by what the files hold: a finding can hold or drop what would be committed.
fn after_scan(ending: Ending, examined: &Examined, action: ContentAction) -> Ending {
    if examined.findings.is_empty() {
        return ending;
    }
    match (action, ending) {
        (ContentAction::Discard, Ending::Commit | Ending::Hold(_)) => {
            Ending::Discard(examined.reasons())
        }
        (ContentAction::Review, Ending::Commit) => Ending::Hold(examined.reasons()),
        (ContentAction::Review, Ending::Hold(mut reasons)) => {
            reasons.extend(examined.reasons());
            Ending::Hold(reasons)
        }
        (_, ending) => ending,
    }
}

fn left_alone(paths: &[PathBuf]) -> Vec<String> {
    paths
        .iter()
        .take(PATHS_NAMED_MAX)
        .map(|path| format!("changed in the workspace meanwhile: {}", path.display()))
        .collect()
}
