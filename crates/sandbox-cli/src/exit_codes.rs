//! Exit codes: the one place that says which number means what.

use sandbox_types::{LimitKind, Operation, OperationReport, Outcome, Settlement};

use crate::{args::Command, failure::Kind};

/// Yes, or done.
pub(crate) const DONE: u8 = 0;
/// No, or failed: refused, not found, damaged, or the sandbox failed. Not for `run`.
pub(crate) const NO: u8 = 1;
/// What was typed, or the configuration, is wrong. Nothing was done, for `run` too.
pub(crate) const USAGE: u8 = 2;
/// `check`: a person decides.
pub(crate) const ASK: u8 = 10;
/// `check`: it may not run.
pub(crate) const DENY: u8 = 20;
/// `run`: the time limit was reached. As timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;
/// `run`: the sandbox itself failed, and nothing was committed. What fails after a commit is said,
/// and leaves the command's own code.
pub(crate) const SANDBOX_FAILED: u8 = 125;
/// `run`: refused (denied, not approved, changes outside of the declared files), not executable, or
/// the command succeeded and its changes are not in the workspace: they are held because of a
/// conflict or a rule, dropped because of a rule, or their commit is not complete. Not if `--review` asked for that.
/// Also: it succeeded, its changes are committed, and the report that was asked for cannot be written.
pub(crate) const REFUSED: u8 = 126;
/// `run`: an ended command gives 128 and the signal's number, as in a shell.
pub(crate) const SIGNAL_BASE: u8 = 128;

const SIGPIPE: u8 = 13;
const SIGKILL: u8 = 9;
const SIGXCPU: u8 = 24;
const SIGXFSZ: u8 = 25;

/// What `sandbox run … | head` ends with, as `… | head` does.
pub(crate) const READER_GONE: u8 = SIGNAL_BASE + SIGPIPE;

/// Where a failure happened: `run` keeps the small numbers for the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In `sandbox run`.
    Run,
    /// In `sandbox wait`, which ends as that does once it has found the operation.
    Wait,
    /// In any other command.
    Elsewhere,
}

impl Place {
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Run(_) => Self::Run,
            Command::Wait(_) => Self::Wait,
            // A request that is not approved is a no; what runs then has the codes of `run`.
            Command::Approvals(_)
            | Command::Check(_)
            | Command::Scan(_)
            | Command::Log(_)
            | Command::Ps
            | Command::Logs(_)
            | Command::Kill(_)
            | Command::Supervise
            | Command::Show(_)
            | Command::Diff(_)
            | Command::Commit(_)
            | Command::Discard(_)
            | Command::Undo(_)
            | Command::Redo(_)
            | Command::Snapshot(_)
            | Command::Rollback(_)
            | Command::Create(_)
            | Command::List
            | Command::Status
            | Command::Suspend
            | Command::Resume
            | Command::Events(_)
            | Command::Destroy(_)
            | Command::Config(_)
            | Command::Policy(_)
            | Command::Doctor(_)
            | Command::Audit(_)
            | Command::State(_)
            | Command::Stats(_)
            | Command::Top(_)
            | Command::Health(_)
            | Command::Metrics
            | Command::Completions { .. }
            | Command::Man(_)
            | Command::Demo => Self::Elsewhere,
        }
    }
}

/// Returns the code of a failure.
pub(crate) const fn of_failure(kind: Kind, place: Place) -> u8 {
    match (kind, place) {
        (Kind::Usage | Kind::Config, _) | (Kind::NotFound, Place::Run) => USAGE,
        (Kind::Refused, Place::Run | Place::Wait) => REFUSED,
        (Kind::Sandbox | Kind::Internal, Place::Run | Place::Wait) => SANDBOX_FAILED,
        (Kind::NotFound, Place::Wait)
        | (Kind::NotFound | Kind::Refused | Kind::Sandbox | Kind::Internal, Place::Elsewhere) => NO,
    }
}

/// Returns the code of an operation. `ended_by` is the signal that made us cancel it.
pub(crate) fn of_report(
    operation: &Operation,
    report: &OperationReport,
    ended_by: Option<u8>,
) -> u8 {
    match report.outcome {
        Outcome::Completed if changes_refused(report) => REFUSED,
        Outcome::Completed if held_unasked(operation, report) => REFUSED,
        Outcome::Completed => DONE,
        Outcome::Failed => report.exit_code.map_or(REFUSED, low_byte),
        Outcome::Denied | Outcome::ApprovalRequired => REFUSED,
        Outcome::TimedOut => TIMED_OUT,
        Outcome::LimitExceeded => match report.limits.exceeded {
            Some(LimitKind::WallTime) => TIMED_OUT,
            Some(LimitKind::FileSize) => SIGNAL_BASE + SIGXFSZ,
            Some(LimitKind::CpuTime) => SIGNAL_BASE + SIGXCPU,
            Some(
                LimitKind::Memory
                | LimitKind::Processes
                | LimitKind::Disk
                | LimitKind::Inodes
                | LimitKind::Output,
            )
            | None => SIGNAL_BASE + SIGKILL,
        },
        Outcome::Killed => SIGNAL_BASE + report.signal.map_or(SIGKILL, low_byte) % SIGNAL_BASE,
        Outcome::Cancelled => SIGNAL_BASE + ended_by.unwrap_or(SIGKILL) % SIGNAL_BASE,
        Outcome::Error if reached_workspace(operation, report) => {
            match (report.exit_code, report.signal) {
                (Some(0), _) | (None, None) => REFUSED,
                (Some(code), _) => low_byte(code),
                (None, Some(signal)) => SIGNAL_BASE + low_byte(signal) % SIGNAL_BASE,
            }
        }
        Outcome::Error => SANDBOX_FAILED,
    }
}

/// Returns the code of a command that succeeded, and whose report (`--json`, `--report`) could not be written: who asked
/// for it must not take that for a success. Another code of the command stays.
pub(crate) const fn of_untold(has_reached_workspace: bool) -> u8 {
    if has_reached_workspace {
        REFUSED
    } else {
        SANDBOX_FAILED
    }
}

/// Whether the operation changed something in the workspace, or may have.
pub(crate) fn reached_workspace(operation: &Operation, report: &OperationReport) -> bool {
    let ran = !matches!(
        report.outcome,
        Outcome::Denied | Outcome::ApprovalRequired | Outcome::Error
    );
    let changes = &report.changes;
    let committed = changes.settlement == Settlement::Committed
        && changes.created + changes.modified + changes.deleted > 0;
    committed || (operation.direct && ran)
}

/// Whether the changes wait although nobody asked for a review: a conflict, or a rule.
pub(crate) fn held_unasked(operation: &Operation, report: &OperationReport) -> bool {
    report.changes.settlement == Settlement::Pending
        && !operation.review
        && report.outcome == Outcome::Completed
}

/// Whether the command succeeded, and a rule dropped what it changed: that is no success.
pub(crate) fn changes_refused(report: &OperationReport) -> bool {
    report.changes.settlement == Settlement::Discarded && report.outcome == Outcome::Completed
}

/// The kernel keeps eight bits of an exit code.
fn low_byte(number: i32) -> u8 {
    number.to_le_bytes()[0]
}
