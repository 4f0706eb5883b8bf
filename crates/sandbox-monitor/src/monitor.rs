//! The registry of health checks, and how often a repair is tried.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::health::{Health, HealthCheck, HealthState};

/// Runs health checks. Looks only: what a check declares as its repair is carried out by whoever
/// asked, within a [`RepairPolicy`].
///
/// ```
/// use std::{path::Path, sync::Arc};
///
/// use sandbox_monitor::{HealthMonitor, HostCheck};
///
/// let mut monitor = HealthMonitor::new();
/// monitor.add(Arc::new(HostCheck::disk(Path::new("/"))));
/// let report = monitor.examine();
/// println!("{:?}: {}", report.state, report.checks[0].health.detail);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HealthMonitor {
    checks: Vec<Arc<dyn HealthCheck>>,
}

/// What one check said.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The check's name.
    pub name: String,
    /// What it found.
    #[serde(flatten)]
    pub health: Health,
    /// What would repair it, if it is not healthy and that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
}

/// What all checks said.
#[derive(Clone, Debug, Serialize)]
pub struct HealthReport {
    /// The worst of them.
    pub state: HealthState,
    /// Each, in the order in which they were added.
    pub checks: Vec<Checked>,
}

impl HealthMonitor {
    /// Returns a monitor without checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, in place of one with the same name.
    pub fn add(&mut self, check: Arc<dyn HealthCheck>) {
        match self.checks.iter_mut().find(|it| it.name() == check.name()) {
            Some(known) => *known = check,
            None => self.checks.push(check),
        }
    }

    /// Returns the check of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn HealthCheck>> {
        self.checks.iter().find(|check| check.name() == name)
    }

    /// Runs every check, one after the other.
    pub fn examine(&self) -> HealthReport {
        let checks: Vec<Checked> = self.checks.iter().map(|it| examine(it.as_ref())).collect();
        let states = checks.iter().map(|checked| checked.health.state);
        HealthReport {
            state: states.max().unwrap_or(HealthState::Healthy),
            checks,
        }
    }
}

/// Runs one check. One that panics has failed.
pub(crate) fn examine(check: &dyn HealthCheck) -> Checked {
    let health = catch_unwind(AssertUnwindSafe(|| check.check()))
        .unwrap_or_else(|_panic| Health::failed("the check itself panicked"));
    let recovery = check
        .recovery()
        .filter(|_| health.state > HealthState::Healthy)
        .map(|recovery| recovery.describe().to_owned());
    Checked {
        name: check.name().to_owned(),
        health,
        recovery,
    }
}

/// How often a repair was tried for the same trouble.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    /// How often.
    pub count: u32,
    /// When the last time, in milliseconds since 1970.
    pub last_ms: u64,
    /// Whether it helped the last time. What comes back soon is the same trouble, and counts on.
    #[serde(default)]
    pub helped: bool,
}

/// How often a repair is tried: after each attempt for the same trouble twice as long a pause, then
/// never again by itself until a day has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RepairPolicy {
    /// Attempts before it is left to a person.
    pub attempts_max: u32,
    /// The pause after the first attempt.
    pub pause_first: Duration,
    /// How long after the last attempt it begins anew.
    pub forget_after: Duration,
    /// The same after an attempt that helped.
    pub forget_after_help: Duration,
}

/// Whether a repair is tried now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RepairDecision {
    /// It is.
    Try,
    /// Not before this time, in milliseconds since 1970.
    NotBefore(u64),
    /// It was tried often enough: a person must look at it.
    GiveUp,
}

impl Default for RepairPolicy {
    /// Returns 5 attempts, with pauses of 30 seconds, 1, 2 and 4 minutes, and again after a day.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            pause_first: Duration::from_secs(30),
            forget_after: Duration::from_secs(24 * 3600),
            forget_after_help: Duration::from_secs(10 * 60),
        }
    }
}

