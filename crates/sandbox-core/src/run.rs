//! Runs one operation, from request to report.
//!
//! This file is the whole story of `sandbox run`:
//!
//! ```text
//! Operation -judge-> Verdict -grant-> Clearance -begin-> Transaction
//!     -launch-> Running -observe-> Execution -settle-> Settled -record-> OperationReport
//! ```
//!
//! Three promises are kept here and nowhere else:
//!
//! 1. Nothing is launched without a [`Clearance`].
//! 2. Whatever went wrong, a transaction is settled before this file returns.
//! 3. Whatever went wrong, the operation is recorded before this file returns.
//!
//! A refusal and a failing command are reports. An error means that the sandbox itself failed.

use std::time::Instant;

use jiff::Timestamp;
use sandbox_isolation::{Cancellation, LaunchError};
use sandbox_rollback::{BeginError, Transaction};
use sandbox_safety::Clearance;
use sandbox_state::AppendError;
use sandbox_types::{Execution, Operation, OperationReport, Settlement, Verdict};

use crate::{
    caller::{Caller, Event},
    draft::Draft,
    launch_plan::{self, PlanError},
    ledger,
    sandbox::Sandbox,
    settle::{self, SettleError, Settled},
    watch::Watch,
};

/// The sandbox failed. One variant a stage; the source says what failed there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request cannot be carried out in this sandbox. Nothing was run.
    #[error("the operation was not started")]
    Plan(#[source] PlanError),
    /// Nothing was run.
    #[error("the operation was not started: no transaction")]
    Begin(#[source] BeginError),
    /// The command was not run, or was lost while it ran. Nothing was committed.
    #[error("the operation was not finished: no confined process")]
    Launch(#[source] LaunchError),
    /// The changes were not settled. The next start of the sandbox finishes or reverses them.
    #[error("the workspace was not settled")]
    Settle(#[source] SettleError),
    /// The workspace is settled, and there is no record of it.
    #[error("the operation was not recorded")]
    Record(#[source] AppendError),
}

impl Sandbox {
    /// Runs `operation` and reports what happened.
    ///
    /// # Errors
    ///
    /// Fails when the sandbox cannot do its work. A refused operation and a failing command are
    /// reports, not errors.
    pub(crate) fn run(
        &self,
        operation: &Operation,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
        now: Timestamp,
    ) -> Result<OperationReport, RunError> {
        let clock = Instant::now();
        let verdict = self.judge(operation);
        caller.hear(Event::Judged(&verdict));
        let draft = Draft::new(self, operation, now, clock);

        let Some(clearance) = Clearance::grant(operation, &verdict, |it| caller.approve(it)) else {
            return self.record(draft.refused(verdict));
        };

        // No `?` from here to the record: promises 2 and 3.
        let (execution, settled) = self.carry_out(&clearance, caller, cancel, now);
        if let Ok(settled) = &settled {
            caller.hear(Event::Settled(settled.summary.settlement));
        }

        let recorded = self.record(draft.finished(verdict, &execution, &settled));
        settled?;
        execution?;
        recorded
    }

    /// Judges without running: what [`Sandbox::run`] would decide.
    pub(crate) fn judge(&self, operation: &Operation) -> Verdict {
        self.validator
            .judge(operation, &self.surroundings(operation))
    }

    /// Begins, launches, observes and settles. Both results are there whatever happened.
    fn carry_out(
        &self,
        clearance: &Clearance<'_>,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
        now: Timestamp,
    ) -> (Result<Execution, RunError>, Result<Settled, RunError>) {
        let operation = clearance.operation();
        let transaction = match self.begin(operation, now) {
            Ok(transaction) => transaction,
            Err(error) => return (Err(error), Ok(Settled::nothing())),
        };
        let execution = self.execute(clearance, transaction.as_ref(), caller, cancel);
        let settled = match transaction {
            Some(transaction) => {
                let gate = self.gate(operation);
                let settled =
                    settle::settle(transaction, operation, &gate, execution.as_ref().ok());
                self.retain();
                settled.map_err(RunError::Settle)
            }
            None => Ok(Settled::nothing()),
        };
        (execution, settled)
    }

    /// Writes down that the operation starts, and opens its transaction unless it writes directly.
    fn begin(
        &self,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Option<Transaction>, RunError> {
        launch_plan::check(operation, self).map_err(RunError::Plan)?;
        ledger::started(self.journal(), self.reported(operation), now).map_err(RunError::Record)?;
        if operation.direct {
            return Ok(None);
        }
        let rollback = self.rollback().map_err(RunError::Plan)?;
        rollback
            .begin(&operation.id)
            .map(Some)
            .map_err(RunError::Begin)
    }

    /// Confines the command, runs it, and measures it until it ends.
    fn execute(
        &self,
        clearance: &Clearance<'_>,
        transaction: Option<&Transaction>,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
    ) -> Result<Execution, RunError> {
        let plan = launch_plan::of(clearance, self, transaction, caller.stdin());
        let limits = plan.limits.clone();
        let mut running = self.launcher().launch(plan).map_err(RunError::Launch)?;
        caller.hear(Event::Started(&clearance.operation().id));

        let mut watch = Watch::new(running.root_pid(), caller, &limits, transaction);
        let ended = running.wait(&mut watch, cancel).map_err(RunError::Launch)?;
        // The cgroups' last figures are read before `running` drops and removes them.
        Ok(watch.execution(ended, running.cgroups()))
    }

    /// Writes the report to the journal. When this returns, the report is in the file.
    fn record(&self, report: OperationReport) -> Result<OperationReport, RunError> {
        let now =
            report.started_at + jiff::SignedDuration::from_secs_f64(report.duration_ms / 1000.0);
        ledger::finished(self.journal(), &report, now).map_err(RunError::Record)?;
        Ok(report)
    }
}

impl RunError {
    /// Returns whether the request itself was at fault.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Plan(_))
    }
}

/// What the settlement of an operation without changes is called.
pub(crate) const NOTHING_CHANGED: Settlement = Settlement::Committed;
