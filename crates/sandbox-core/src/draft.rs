//! The report while it is being written: what is known at the start, and how each ending reads.

use std::time::Instant;

use jiff::Timestamp;
use sandbox_types::{
    CapturedOutput, ChangeSummary, Decision, Enforcement, Execution, ExitReason, LimitKind,
    Operation, OperationReport, Outcome, ReportedLimits, ReportedOperation, SandboxName,
    Settlement, Usage, Verdict, causes, report::REPORT_SCHEMA,
};

use crate::{approvals::Permission, ledger, run::RunFault, sandbox::Sandbox, settle::Settled};

/// What is known of an operation when it starts.
pub(crate) struct Draft {
    operation: ReportedOperation,
    sandbox: SandboxName,
    started_at: Timestamp,
    clock: Instant,
}

impl Draft {
    pub(crate) fn new(
        sandbox: &Sandbox,
        operation: &Operation,
        started_at: Timestamp,
        clock: Instant,
    ) -> Self {
        Self {
            operation: sandbox.reported(operation),
            sandbox: sandbox.name().clone(),
            started_at,
            clock,
        }
    }

    /// What is known of an operation whose process was killed.
    pub(crate) fn of_started(
        sandbox: &Sandbox,
        operation: ReportedOperation,
        started_at: Timestamp,
    ) -> Self {
        Self {
            operation,
            sandbox: sandbox.name().clone(),
            started_at,
            clock: Instant::now(),
        }
    }

    /// Its process was killed: what it printed and used is not known.
    pub(crate) fn interrupted(self, verdict: Verdict, settlement: Settlement) -> OperationReport {
        let mut report = self.report(verdict, Outcome::Killed);
        report.duration_ms = 0.0;
        report.changes.settlement = settlement;
        report
            .error
            .push("the process of the sandbox was killed".to_owned());
        report
    }

    /// It was done by the sandbox itself, without a command.
    pub(crate) fn restored(
        self,
        verdict: Verdict,
        ended: &Result<ChangeSummary, Vec<String>>,
    ) -> OperationReport {
        let mut report = self.report(verdict, Outcome::Completed);
        match ended {
            Ok(changes) => report.changes = changes.clone(),
            Err(causes) => {
                report.outcome = Outcome::Error;
                report.error.clone_from(causes);
            }
        }
        report
    }

    /// The judge said no, or asked and nobody said yes.
    pub(crate) fn refused(self, verdict: Verdict, permission: &Permission) -> OperationReport {
        let outcome = match verdict.decision {
            Decision::Deny => Outcome::Denied,
            Decision::Ask | Decision::Allow if permission.refused => Outcome::Denied,
            Decision::Ask | Decision::Allow => Outcome::ApprovalRequired,
        };
        let mut report = self.report(verdict, outcome);
        report.approval = permission.told();
        report
    }

    /// The operation was attempted.
    pub(crate) fn finished(
        self,
        verdict: Verdict,
        execution: &Result<Execution, RunFault>,
        settled: &Settled,
    ) -> OperationReport {
        let program = self.operation.argv.first().cloned().unwrap_or_default();
        let mut report = self.report(verdict, Outcome::Error);
        if let Ok(execution) = execution {
            report.outcome = Outcome::of_exit(execution.exit);
            describe_exit(&mut report, execution.exit, &program);
            report.usage = execution.usage.clone();
            report.limits.reached.clone_from(&execution.limits_reached);
            report.network.clone_from(&execution.network);
            report.violations.clone_from(&execution.violations);
            report.enforcement = execution.enforcement.clone();
            report.stdout = execution.stdout.clone();
            report.stderr = execution.stderr.clone();
        }
        report
            .enforcement
            .missing
            .extend(settled.missing.iter().cloned());
        report.changes = settled.summary.clone();
        report.usage.disk_written_bytes = settled.summary.bytes;
        report.violations.extend(settled.violations.iter().cloned());
        if let Some(limit) = settled.over {
            report.outcome = Outcome::LimitExceeded;
            report.limits.exceeded = Some(limit);
        }
        if let Some(error) = &settled.failure {
            report.outcome = Outcome::Error;
            report.error.extend(causes(error));
        }
        if let Err(error) = execution {
            report.outcome = Outcome::Error;
            report.error.extend(causes(error));
        }
        ledger::cut_lists(&mut report);
        report
    }

    fn report(self, verdict: Verdict, outcome: Outcome) -> OperationReport {
        OperationReport {
            schema: REPORT_SCHEMA,
            operation: self.operation,
            sandbox: self.sandbox,
            outcome,
            exit_code: None,
            signal: None,
            started_at: self.started_at,
            duration_ms: self.clock.elapsed().as_secs_f64() * 1000.0,
            verdict,
            approval: None,
            usage: Usage::default(),
            limits: ReportedLimits::default(),
            alerts: Vec::new(),
            changes: ChangeSummary::nothing(),
            network: None,
            violations: Vec::new(),
            enforcement: Enforcement::default(),
            stdout: CapturedOutput::default(),
            stderr: CapturedOutput::default(),
            error: Vec::new(),
        }
    }
}

fn describe_exit(report: &mut OperationReport, exit: ExitReason, program: &str) {
    match exit {
        ExitReason::Exited(code) => report.exit_code = Some(code),
        ExitReason::Signaled(signal) => report.signal = Some(signal),
        ExitReason::LimitExceeded(limit) => report.limits.exceeded = Some(limit),
        ExitReason::TimedOut => report.limits.exceeded = Some(LimitKind::WallTime),
        ExitReason::Cancelled => {}
        // As a shell says it, so that the two can be told apart.
        ExitReason::NotFound => {
            report.exit_code = Some(127);
            report
                .error
                .push(format!("command not found inside the sandbox: {program}"));
        }
        ExitReason::NotExecutable => {
            report.exit_code = Some(126);
            report
                .error
                .push(format!("not an executable program: {program}"));
        }
    }
}
