//! What the judge says of an operation before it runs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it would be.
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Nothing to say.
    #[default]
    None,
    /// Scores 1 to 24.
    Low,
    /// Scores 25 to 49.
    Medium,
    /// Scores 50 to 79.
    High,
    /// Scores 80 to 100.
    Critical,
}

impl RiskLevel {
    /// Returns the level of a score from 0 to 100.
    pub const fn of_score(score: u8) -> Self {
        match score {
            0 => Self::None,
            1..=24 => Self::Low,
            25..=49 => Self::Medium,
            50..=79 => Self::High,
            80.. => Self::Critical,
        }
    }
}

impl fmt::Display for RiskLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// A score and its level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// The level that the score falls into.
    pub level: RiskLevel,
    /// From 0 (nothing) to 100.
    pub score: u8,
}

impl Risk {
    /// Returns the risk of a score; scores over 100 count as 100.
    pub const fn of_score(score: u8) -> Self {
        let score = if score > 100 { 100 } else { score };
        Self {
            level: RiskLevel::of_score(score),
            score,
        }
    }
}

/// What is to happen.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may run.
    Allow,
    /// A person decides.
    Ask,
    /// It may not run.
    Deny,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        })
    }
}

/// What a command would do, by class.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Deletes or overwrites files.
    DestroysData,
    /// Writes to a block device or a file system's structure.
    DestroysDevice,
    /// Loses commits or uncommitted work of a version control system.
    RewritesHistory,
    /// Sends data elsewhere.
    Exfiltrates,
    /// Reads keys, tokens or passwords.
    ReadsSecret,
    /// Gains privileges.
    Escalates,
    /// Arranges to be started again later.
    Persists,
    /// Switches a protection off, or hides traces.
    DisablesDefence,
    /// Runs what it has just downloaded, or lets another machine command this one.
    ExecutesRemote,
    /// Runs something that cannot be read from the text.
    ExecutesUnknown,
    /// Waits for connections.
    NetworkListen,
    /// Connects to other machines.
    NetworkOut,
    /// Changes something on other machines: a cloud, a cluster, a database, a registry.
    AffectsRemote,
    /// Stops the machine, its services or other processes, or uses up its resources.
    Availability,
    /// Changes files outside of the workspace.
    OutOfWorkspace,
    /// Installs software.
    PackageInstall,
}

/// One match of a rule, with its evidence.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's id, as in `fs.delete-root`.
    pub rule: String,
    /// How bad this finding is by itself, unconfined.
    pub severity: RiskLevel,
    /// What the command would do.
    pub effects: Vec<Effect>,
    /// What was found, for people.
    pub message: String,
    /// The text that was found.
    pub evidence: String,
    /// Where it stands in the judged text: first byte, byte after the last.
    pub span: (usize, usize),
    /// What to do instead.
    pub suggestion: Option<String>,
}

/// What one finding adds to the risks.
///
/// The strongest term is the score; each further class of effects adds 10, up to 20, within the level.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RiskTerm {
    /// The finding's rule.
    pub rule: String,
    /// Its score unconfined.
    pub score: u8,
    /// What remains of it inside the confinement and the transaction.
    pub residual_score: u8,
    /// What takes it back or keeps it from happening in a sandbox: `rollback`, `view`, `network`.
    pub held_by: Option<String>,
}

/// One simple command that was found in the text, and the decision on it alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedCommand {
    /// Its words; what cannot be known from the text is written as in the source.
    pub argv: Vec<String>,
    /// The decision on this command alone.
    pub decision: Decision,
}

/// The judge's answer.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What is to happen.
    pub decision: Decision,
    /// What the text would do unconfined.
    pub risk: Risk,
    /// What remains of it inside the confinement and the transaction that it will run in.
    pub residual_risk: Risk,
    /// Why, strongest first.
    pub findings: Vec<Finding>,
    /// What each finding adds to the risks, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<RiskTerm>,
    /// The simple commands that were found, wrappers taken apart.
    pub commands: Vec<JudgedCommand>,
}
