//! The record of one operation: what `run --json` and `show --json` print.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Alert, ApprovalId, CapturedOutput, ChangeSummary, Enforcement, ExitReason, LimitKind,
    NetworkReport, Operation, OperationId, SandboxName, Usage, Verdict, Violation,
};

/// The version of the report's form.
pub const REPORT_SCHEMA: u32 = 1;

/// How an operation ended, in one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command ended with code 0.
    Completed,
    /// The command ended with another code, or could not be started.
    Failed,
    /// The judge refused it, or asked and a person said no.
    Denied,
    /// The judge asks, and nobody said yes.
    ApprovalRequired,
    /// The wall-time limit ended it.
    TimedOut,
    /// Another limit ended it, or its changes were too large.
    LimitExceeded,
    /// A signal ended it.
    Killed,
    /// The caller ended it.
    Cancelled,
    /// The sandbox itself failed.
    Error,
}

/// The operation, as the report names it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ReportedOperation {
    /// Its name.
    pub id: OperationId,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What was executed.
    pub argv: Vec<String>,
    /// Where, as an absolute path.
    pub cwd: String,
    /// The keys of the secrets that it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

impl ReportedOperation {
    /// Returns what a report says of `operation`.
    pub fn of(operation: &Operation, cwd: String) -> Self {
        Self {
            id: operation.id.clone(),
            type_name: operation.type_name.clone(),
            argv: operation.action.argv(),
            cwd,
            secrets: operation.secrets.iter().map(|it| it.key.clone()).collect(),
        }
    }
}

/// The limits that mattered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReportedLimits {
    /// The one that ended the operation, if any.
    pub exceeded: Option<LimitKind>,
    /// Those that refused something and did not end it, as a fork over the process limit is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<LimitKind>,
}

/// What came of asking whether the operation may run.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportedApproval {
    /// The request that waits for a person, or that was approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ApprovalId>,
    /// Until when it can be approved, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The remembered rule that approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<ApprovalId>,
    /// Why it cannot be approved later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_stored_because: Option<String>,
}

/// The record of one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationReport {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// What was asked for.
    pub operation: ReportedOperation,
    /// In which sandbox.
    pub sandbox: SandboxName,
    /// How it ended.
    pub outcome: Outcome,
    /// The command's own code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// From request to settlement, in milliseconds.
    pub duration_ms: f64,
    /// What the judge said.
    pub verdict: Verdict,
    /// What came of asking, if the judge asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ReportedApproval>,
    /// What it used.
    pub usage: Usage,
    /// Which limit was reached.
    pub limits: ReportedLimits,
    /// Which thresholds were crossed while it ran.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alerts: Vec<Alert>,
    /// What it changed.
    pub changes: ChangeSummary,
    /// What it reached over the network, if it had a list of allowed hosts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network: Option<NetworkReport>,
    /// What it ran into.
    pub violations: Vec<Violation>,
    /// Which mechanisms held.
    pub enforcement: Enforcement,
    /// What it printed.
    pub stdout: CapturedOutput,
    /// What it printed on standard error.
    pub stderr: CapturedOutput,
    /// Why the sandbox itself failed, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub error: Vec<String>,
}

impl OperationReport {
    /// Returns the operation's name.
    pub fn id(&self) -> &OperationId {
        &self.operation.id
    }
}

impl Outcome {
    /// Returns the outcome of a command that was started.
    pub const fn of_exit(exit: ExitReason) -> Self {
        match exit {
            ExitReason::Exited(0) => Self::Completed,
            ExitReason::Exited(_) | ExitReason::NotFound | ExitReason::NotExecutable => {
                Self::Failed
            }
            ExitReason::Signaled(_) => Self::Killed,
            ExitReason::TimedOut => Self::TimedOut,
            ExitReason::LimitExceeded(_) => Self::LimitExceeded,
            ExitReason::Cancelled => Self::Cancelled,
        }
    }
}
