//! Looks at the health of a sandbox again and again, for programs that keep it open.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sandbox_monitor::{HealthReport, HealthState};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{HealthOutcome, Repair, RepairBy, RepairEnd};
use crate::{
    core::SandboxCore, event::HealthChanged, home::now, layout::RECORD_FILE, ledger,
    sandbox::Sandbox,
};

/// The shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The most repairs that one outcome tells of looks which nobody took.
const REPAIRS_KEPT_MAX: usize = 100;

/// Looks at the health of a sandbox until it is dropped.
#[derive(Debug)]
pub struct HealthWatch {
    task: JoinHandle<()>,
    latest: watch::Receiver<Option<Arc<HealthOutcome>>>,
    /// Whether somebody took the latest.
    taken: Arc<AtomicBool>,
}

impl SandboxCore {
    /// Looks at the health now and every `interval` from now on, in the background, and repairs what can
    /// be repaired if `monitoring_config.auto_recover` says so. A check that begins or ceases to fail is
    /// written to the journal. Ends when the result is dropped, or the sandbox is destroyed.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, or in one without a clock (`enable_time`).
    pub fn watch_health(&self, every: Duration) -> HealthWatch {
        let (sender, latest) = watch::channel(None::<Arc<HealthOutcome>>);
        let core = self.clone();
        let taken = Arc::new(AtomicBool::new(true));
        let is_taken = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            let mut ticks = interval(every.max(INTERVAL_MIN));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = BTreeMap::new();
            loop {
                ticks.tick().await;
                if !core.sandbox.directory().join(RECORD_FILE).exists() {
                    return;
                }
                let mut outcome = core.look().await;
                core.sandbox.note_changes(&mut before, &outcome.health);
                sender.send_modify(|latest| {
                    if !is_taken.swap(false, Ordering::SeqCst)
                        && let Some(missed) = latest
                    {
                        outcome.repairs = with_missed(missed, outcome.repairs);
                    }
                    *latest = Some(Arc::new(outcome));
                });
            }
        });
        HealthWatch {
            task,
            latest,
            taken,
        }
    }

    async fn look(&self) -> HealthOutcome {
        let repairs = self.sandbox.config.monitoring_config.auto_recover;
        let repaired = if repairs.unwrap_or(true) {
            self.repair_health(RepairBy::Itself).await.ok()
        } else {
            None
        };
        match repaired {
            Some(outcome) => outcome,
            // What cannot be repaired for want of room is looked at all the same.
            None => HealthOutcome {
                health: self.health().await,
                repairs: Vec::new(),
            },
        }
    }
}

impl HealthWatch {
    /// Returns what the last look found, with repairs of looks that nobody took; `None` before the first
    /// has ended.
    pub fn latest(&self) -> Option<Arc<HealthOutcome>> {
        self.latest.borrow().clone()
    }

    /// Waits for the next look, and returns what it found, with what was repaired in earlier looks that
    /// ended before this was called; `None` if the sandbox was destroyed.
    pub async fn next(&mut self) -> Option<Arc<HealthOutcome>> {
        self.latest.changed().await.ok()?;
        let latest = self.latest.borrow_and_update();
        self.taken.store(true, Ordering::SeqCst);
        latest.clone()
    }
}

/// Puts the repairs that were made in a look that nobody took before those of the next one.
fn with_missed(missed: &HealthOutcome, new: Vec<Repair>) -> Vec<Repair> {
    let was_made =
        |it: &&Repair| matches!(it.end, RepairEnd::Done { .. } | RepairEnd::Failed { .. });
    let made = missed.repairs.iter().filter(was_made).cloned();
    let mut all: Vec<_> = made.chain(new).collect();
    let excess = all.len().saturating_sub(REPAIRS_KEPT_MAX);
    all.drain(..excess);
    all
}

impl Drop for HealthWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sandbox {
    /// Writes down which checks fail since now, and which do no longer. A check that was never seen
    /// counts as healthy; what only degrades comes and goes, and is not written.
    fn note_changes(&self, before: &mut BTreeMap<String, HealthState>, health: &HealthReport) {
        for checked in &health.checks {
            let to = checked.health.state;
            let from = before.insert(checked.name.clone(), to);
            let from = from.unwrap_or(HealthState::Healthy);
            if (from == HealthState::Failed) == (to == HealthState::Failed) {
                continue;
            }
            let change = HealthChanged {
                check: checked.name.clone(),
                from,
                to,
                detail: checked.health.detail.clone(),
            };
            // Who watches is told by the result as well.
            let _noted = ledger::health_changed(self.journal(), &change, now());
        }
    }
}