impl RepairPolicy {
    /// Decides, at a time in milliseconds since 1970. A clock that was set back counts as no time
    /// passed.
    pub fn decide(&self, attempts: Attempts, now_ms: u64) -> RepairDecision {
        let passed = Duration::from_millis(now_ms.saturating_sub(attempts.last_ms));
        if attempts.count == 0 || self.is_forgotten(attempts, passed) {
            return RepairDecision::Try;
        }
        if attempts.count >= self.attempts_max {
            return RepairDecision::GiveUp;
        }
        let doubled = 1 << (attempts.count - 1).min(16);
        let pause = self.pause_first.saturating_mul(doubled);
        if passed >= pause {
            return RepairDecision::Try;
        }
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        RepairDecision::NotBefore(attempts.last_ms.saturating_add(pause_ms))
    }

    /// Counts an attempt that begins now.
    pub fn count(&self, attempts: &mut Attempts, now_ms: u64) {
        let passed = Duration::from_millis(now_ms.saturating_sub(attempts.last_ms));
        let forgotten = self.is_forgotten(*attempts, passed);
        attempts.count = if forgotten { 1 } else { attempts.count + 1 };
        attempts.last_ms = now_ms;
        attempts.helped = false;
    }

    fn is_forgotten(&self, attempts: Attempts, passed: Duration) -> bool {
        let after = if attempts.helped {
            self.forget_after_help
        } else {
            self.forget_after
        };
        passed >= after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Says(&'static str, HealthState);

    impl HealthCheck for Says {
        fn name(&self) -> &str {
            self.0
        }

        fn check(&self) -> Health {
            match self.1 {
                HealthState::Healthy => Health::healthy("well"),
                HealthState::Degraded => Health::degraded("so so"),
                HealthState::Failed => panic!("a check of somebody else"),
            }
        }
    }

    #[test]
    fn the_worst_check_decides_and_a_panic_is_a_failure() {
        let mut monitor = HealthMonitor::new();
        assert_eq!(monitor.examine().state, HealthState::Healthy);
        monitor.add(Arc::new(Says("a", HealthState::Degraded)));
        monitor.add(Arc::new(Says("b", HealthState::Healthy)));
        assert_eq!(monitor.examine().state, HealthState::Degraded);
        monitor.add(Arc::new(Says("b", HealthState::Failed)));
        let report = monitor.examine();
        assert_eq!(report.state, HealthState::Failed);
        assert_eq!(report.checks.len(), 2, "one of each name");
        assert_eq!(report.checks[1].health.detail, "the check itself panicked");
    }

    #[test]
    fn a_repair_that_does_not_help_is_tried_five_times_in_eight_minutes_then_no_more() {
        let policy = RepairPolicy::default();
        let mut attempts = Attempts::default();
        let mut tried = Vec::new();
        let begin = 1_000_000;
        // A check every second for an hour.
        for second in 0..3600 {
            let now = begin + second * 1000;
            if policy.decide(attempts, now) == RepairDecision::Try {
                policy.count(&mut attempts, now);
                tried.push(second);
            }
        }
        assert_eq!(tried, [0, 30, 90, 210, 450]);
        assert_eq!(
            policy.decide(attempts, begin + 3_600_000),
            RepairDecision::GiveUp
        );
        let next_day = begin + 2 * 24 * 3_600_000;
        assert_eq!(policy.decide(attempts, next_day), RepairDecision::Try);
        policy.count(&mut attempts, next_day);
        assert_eq!(attempts.count, 1);
    }

    #[test]
    fn a_repair_that_helps_for_a_moment_starts_no_storm() {
        let policy = RepairPolicy::default();
        let mut attempts = Attempts::default();
        let mut tried = 0;
        // The trouble is back a second after each repair.
        for second in 0..3600 {
            if policy.decide(attempts, second * 1000) == RepairDecision::Try {
                policy.count(&mut attempts, second * 1000);
                attempts.helped = true;
                tried += 1;
            }
        }
        assert!(tried <= 30, "{tried}");
    }

    #[test]
    fn a_clock_that_is_set_back_starts_no_storm() {
        let policy = RepairPolicy::default();
        let attempts = Attempts {
            count: 1,
            last_ms: 1_000_000,
            helped: false,
        };
        assert_eq!(
            policy.decide(attempts, 5),
            RepairDecision::NotBefore(1_030_000)
        );
    }
}
