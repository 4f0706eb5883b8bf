//! Alerts: a use of resources that stayed above its threshold.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is compared with a threshold.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    /// CPU time, in percent of what is allowed.
    Cpu,
    /// Memory without file cache, in percent of what is allowed.
    Memory,
}

impl AlertMetric {
    /// Returns its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// How much an alert matters.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Above the threshold.
    Warning,
    /// Nearly all of what is allowed.
    Critical,
}

/// One alert, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What was too high.
    pub metric: AlertMetric,
    /// How much it matters, by the value when it was raised.
    pub severity: Severity,
    /// The value when it was raised, in percent of what is allowed.
    pub value_percent: f64,
    /// The highest value so far.
    pub peak_percent: f64,
    /// What it was compared with.
    pub threshold_percent: f64,
    /// What 100 percent are, as in `the memory limit`.
    pub allowed: String,
    /// Since when the value was too high.
    pub since: Timestamp,
    /// When it was no longer, or when the operation ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}
