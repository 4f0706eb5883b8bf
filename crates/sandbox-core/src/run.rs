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

use std::{error::Error, fmt, time::Instant};

use jiff::Timestamp;
use sandbox_isolation::{Cancellation, LaunchError};
use sandbox_monitor::UsageRecord;
use sandbox_rollback::{BeginError, Transaction};
use sandbox_safety::Clearance;
use sandbox_state::AppendError;
use sandbox_types::{
    ApprovalId, Decision, Execution, Operation, OperationReport, Settlement, Verdict, causes,
};

use crate::{
    approvals::Permission,
    caller::{Caller, Event, Forwarded},
    checkpoint::{CheckpointError, WayBack},
    course::{Course, Sampler},
    draft::Draft,
    given_secrets::GivenSecrets,
    guarded::Guarded,
    launch_plan::{self, PlanError},
    ledger,
    orders::Orders,
    readied::Readied,
    sandbox::Sandbox,
    settle::{self, SettleError, Settled},
    suspend::EnterError,
    watch::Watch,
};

/// The sandbox failed, and the report says how far it came.
#[derive(Debug)]
pub struct RunError {
    /// What failed.
    pub fault: Box<RunFault>,
    /// What is known of the operation. It is in the journal, except after [`RunFault::Record`].
    pub report: Box<OperationReport>,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// What failed. One variant a stage; the source says what failed there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFault {
    /// The request cannot be carried out in this sandbox. Nothing was run.
    #[error("the operation was not started")]
    Plan(#[source] PlanError),
    /// The sandbox is suspended, or was destroyed meanwhile. Nothing was run.
    #[error("the operation was not started")]
    Enter(#[source] EnterError),
    /// Nothing was run.
    #[error("the operation was not started: no snapshot of the workspace to go back to")]
    Checkpoint(#[source] CheckpointError),
    /// Nothing was run.
    #[error("the operation was not started: no transaction")]
    Begin(#[source] BeginError),
    /// The command was not run, or was lost while it ran. Nothing was committed.
    #[error("the operation was not finished: no confined process")]
    Launch(#[source] LaunchError),
    /// The changes were not settled as they should be. The report says what became of them.
    #[error("the changes were not settled")]
    Settle(#[source] SettleError),
    /// The report is not in the journal. If the changes were settled before, they stay so.
    #[error("the operation was not recorded")]
    Record(#[source] AppendError),
}

/// What an operation runs in, and where its changes go unless it writes directly.
type Begun<'a> = (Readied<'a>, WayBack);

/// An operation that is to run, and the request that was approved for it with what is judged of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) request: Option<(&'a ApprovalId, &'a Operation)>,
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
        let ordered = Ordered {
            operation,
            request: None,
        };
        self.run_ordered(ordered, caller, cancel, now)
    }

    /// Like [`Sandbox::run`], for a request that was approved too.
    pub(crate) fn run_ordered(
        &self,
        ordered: Ordered<'_>,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
        now: Timestamp,
    ) -> Result<OperationReport, RunError> {
        let mut guarded = Guarded::new(caller, cancel);
        let ran = self.tell(ordered, &mut guarded, cancel, now);
        // A caller that panicked is cancelled, and its operation is settled and recorded by now.
        guarded.go_on();
        ran
    }

    /// Tells the story. No panic of the caller's reaches this.
    fn tell(
        &self,
        Ordered { operation, request }: Ordered<'_>,
        caller: &mut Guarded<'_>,
        cancel: &Cancellation,
        now: Timestamp,
    ) -> Result<OperationReport, RunError> {
        let clock = Instant::now();
        // The confinement is built beside what follows. Nothing runs in it before the clearance.
        let forwarded = Forwarded::of(caller);
        let mut readied = self.ready(operation, forwarded.clone());
        let verdict = self.judge(request.map_or(operation, |(_, judged)| judged));
        caller.hear(Event::Judged(&verdict));
        let draft = Draft::new(self, operation, now, clock);
        if let Err(error @ PlanError::Policy(_)) = readied {
            return self.failed(draft, verdict, RunFault::Plan(error));
        }

        let permission = match (verdict.decision, request) {
            (Decision::Allow | Decision::Deny, _) => Permission::default(),
            (Decision::Ask, Some((id, _))) => Permission::of_request(id),
            (Decision::Ask, None) => {
                if let Err(error) = readied {
                    // Nobody is asked about what cannot be done.
                    return self.failed(draft, verdict, RunFault::Plan(error));
                }
                // Answers take their time, and what is built is not to stand about.
                drop(readied);
                let permission = self.ask((operation, forwarded.stream()), &verdict, caller, now);
                readied = self.ready(operation, forwarded);
                permission
            }
        };
        let Some(clearance) = Clearance::grant(operation, &verdict, |_| permission.given) else {
            return self.record(draft.refused(verdict, &permission), &UsageRecord::default());
        };

        let redactor = readied.as_ref().ok().and_then(Readied::redactor);
        // No `?` from here to the record: promises 2 and 3.
        let (in_use, begun) = match self.enter() {
            Ok(in_use) => (Some(in_use), self.begin(operation, &verdict, readied, now)),
            Err(error) => (None, Err(RunFault::Enter(error))),
        };
        let mut course = Course::new(now, clock);
        let (execution, settled) = self.carry_out(&clearance, begun, (caller, cancel), &mut course);
        caller.hear(Event::Settled(settled.summary.settlement));

        let mut report = course.complete(draft.finished(verdict, &execution, &settled));
        report.approval = permission.told();
        if let Some(redactor) = redactor {
            report = redactor.redacted(report);
        }
        let recorded = self.record(report, &course.watched.recorded);
        // The guest is dead since `execute`; the kernel took its namespaces down meanwhile.
        drop((course, in_use));
        match (settled.failure.map(RunFault::Settle), execution.err()) {
            (None, None) => recorded,
            (Some(fault), _) | (None, Some(fault)) => Err(RunError {
                fault: Box::new(fault),
                report: recorded.map_or_else(|error| error.report, Box::new),
            }),
        }
    }

    /// Checks the request, and starts to build what it would run in.
    fn ready<'a>(
        &self,
        operation: &'a Operation,
        forwarded: Forwarded,
    ) -> Result<Readied<'a>, PlanError> {
        launch_plan::check(operation, self)?;
        let secrets = GivenSecrets::read(operation, self)?;
        Readied::of(operation, self, forwarded, secrets)
    }

    /// Judges without running: what [`Sandbox::run`] would decide.
    pub(crate) fn judge(&self, operation: &Operation) -> Verdict {
        let surroundings = self.surroundings(operation);
        let mut verdict = self.validator.judge(operation, &surroundings);
        if self.policies_unusable.is_some() {
            // What the rules would have said is not known.
            verdict.decision = Decision::Deny;
        }
        verdict
    }

    /// Launches, observes and settles. Both results are there whatever happened.
    fn carry_out(
        &self,
        clearance: &Clearance<'_>,
        begun: Result<Begun<'_>, RunFault>,
        (caller, cancel): (&mut dyn Caller, &Cancellation),
        course: &mut Course,
    ) -> (Result<Execution, RunFault>, Settled) {
        let (readied, way_back) = match begun {
            Ok(begun) => begun,
            Err(fault) => return (Err(fault), Settled::nothing()),
        };
        let parts = (readied, way_back.transaction());
        let execution = self.execute(parts, clearance, (caller, cancel), course);
        let operation = clearance.operation();
        let transaction = match way_back {
            WayBack::Transaction(transaction) => transaction,
            WayBack::Checkpoint(checkpoint) => {
                let settled = checkpoint.settle(self, operation, execution.as_ref().ok());
                return (execution, settled);
            }
            WayBack::None => return (execution, Settled::never(operation)),
        };
        let gate = self.gate(operation);
        let settled = settle::settle(
            transaction,
            operation,
            (&gate, &self.config.content()),
            execution.as_ref().ok(),
        );
        self.retain(course.now());
        (execution, settled)
    }

    /// Writes down that the operation starts, and opens its transaction unless it writes directly.
    fn begin<'a>(
        &self,
        operation: &Operation,
        verdict: &Verdict,
        readied: Result<Readied<'a>, PlanError>,
        now: Timestamp,
    ) -> Result<Begun<'a>, RunFault> {
        let mut readied = readied.map_err(RunFault::Plan)?;
        let said = (self.reported(operation), verdict.clone());
        let (reported, verdict) = match readied.redactor() {
            Some(redactor) => redactor.redacted(said),
            None => said,
        };
        ledger::started(self.journal(), reported, &verdict, now).map_err(RunFault::Record)?;
        // Once more: who suspends has looked for operations before this one was written down.
        self.check_not_suspended()
            .map_err(|it| RunFault::Enter(it.into()))?;
        if self.has_checkpoint(operation) {
            let checkpoint = self.checkpoint(operation, now);
            let checkpoint = checkpoint.map_err(RunFault::Checkpoint)?;
            return Ok((readied, WayBack::Checkpoint(checkpoint)));
        }
        if self.is_direct(operation) {
            return Ok((readied, WayBack::None));
        }
        let rollback = self.rollback().map_err(RunFault::Plan)?;
        rollback
            .begin_ready(&operation.id, readied.layers_lock())
            .map(|transaction| (readied, WayBack::Transaction(transaction)))
            .map_err(RunFault::Begin)
    }

