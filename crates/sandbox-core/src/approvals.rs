//! Operations that wait for a person, and rules that approve what a person has approved for good.
//!
//! A request is one file below the sandbox's directory, written in one step: so it survives
//! `kill -9` and a restart of the machine, however large its script is, and no database is opened
//! for it. Whoever changes one holds the lock of the shelf, so of two people who approve the same
//! request at the same time exactly one runs it.
//!
//! ```text
//! asked -> pending -> granted    runs once; pending again if the process died before it started
//!                  -> denied
//!                  -> expired    after safety_constraints.approval_expiry
//! ```

mod ask;
mod binding;
mod decide;
mod rule;
mod scope;
mod scripts;
mod shelf;

use std::path::PathBuf;

use jiff::Timestamp;
use sandbox_state::{AppendError, ReadError};
use sandbox_types::{ApprovalId, Operation, OperationId, ReportedOperation, Risk, Verdict};
use serde::{Deserialize, Serialize};

pub(crate) use ask::Permission;
pub use scope::RuleScope;
pub(crate) use shelf::Shelf;

use crate::{launch_plan::PlanError, run::RunError, suspend::EnterError};

/// The most requests that wait at the same time in one sandbox.
pub const PENDING_REQUESTS_MAX: usize = 256;

/// Who asked or decided.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Who {
    /// The user id of the process.
    pub uid: u32,
    /// Through what: `terminal`, `command-line`, `api`, or `approver NAME` for a plugin.
    pub via: String,
    /// The terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// Why, if it was said: see [`Who::because`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The most characters of a reason that are kept.
pub const REASON_CHARACTERS_MAX: usize = 1000;

impl Who {
    /// Returns this process, which decides by its own code.
    pub fn api() -> Self {
        Self::through("api")
    }

    /// Returns this process; `via` says through what it decides.
    pub fn through(via: impl Into<String>) -> Self {
        Self {
            uid: rustix::process::getuid().as_raw(),
            via: via.into(),
            tty: None,
            reason: None,
        }
    }

    /// Adds why, for the journal: the first [`REASON_CHARACTERS_MAX`] characters of it; an empty one is
    /// none.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        let kept: String = reason.trim().chars().take(REASON_CHARACTERS_MAX).collect();
        self.reason = Some(kept).filter(|it| !it.is_empty());
        self
    }
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits for a person.
    Pending,
    /// It was approved, and runs or has run.
    Granted,
    /// A person said no.
    Denied,
    /// Nobody said anything in time.
    Expired,
}

impl std::fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
        })
    }
}

/// A decision on a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalDecision {
    /// When.
    pub at: Timestamp,
    /// By whom; nobody if it expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
}

/// An operation on which the judge asks, and that a person can approve later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// Its name.
    pub id: ApprovalId,
    /// What it is known as.
    pub state: ApprovalState,
    /// The operation, as reports name it.
    pub operation: ReportedOperation,
    /// What the judge said.
    pub verdict: Verdict,
    /// What it brings along that its command does not show: the source of its script, or the text of the file that it
    /// writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What it reads: `empty`, or `inline` if the document has it.
    pub stdin: String,
    /// When it was last asked for.
    pub requested_at: Timestamp,
    /// By whom.
    pub requested_by: Who,
    /// How often the same was asked for while it waited.
    pub times: u32,
    /// Until when it can be approved.
    pub expires_at: Timestamp,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<ApprovalDecision>,
}

/// A rule that approves what a person has approved for good in this sandbox: exactly this operation, unless its scope
/// says more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalRule {
    /// Its name.
    pub id: ApprovalId,
    /// The operation, as reports name it.
    pub operation: ReportedOperation,
    /// The findings that were approved. An operation with any other one is asked about again.
    pub findings: Vec<String>,
    /// The risk that was approved.
    pub risk: Risk,
    /// What of it remains inside.
    pub residual_risk: Risk,
    /// When it was stored.
    pub remembered_at: Timestamp,
    /// By whom.
    pub remembered_by: Who,
    /// The digest of what it approves.
    pub digest: String,
    /// How far it reaches.
    #[serde(default, skip_serializing_if = "RuleScope::is_exact")]
    pub scope: RuleScope,
}

/// Whether an approval is for this time only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remember {
    /// For this time only.
    Once,
    /// From now on, for the same operation.
    Always,
    /// From now on, for all that the scope says.
    Within(RuleScope),
}

/// An approved request that is to run now, once.
#[derive(Debug)]
#[must_use = "it is approved and not run yet"]
pub struct Approved {
    pub(crate) id: ApprovalId,
    pub(crate) operation: Operation,
    /// The same without the variables that it inherited, which are not judged.
    pub(crate) judged: Operation,
}

impl Approved {
    /// Returns the operation that will run: what was judged, with the environment of that time.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Returns the request.
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }
}

/// A record of the journal about an approval.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApprovalEvent {
    /// The request, if one was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ApprovalId>,
    /// The remembered rule, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<ApprovalId>,
    /// The operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<OperationId>,
    /// Who asked or decided; nobody if it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
    /// SHA-256 of the operation, its verdict and the workspace, which binds the approval to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// An approval cannot be looked at or decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// No request has that name.
    #[error("there is no approval request '{id}' in this sandbox")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// No rule has that name.
    #[error("there is no remembered approval '{id}' in this sandbox")]
    UnknownRule {
        /// What was asked for.
        id: String,
    },
    /// More than one has a name that begins or ends like that.
    #[error("'{id}' is the beginning or end of several names")]
    Ambiguous {
        /// What was asked for.
        id: String,
    },
    /// Somebody has decided already.
    #[error("the approval request {id} is {state} already")]
    Decided {
        /// The request.
        id: ApprovalId,
        /// What it is known as.
        state: ApprovalState,
    },
    /// It was not decided in time.
    #[error("the approval request {id} has expired at {expired_at}")]
    Expired {
        /// The request.
        id: ApprovalId,
        /// When.
        expired_at: Timestamp,
    },
    /// What is stored is not what was judged.
    #[error("cannot approve {id}: {what}")]
    Changed {
        /// The request.
        id: ApprovalId,
        /// What differs.
        what: &'static str,
    },
    /// It is judged more severely now.
    #[error("cannot approve {id}: {why}")]
    Worse {
        /// The request.
        id: ApprovalId,
        /// In what way.
        why: String,
    },
    /// No rule of that scope can be made of it. It goes on waiting.
    #[error("cannot remember {id} like that: {why}")]
    Scope {
        /// The request.
        id: ApprovalId,
        /// Why not.
        why: &'static str,
    },
    /// It cannot be run in this sandbox now. It goes on waiting.
    #[error("cannot run {id} now")]
    Plan {
        /// The request.
        id: ApprovalId,
        /// Why not.
        #[source]
        source: PlanError,
    },
    /// The sandbox is suspended or gone. It goes on waiting.
    #[error("cannot run {id} now")]
    Enter {
        /// The request.
        id: ApprovalId,
        /// Why not.
        #[source]
        source: EnterError,
    },
    /// A file of the approvals cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was attempted.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file of the approvals is damaged.
    #[error("cannot understand {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Read(#[source] ReadError),
    /// The decision is not in the journal, and so it does not hold.
    #[error("cannot record the decision")]
    Record(#[source] AppendError),
}

/// A request was not approved, or its operation could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApproveError {
    /// It was not approved.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// It was approved, and the sandbox failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
