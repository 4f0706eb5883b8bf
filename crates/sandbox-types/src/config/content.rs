//! The configuration of the content scan: what is scanned of what an operation writes, and what a
//! finding means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MIB, SandboxConfig};
use crate::{Bytes, ContentAction, RiskLevel};

/// What operations may write into files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct ContentConstraints {
    /// What becomes of the changes when the scan finds something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ContentAction>,
    /// From which severity on a finding counts; less severe ones are left out of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<FindingSeverity>,
    /// A larger file that an operation writes is a finding, in MiB. Without it, none is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_mb: Option<i64>,
    /// Extensions that an operation may not write, as in `exe`; each such file is a finding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_extensions: Vec<String>,
    /// So much of each file is scanned, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_file_mb: Option<i64>,
    /// So much of all files of one operation is scanned, the smallest files first, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_total_mb: Option<i64>,
}

/// A severity that a finding can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FindingSeverity {
    /// Worth a look.
    Low,
    /// Often meant, sometimes not.
    Medium,
    /// Rarely meant.
    High,
    /// Never meant.
    Critical,
}

impl From<FindingSeverity> for RiskLevel {
    fn from(severity: FindingSeverity) -> Self {
        match severity {
            FindingSeverity::Low => Self::Low,
            FindingSeverity::Medium => Self::Medium,
            FindingSeverity::High => Self::High,
            FindingSeverity::Critical => Self::Critical,
        }
    }
}

/// The content scan as it is to be done: every value is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentSettings {
    /// What becomes of the changes when the scan finds something.
    pub action: ContentAction,
    /// From which severity on a finding counts.
    pub severity: RiskLevel,
    /// A larger file is a finding.
    pub max_file: Option<Bytes>,
    /// Extensions that are findings.
    pub deny_extensions: Vec<String>,
    /// So much of each file is scanned.
    pub scan_file: Bytes,
    /// So much of all files together is scanned.
    pub scan_total: Bytes,
}

impl ContentConstraints {
    pub(super) fn built_in() -> Self {
        Self {
            action: Some(ContentAction::Report),
            severity: Some(FindingSeverity::High),
            max_file_mb: None,
            deny_extensions: Vec::new(),
            scan_file_mb: Some(8),
            scan_total_mb: Some(64),
        }
    }
}

impl SandboxConfig {
    /// Returns how what an operation writes is scanned.
    pub fn content(&self) -> ContentSettings {
        let ours = &self.safety_constraints.content;
        let built_in = ContentConstraints::built_in();
        let mib = |value: Option<i64>| value.map(|it| Bytes(it.unsigned_abs().saturating_mul(MIB)));
        ContentSettings {
            action: ours.action.or(built_in.action).unwrap_or_default(),
            severity: ours
                .severity
                .or(built_in.severity)
                .map_or(RiskLevel::High, Into::into),
            max_file: mib(ours.max_file_mb),
            deny_extensions: ours.deny_extensions.clone(),
            scan_file: mib(ours.scan_file_mb.or(built_in.scan_file_mb)).unwrap_or_default(),
            scan_total: mib(ours.scan_total_mb.or(built_in.scan_total_mb)).unwrap_or_default(),
        }
    }
}
