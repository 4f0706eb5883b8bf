//! Measures what runs: the tree of processes of an operation, and the host.
//!
//! [`OperationMeter`] follows one operation and gives its [`Usage`](sandbox_types::Usage);
//! [`StateTracker`] reads the figures of the host. Measuring never fails an operation: what cannot
//! be read is 0, or the best that is known.
#![forbid(unsafe_code)]

mod cgroup_stats;
mod health;
mod meter;
mod process_stats;
mod tracker;

pub use health::{Health, HealthCheck, HealthState, Recovery, RecoveryFailure};
pub use meter::{OperationMeter, Sample};
pub use tracker::{HostError, HostUsage, StateTracker};