    /// Confines the command, runs it, and measures it until it ends. What the kernel still has to
    /// take down then goes into `course`, so that the settlement need not wait for it.
    fn execute(
        &self,
        (readied, transaction): (Readied<'_>, Option<&Transaction>),
        clearance: &Clearance<'_>,
        (caller, cancel): (&mut dyn Caller, &Cancellation),
        course: &mut Course,
    ) -> Result<Execution, RunFault> {
        let limits = readied.limits().clone();
        let redactor = readied.redactor();
        let mut running = readied.launch(clearance)?;
        if let Some(rollback) = &self.rollback {
            // The last steps of the confinement take longer.
            rollback.sweep();
        }
        running.started().map_err(RunFault::Launch)?;
        caller.hear(Event::Started(&clearance.operation().id));

        let sampler = Sampler::new(self, &clearance.operation().id, &limits, course);
        let root_pid = running.root_pid();
        let orders = Orders::of(self, &clearance.operation().id);
        let mut watch = Watch::new(root_pid, (caller, sampler), &limits, transaction);
        watch.obey(orders);
        watch.redact(redactor.as_ref());
        let ended = running.wait(&mut watch, cancel).map_err(RunFault::Launch)?;
        let execution = watch.execution(ended, running.cgroups(), course);
        course.remains = Some(running);
        Ok(execution)
    }

    /// Records an operation that failed before anything began.
    fn failed(
        &self,
        draft: Draft,
        verdict: Verdict,
        fault: RunFault,
    ) -> Result<OperationReport, RunError> {
        let execution = Err(fault);
        let report = draft.finished(verdict, &execution, &Settled::nothing());
        let recorded = self.record(report, &UsageRecord::default());
        match execution {
            Ok(_never) => recorded,
            Err(fault) => Err(RunError {
                fault: Box::new(fault),
                report: recorded.map_or_else(|error| error.report, Box::new),
            }),
        }
    }

    /// Writes the report to the journal, and what was used to the usage history, of which samples have
    /// `sampled` already. When this returns, the report is in the file.
    fn record(
        &self,
        mut report: OperationReport,
        sampled: &UsageRecord,
    ) -> Result<OperationReport, RunError> {
        let unwritten = self.track_end(&report, sampled);
        report.enforcement.missing.extend(unwritten);
        let now =
            report.started_at + jiff::SignedDuration::from_secs_f64(report.duration_ms / 1000.0);
        match ledger::finished(self.journal(), &report, now).map_err(RunFault::Record) {
            Ok(receipt) => {
                self.remember_after(receipt.sequence);
                Ok(report)
            }
            Err(fault) => {
                report.error.extend(causes(&fault));
                Err(RunError {
                    fault: Box::new(fault),
                    report: Box::new(report),
                })
            }
        }
    }
}

impl RunError {
    /// Returns whether the request itself was at fault.
    pub fn is_usage(&self) -> bool {
        matches!(*self.fault, RunFault::Plan(_))
    }
}

/// What the settlement of an operation without changes is called.
pub(crate) const NOTHING_CHANGED: Settlement = Settlement::Committed;
