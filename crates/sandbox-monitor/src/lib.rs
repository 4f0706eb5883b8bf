//! Measures what runs, keeps the figures, raises alerts and checks health. Reads, never acts.
//!
//! [`OperationMeter`] follows one operation and gives its [`Usage`](sandbox_types::Usage);
//! [`StateTracker`] keeps the usage history of a sandbox and answers questions to it; [`Vigil`] samples
//! a running operation and raises alerts; [`HealthMonitor`] runs checks, which declare what would
//! repair them. Measuring never fails an operation: what cannot be read is 0, or the best that is known.
#![forbid(unsafe_code)]

mod cgroup_stats;
mod meter;
mod process_stats;

mod history;
mod stats;
mod tracker;

mod threshold;
mod vigil;

mod checks;
mod health;
mod host_stats;
mod monitor;

mod metrics;

pub use checks::HostCheck;
pub use health::{Health, HealthCheck, HealthState, Recovery, RecoveryFailure};
pub use history::{
    Buckets, GuestProcess, HISTORY_FORMAT, History, HistoryReadError, HistoryWriteError, Outcomes,
    Resolution, Total, UsageRecord, operation_mark,
};
pub use host_stats::{DiskSpace, HostError, HostUsage, Pressure};
pub use meter::{OperationMeter, Reading, Sample};
pub use metrics::{MetricFamily, MetricKind, MetricName, MetricSample, Metrics};
pub use monitor::{Attempts, Checked, HealthMonitor, HealthReport, RepairDecision, RepairPolicy};
pub use stats::{Distribution, Period, Statistics, Trend, Trends};
pub use threshold::{AlertChange, Thresholds};
pub use tracker::StateTracker;
pub use vigil::{Allowance, Allowed, Observed, Vigil, Watched};
