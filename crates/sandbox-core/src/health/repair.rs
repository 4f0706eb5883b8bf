//! Repairs what a health check found: each at most once a call, written down before and after, looked
//! at again, and no more often than the policy allows.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use jiff::Timestamp;
use sandbox_monitor::{
    Attempts, HealthCheck, HealthMonitor, HealthReport, HealthState, Recovery, RecoveryFailure,
    RepairDecision, RepairPolicy,
};
use sandbox_state::AppendError;
use serde::{Deserialize, Serialize};

use crate::{event::RecoveryOf, ledger, private, sandbox::Sandbox};

/// Held while something is repaired.
const LOCK_FILE: &str = "repair.lock";
/// How often what was tried.
const ATTEMPTS_FILE: &str = "repair.json";
/// The version of that file.
const FORMAT: u32 = 1;

/// Who asks for a repair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RepairBy {
    /// A person: tried once, however often it was tried before.
    Person,
    /// A program, by itself: within the bounds of [`RepairPolicy`].
    Itself,
}

/// What became of a repair.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum RepairEnd {
    /// The check was run again, and is healthy.
    Done {
        /// What was done.
        detail: String,
    },
    /// It is not.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was tried a short while ago.
    NotBefore {
        /// When it is tried again.
        at: Timestamp,
    },
    /// It was tried too often: a person must look at it.
    GivenUp,
}

/// A repair.
#[derive(Clone, Debug, Serialize)]
pub struct Repair {
    /// The health check that asked for it.
    pub check: String,
    /// What it does.
    pub recovery: String,
    /// How often it was tried for the same trouble, this time included.
    pub attempts: u32,
    /// What became of it.
    #[serde(flatten)]
    pub end: RepairEnd,
}

/// How a sandbox was, what was repaired, and how it is.
#[derive(Clone, Debug, Serialize)]
pub struct HealthOutcome {
    /// How it is now.
    pub health: HealthReport,
    /// What was repaired, or not.
    pub repairs: Vec<Repair>,
}

/// Nothing can be repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A file of the sandbox cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is not written down is not done; what was done and cannot be written down stays done.
    #[error("cannot record a repair")]
    Record(#[source] AppendError),
}

/// How often what was tried, by check.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tried {
    format: u32,
    attempts: BTreeMap<String, Attempts>,
}

impl Sandbox {
    /// Examines, repairs and examines again. `clock` tells the time of each step.
    pub(crate) fn repair(
        &self,
        monitor: &HealthMonitor,
        by: RepairBy,
        clock: fn() -> Timestamp,
    ) -> Result<HealthOutcome, RepairError> {
        let _alone = self.repair_lock()?;
        let health = monitor.examine();
        let mut repairs = Vec::new();
        for checked in &health.checks {
            let Some(check) = monitor.find(&checked.name) else {
                continue;
            };
            if checked.recovery.is_none() {
                continue;
            }
            let Some(recovery) = check.recovery() else {
                continue;
            };
            repairs.push(self.repair_one((check.as_ref(), recovery), by, clock)?);
        }
        let acted = |repair: &Repair| {
            matches!(
                repair.end,
                RepairEnd::Done { .. } | RepairEnd::Failed { .. }
            )
        };
        let health = if repairs.iter().any(acted) {
            monitor.examine()
        } else {
            health
        };
        Ok(HealthOutcome { health, repairs })
    }

    fn repair_one(
        &self,
        (check, recovery): (&dyn HealthCheck, &dyn Recovery),
        by: RepairBy,
        clock: fn() -> Timestamp,
    ) -> Result<Repair, RepairError> {
        let policy = RepairPolicy::default();
        let mut tried = self.tried();
        let attempts = tried.attempts.entry(check.name().to_owned()).or_default();
        let mut repair = Repair {
            check: check.name().to_owned(),
            recovery: recovery.describe().to_owned(),
            attempts: attempts.count,
            end: RepairEnd::GivenUp,
        };
        let now_ms = milliseconds(clock());
        match (by, policy.decide(*attempts, now_ms)) {
            (RepairBy::Person, _) | (RepairBy::Itself, RepairDecision::Try) => {}
            (RepairBy::Itself, RepairDecision::GiveUp) => return Ok(repair),
            (RepairBy::Itself, RepairDecision::NotBefore(at_ms)) => {
                let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
                let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
                repair.end = RepairEnd::NotBefore { at };
                return Ok(repair);
            }
        }
        // Counted before it begins: an attempt that kills us counts as well.
        policy.count(attempts, now_ms);
        repair.attempts = attempts.count;
        self.keep(&tried)?;
        self.note(ledger::RECOVERY_BEGUN, &repair, recovery.describe(), clock)?;
        let done = catch_unwind(AssertUnwindSafe(|| recovery.recover())).unwrap_or_else(|_panic| {
            Err(RecoveryFailure {
                reason: "the repair panicked".to_owned(),
            })
        });
        let health = catch_unwind(AssertUnwindSafe(|| check.check()));
        repair.end = match (done, health) {
            (Ok(detail), Ok(health)) if health.state == HealthState::Healthy => {
                RepairEnd::Done { detail }
            }
            (Ok(_), Ok(health)) => RepairEnd::Failed {
                reason: health.detail,
            },
            (Ok(_), Err(_panic)) => RepairEnd::Failed {
                reason: "the check panicked".to_owned(),
            },
            (Err(failure), _) => RepairEnd::Failed {
                reason: failure.to_string(),
            },
        };
        match &repair.end {
            RepairEnd::Done { detail } => {
                if let Some(attempts) = tried.attempts.get_mut(&repair.check) {
                    attempts.helped = true;
                }
                self.keep(&tried)?;
                self.note(ledger::RECOVERY_DONE, &repair, detail, clock)?;
            }
            RepairEnd::Failed { reason } => {
                self.note(ledger::RECOVERY_FAILED, &repair, reason, clock)?;
            }
            RepairEnd::NotBefore { .. } | RepairEnd::GivenUp => {}
        }
        Ok(repair)
    }

    fn note(
        &self,
        kind: &str,
        repair: &Repair,
        detail: &str,
        clock: fn() -> Timestamp,
    ) -> Result<(), RepairError> {
        let payload = RecoveryOf {
            check: repair.check.clone(),
            attempt: repair.attempts,
            detail: detail.to_owned(),
        };
        ledger::recovery(self.journal(), kind, &payload, clock()).map_err(RepairError::Record)
    }

    /// A file that cannot be read counts as no attempts; writing it anew is tried before each of them.
    fn tried(&self) -> Tried {
        let text = fs::read(self.directory().join(ATTEMPTS_FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn keep(&self, tried: &Tried) -> Result<(), RepairError> {
        let path = self.directory().join(ATTEMPTS_FILE);
        let document = Tried {
            format: FORMAT,
            attempts: tried.attempts.clone(),
        };
        let written = serde_json::to_string(&document)
            .map_err(io::Error::from)
            .and_then(|text| private::replace(&path, &text));
        written.map_err(|source| RepairError::File { path, source })
    }

    fn repair_lock(&self) -> Result<File, RepairError> {
        let path = self.directory().join(LOCK_FILE);
        let lock = || {
            let mut options = File::options();
            let file = options
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| RepairError::File { path, source })
    }
}

fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}
