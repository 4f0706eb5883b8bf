//! Checks that no transaction and no undo is half-way, and finishes or reverses what is.

use std::sync::Arc;

use sandbox_monitor::{Health, HealthCheck, Recovery, RecoveryFailure};
use sandbox_rollback::Unsettled;
use sandbox_types::causes;

use super::checks::listed;
use crate::{home::now, sandbox::Sandbox};

/// The transactions and undo sets of a sandbox.
#[derive(Debug)]
pub(super) struct Transactions {
    sandbox: Arc<Sandbox>,
    recovery: Settle,
}

/// Does what opening the sandbox for the next operation would do.
#[derive(Debug)]
struct Settle(Arc<Sandbox>);

impl Transactions {
    pub(super) fn new(sandbox: &Arc<Sandbox>) -> Self {
        Self {
            sandbox: Arc::clone(sandbox),
            recovery: Settle(Arc::clone(sandbox)),
        }
    }
}

impl HealthCheck for Transactions {
    fn name(&self) -> &'static str {
        "transactions"
    }

    fn check(&self) -> Health {
        let Some(rollback) = &self.sandbox.rollback else {
            let reason = self.sandbox.record.no_layers_because.clone();
            let reason = reason.unwrap_or_default();
            return Health::degraded(format!(
                "there are none, so nothing can be undone: {reason}"
            ));
        };
        match rollback.unsettled() {
            Ok(None) => Health::healthy("another process is settling one now"),
            Ok(Some(found)) if found.is_empty() => Health::healthy("all are settled"),
            Ok(Some(found)) => {
                let name = |unsettled: &Unsettled| match unsettled {
                    Unsettled::Interrupted(id) => format!("{id} (interrupted)"),
                    Unsettled::Committing(id) => format!("{id} (half committed)"),
                    Unsettled::Undoing(id) => format!("{id} (half undone)"),
                    Unsettled::Redoing(id) => format!("{id} (half redone)"),
                };
                Health::failed(format!("not settled: {}", listed(found.iter().map(name))))
            }
            Err(error) => Health::failed(causes(&error).join(": ")),
        }
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        self.sandbox.rollback.as_ref()?;
        Some(&self.recovery)
    }
}

impl Recovery for Settle {
    fn describe(&self) -> &'static str {
        "finish what was half committed or undone, drop what was interrupted"
    }

    fn recover(&self) -> Result<String, RecoveryFailure> {
        let failure = |reason| RecoveryFailure { reason };
        let report = self
            .0
            .recover(now())
            .map_err(|error| failure(causes(&error).join(": ")))?;
        if !report.failed.is_empty() {
            return Err(failure(report.failed.join("; ")));
        }
        Ok(format!(
            "{} dropped, {} committed, {} undone, {} redone",
            report.interrupted.len(),
            report.completed.len(),
            report.undone.len(),
            report.redone.len()
        ))
    }
}
