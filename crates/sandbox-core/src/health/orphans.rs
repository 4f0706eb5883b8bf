//! Checks that nothing of a killed caller is left, processes or cgroups, and ends and removes it.
//!
//! A guest ends with its caller, but not one that is frozen or stopped at that moment. It is found by
//! its cgroups, whose names tell the caller, and where there are none by the usage history, whose
//! samples name the first process of the guest.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use sandbox_isolation::{
    OrphanedCgroup, end_orphaned_cgroup, end_orphaned_guest, is_first_of_guest, orphaned_cgroups,
    probe_kernel,
};
use sandbox_monitor::{GuestProcess, Health, HealthCheck, Recovery, RecoveryFailure};
use sandbox_state::ReadError;
use sandbox_types::{OperationId, causes};

use super::checks::listed;
use crate::{event::OperationStarted, history::operation_id, ledger, sandbox::Sandbox};

/// How many of the newest records are searched for operations.
const SEARCHED_RECORDS_MAX: usize = 2000;
/// How often, and after which pause, it is looked again: a guest whose caller has just been killed is
/// ended by the kernel in a moment.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// What killed callers left of a sandbox's operations.
#[derive(Debug)]
pub(super) struct Orphans {
    sandbox: Arc<Sandbox>,
    recovery: EndOrphans,
}

#[derive(Debug)]
struct EndOrphans(Arc<Sandbox>);

/// What was found.
#[derive(Debug, Default)]
struct Left {
    guests: Vec<(OperationId, GuestProcess)>,
    cgroups: Vec<OrphanedCgroup>,
}

/// Operations of killed callers.
#[derive(Debug, Default)]
struct Killed {
    all: BTreeSet<OperationId>,
    /// Those without a report.
    unended: BTreeSet<OperationId>,
}

impl Orphans {
    pub(super) fn new(sandbox: &Arc<Sandbox>) -> Self {
        Self {
            sandbox: Arc::clone(sandbox),
            recovery: EndOrphans(Arc::clone(sandbox)),
        }
    }
}

impl HealthCheck for Orphans {
    fn name(&self) -> &'static str {
        "orphans"
    }

    fn check(&self) -> Health {
        let mut left = match find(&self.sandbox) {
            Ok(left) => left,
            Err(error) => return Health::failed(causes(&error).join(": ")),
        };
        for _ in 1..LOOKS {
            if !left.runs() {
                break;
            }
            thread::park_timeout(PAUSE);
            left = find(&self.sandbox).unwrap_or(left);
        }
        if left.runs() {
            return Health::failed(format!(
                "the caller was killed, and processes still run, of: {}",
                listed(left.running().into_iter())
            ));
        }
        if !left.cgroups.is_empty() {
            let names = left.cgroups.iter().map(|it| it.operation.clone());
            return Health::degraded(format!("empty cgroups are left, of: {}", listed(names)));
        }
        let cgroups = probe_kernel().cgroup;
        if cgroups.usable.is_empty() {
            let reason = cgroups.unusable.into_iter().next();
            let reason = reason.map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
            return Health::healthy(format!(
                "none; only first processes of guests are looked for, for want of cgroups{reason}"
            ));
        }
        Health::healthy("none")
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(&self.recovery)
    }
}

impl Recovery for EndOrphans {
    fn describe(&self) -> &'static str {
        "end processes whose caller was killed, and remove their cgroups"
    }

    fn recover(&self) -> Result<String, RecoveryFailure> {
        let failure = |error: &dyn std::error::Error| RecoveryFailure {
            reason: causes(error).join(": "),
        };
        let left = find(&self.0).map_err(|error| failure(&error))?;
        let mut ended = 0;
        // Their first process before the cgroups: with it the kernel ends all others at once.
        for (_, guest) in &left.guests {
            let was_there =
                end_orphaned_guest(guest.pid, guest.started).map_err(|error| failure(&error))?;
            ended += usize::from(was_there);
        }
        for cgroup in &left.cgroups {
            end_orphaned_cgroup(cgroup).map_err(|error| failure(&error))?;
        }
        Ok(format!(
            "{ended} guests ended, cgroups of {} operations removed",
            left.cgroups.len()
        ))
    }
}

impl Left {
    fn runs(&self) -> bool {
        !self.guests.is_empty() || self.cgroups.iter().any(|it| it.processes > 0)
    }

    /// Returns the operations that run, each once.
    fn running(&self) -> Vec<String> {
        let guests = self.guests.iter().map(|(id, _)| id.to_string());
        let cgroups = self.cgroups.iter().filter(|it| it.processes > 0);
        let mut names: Vec<String> = guests
            .chain(cgroups.map(|it| it.operation.clone()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn find(sandbox: &Sandbox) -> Result<Left, ReadError> {
    let killed = killed(sandbox)?;
    if killed.all.is_empty() {
        return Ok(Left::default());
    }
    let mut left = Left {
        cgroups: orphaned_cgroups(),
        ..Left::default()
    };
    left.cgroups.retain(|cgroup| {
        let operation = cgroup.operation.split('+').next().unwrap_or_default();
        killed.all.iter().any(|id| id.as_str() == operation)
    });
    if !killed.unended.is_empty() {
        // A history that cannot be read is a finding of its own.
        let history = sandbox.tracker().history().unwrap_or_default();
        for id in killed.unended {
            let mark = sandbox_monitor::operation_mark(&id);
            let samples = history.records.iter().rev();
            let guest = samples
                .filter(|record| record.operation == mark)
                .find_map(|record| record.guest);
            let guest = guest.filter(|it| is_first_of_guest(it.pid, it.started));
            left.guests.extend(guest.map(|guest| (id, guest)));
        }
    }
    Ok(left)
}

/// Returns the operations among the newest records whose process is gone.
fn killed(sandbox: &Sandbox) -> Result<Killed, ReadError> {
    let mut ended = BTreeSet::new();
    let mut killed = Killed::default();
    let records = sandbox.journal().records_newest_first()?;
    for record in records.take(SEARCHED_RECORDS_MAX) {
        let record = record?;
        match record.kind.as_str() {
            ledger::FINISHED => ended.extend(operation_id(&record)),
            ledger::STARTED => {
                let started = serde_json::from_value::<OperationStarted>(record.payload);
                let Some(started) = started.ok().filter(|it| !it.process.is_alive()) else {
                    continue;
                };
                let id = started.operation.id;
                if !ended.contains(&id) {
                    killed.unended.insert(id.clone());
                }
                killed.all.insert(id);
            }
            _ => {}
        }
    }
    Ok(killed)
}
