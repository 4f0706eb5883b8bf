//! The vocabulary of the sandbox: plain data that every crate speaks, without behaviour of its own.
//!
//! # Terminology
//!
//! - **operation**: one request to run something; its **report** is the record of what happened.
//! - **guest**, **host**, **workspace**: the command inside, the outside, the directory it may change.
//! - **verdict**: what the judge said: a decision, a risk and the findings behind them.
//! - **enforcement**: which mechanisms held, and how fully.
//! - **settlement**: what became of the changes.
#![forbid(unsafe_code)]

pub mod action;
pub mod alert;
pub mod bytes;
pub mod change;
pub mod config;
pub mod content;
pub mod enforcement;
pub mod errors;
pub mod execution;
pub mod given_secret;
pub mod id;
pub mod limits;
pub mod limits_request;
pub mod network;
pub mod operation;
pub mod operation_file;
pub mod report;
pub mod span_of_time;
pub mod verdict;

pub use action::{Action, FileWork, Script};
pub use alert::{Alert, AlertMetric, Severity};
pub use bytes::{Bytes, BytesError};
pub use change::{Change, ChangeKind, ChangeSummary, Settlement, told_changes};
pub use config::{ConfigError, SafetyProfile, SandboxConfig};
pub use content::{ContentAction, ContentFinding, ContentScan};
pub use enforcement::{CgroupKind, CgroupPaths, Enforcement, Level, Violation, ViolationKind};
pub use errors::{causes, nearest};
pub use execution::{CapturedOutput, Execution, ExitReason, ProcessUsage, Stream, Usage};
pub use given_secret::{GivenSecret, SECRETS_DIRECTORY, SecretPlace};
pub use id::{ApprovalId, IdError, OperationId, SandboxName};
pub use limits::{Limit, LimitKind, LimitSource, Limits};
pub use limits_request::{LimitRaised, LimitsRequest};
pub use network::{
    AllowList, HostName, HostPattern, NetworkConnection, NetworkDecision, NetworkReport,
    NetworkRoute, PatternError,
};
pub use operation::{NetworkAccess, OnFailure, Operation};
pub use operation_file::{ForeignType, OperationError};
pub use report::{OperationReport, Outcome, ReportedApproval, ReportedLimits, ReportedOperation};
pub use span_of_time::{DurationError, format_duration, parse_duration};
pub use verdict::{Decision, Effect, Finding, JudgedCommand, Risk, RiskLevel, RiskTerm, Verdict};
