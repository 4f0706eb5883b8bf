//! What a health check is, and what it says. Built-in checks and those of plugins are the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// As it should be.
    Healthy,
    /// It works, and somebody should look at it.
    Degraded,
    /// It does not work.
    Failed,
}

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub state: HealthState,
    /// What was measured or what is wrong, for people; one line.
    pub detail: String,
}

impl Health {
    /// Returns that all is as it should be.
    pub fn healthy(detail: impl Into<String>) -> Self {
        Self::of(HealthState::Healthy, detail)
    }

    /// Returns that it works, and that somebody should look at it.
    pub fn degraded(detail: impl Into<String>) -> Self {
        Self::of(HealthState::Degraded, detail)
    }

    /// Returns that it does not work.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::of(HealthState::Failed, detail)
    }

    fn of(state: HealthState, detail: impl Into<String>) -> Self {
        Self {
            state,
            detail: detail.into(),
        }
    }
}

/// One thing that is looked at from time to time.
///
/// A check only looks: what it can repair it declares as its [`Recovery`], and whoever runs the
/// checks decides whether that is done. It should answer within a second; the runner catches a
/// panic and counts it as a failed check.
pub trait HealthCheck: fmt::Debug + Send + Sync {
    /// Returns its name, as in `host.memory`: the same at every call, and no other check's.
    fn name(&self) -> &str;

    /// Looks.
    fn check(&self) -> Health;

    /// Returns what can be done when the check is not healthy.
    fn recovery(&self) -> Option<&dyn Recovery> {
        None
    }
}

/// A repair that a health check declares.
pub trait Recovery: fmt::Debug + Send + Sync {
    /// Returns what it does, as in `end orphaned processes`.
    fn describe(&self) -> &str;

    /// Repairs, and returns what was done. Doing it twice does no harm.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be repaired.
    fn recover(&self) -> Result<String, RecoveryFailure>;
}

/// A recovery did not repair what it should.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct RecoveryFailure {
    /// Why not, as in `cannot remove /sys/fs/cgroup/x: device or resource busy`.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_is_the_greatest() {
        assert!(HealthState::Failed > HealthState::Degraded);
        assert!(HealthState::Degraded > HealthState::Healthy);
    }
}
