//! How a sandbox is, in parts that can be checked and repaired one by one.
//!
//! The monitor only looks: a check that knows what would repair it says so, and it is done here, one
//! check after the other, bounded and written down. `repair.rs` tells how.

mod checks;
mod journal;
mod orphans;
mod repair;
mod transactions;
mod watch;

use std::{sync::Arc, time::Duration};

use sandbox_monitor::{Health, HealthCheck, HealthMonitor, HealthReport, HostCheck, Recovery};

pub use repair::{HealthOutcome, Repair, RepairBy, RepairEnd, RepairError};
pub use watch::HealthWatch;

use crate::{
    core::{SandboxCore, in_background},
    course::seconds,
    home::now,
    sandbox::Sandbox,
};

impl SandboxCore {
    /// Returns the built-in checks and those of plugins. A program can add more to them.
    pub fn health_monitor(&self) -> HealthMonitor {
        monitor(&self.sandbox, &self.home.host().data)
    }

    /// Returns how the sandbox is. Repairs nothing.
    pub async fn health(&self) -> HealthReport {
        let monitor = self.health_monitor();
        in_background(move || monitor.examine()).await
    }

    /// Repairs what can be repaired, each at most once, and returns how the sandbox is then.
    ///
    /// # Errors
    ///
    /// Fails when a repair cannot be written down; then it is not begun.
    pub async fn repair_health(&self, by: RepairBy) -> Result<HealthOutcome, RepairError> {
        self.repair_health_of(self.health_monitor(), by).await
    }

    /// Like [`SandboxCore::repair_health`], with the checks of `monitor`.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::repair_health`].
    pub async fn repair_health_of(
        &self,
        monitor: HealthMonitor,
        by: RepairBy,
    ) -> Result<HealthOutcome, RepairError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.repair(&monitor, by, now)).await
    }

    /// Returns the configured time between two health checks.
    pub fn health_check_interval(&self) -> Duration {
        seconds(
            self.sandbox.config.monitoring_config.health_check_interval,
            60,
        )
    }
}

/// Every check, in the order in which they are run and repaired: what holds a transaction is ended
/// before the transaction is settled.
fn monitor(sandbox: &Arc<Sandbox>, data: &std::path::Path) -> HealthMonitor {
    let mut monitor = HealthMonitor::new();
    for host in [
        HostCheck::memory(),
        HostCheck::disk(sandbox.workspace()),
        HostCheck::pressure(),
        HostCheck::load(),
    ] {
        monitor.add(Arc::new(host));
    }
    monitor.add(Arc::new(checks::Workspace(Arc::clone(sandbox))));
    monitor.add(Arc::new(orphans::Orphans::new(sandbox)));
    monitor.add(Arc::new(transactions::Transactions::new(sandbox)));
    monitor.add(Arc::new(checks::Layers(data.to_owned())));
    monitor.add(Arc::new(journal::JournalChain(Arc::clone(sandbox))));
    monitor.add(Arc::new(checks::Store(Arc::clone(sandbox))));
    monitor.add(Arc::new(checks::Snapshots(Arc::clone(sandbox))));
    monitor.add(Arc::new(checks::Usage(Arc::clone(sandbox))));
    for check in sandbox.plugins.health_checks() {
        let name = free_name(&monitor, check.name());
        monitor.add(match name {
            None => Arc::clone(check),
            Some(name) => Arc::new(Renamed {
                name,
                check: Arc::clone(check),
            }),
        });
    }
    monitor
}

/// Returns another name for a check of a plugin if there is one of its name: none of them is to hide
/// another.
fn free_name(monitor: &HealthMonitor, name: &str) -> Option<String> {
    let is_taken = |name: &str| monitor.find(name).is_some();
    if !is_taken(name) {
        return None;
    }
    let mut free = format!("{name} (plugin)");
    let mut number = 1;
    while is_taken(&free) {
        number += 1;
        free = format!("{name} (plugin {number})");
    }
    Some(free)
}

/// A check of a plugin whose name another check has.
#[derive(Debug)]
struct Renamed {
    name: String,
    check: Arc<dyn HealthCheck>,
}

impl HealthCheck for Renamed {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self) -> Health {
        self.check.check()
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        self.check.recovery()
    }
}
