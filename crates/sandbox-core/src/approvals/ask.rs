//! Asks whether an operation may run: rules first, then the caller, then approvers, then later.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use jiff::{SignedDuration, Timestamp};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat, seek},
};
use sandbox_types::{Action, ApprovalId, Operation, ReportedApproval, Verdict};

use super::{
    ApprovalError, ApprovalEvent, ApprovalRequest, ApprovalRule, ApprovalState,
    PENDING_REQUESTS_MAX, RuleScope, Who,
    binding::{self, Task},
    rule,
    shelf::{Locked, Stored},
};
use crate::{
    caller::{Answer, Caller},
    ledger,
    sandbox::Sandbox,
};

/// What came of asking.
#[derive(Debug, Default)]
pub(crate) struct Permission {
    pub(crate) given: bool,
    /// Whether a person said no, rather than nobody anything.
    pub(crate) refused: bool,
    /// What the report says of it.
    pub(crate) told: ReportedApproval,
}

impl Permission {
    /// A request that was approved gives it.
    pub(crate) fn of_request(id: &ApprovalId) -> Self {
        Self {
            given: true,
            refused: false,
            told: ReportedApproval {
                request: Some(id.clone()),
                ..ReportedApproval::default()
            },
        }
    }

    /// Returns what the report says of it, if there is something to say.
    pub(crate) fn told(&self) -> Option<ReportedApproval> {
        Some(self.told.clone()).filter(|it| *it != ReportedApproval::default())
    }

    fn not_stored(reason: impl Into<String>) -> Self {
        Self {
            told: ReportedApproval {
                not_stored_because: Some(reason.into()),
                ..ReportedApproval::default()
            },
            ..Self::default()
        }
    }
}

impl Sandbox {
    /// Asks whether an operation on which the judge asks may run. What cannot be written down does
    /// not hold: it is then as if nobody had said yes.
    pub(crate) fn ask(
        &self,
        (operation, stdin): (&Operation, Option<&OwnedFd>),
        verdict: &Verdict,
        caller: &mut dyn Caller,
        now: Timestamp,
    ) -> Permission {
        let decided = match self.remembered(operation, verdict) {
            Some(rule) => self.granted_by_rule(operation, rule, now),
            None => match self.answer(operation, verdict, caller) {
                (Answer::Yes, who) => self.granted_now(operation, who, now),
                (Answer::Always, who) => match self.not_remembered_because(operation) {
                    Some(why) => {
                        return Permission::not_stored(format!(
                            "it cannot be remembered: {why}; approve it for this time only"
                        ));
                    }
                    None => self
                        .remember(operation, verdict, who.clone(), now)
                        .and_then(|_rule| self.granted_now(operation, who, now)),
                },
                (Answer::No, who) => self.denied_now(operation, who, now),
                (Answer::Later, who) => match not_kept(operation, stdin) {
                    Some(reason) => return Permission::not_stored(reason),
                    None => self.store(operation, verdict, who, now),
                },
            },
        };
        decided.unwrap_or_else(|error| {
            Permission::not_stored(sandbox_types::causes(&error).join(": "))
        })
    }

    /// Returns why an approval of the operation cannot be remembered, if so: it would hold for scripts that nobody has
    /// looked at.
    pub(crate) fn not_remembered_because(&self, operation: &Operation) -> Option<&'static str> {
        binding::open_scripts(operation, self)
    }

    /// Returns the remembered rule that approves the operation with this verdict.
    pub(crate) fn remembered(
        &self,
        operation: &Operation,
        verdict: &Verdict,
    ) -> Option<ApprovalRule> {
        let mut rules = self.approvals.readable_rules();
        if rules.is_empty() {
            return None;
        }
        rules.retain(|rule| {
            binding::sameness(operation, rule.scope, self).as_ref() == Some(&rule.digest)
                && covers(rule, verdict)
        });
        rules.retain(|rule| self.is_known_rule(rule));
        rules.pop()
    }

    /// Asks the caller, and then the approvers in turn until one does not leave it to the next.
    fn answer(
        &self,
        operation: &Operation,
        verdict: &Verdict,
        caller: &mut dyn Caller,
    ) -> (Answer, Who) {
        let answer = caller.approve(verdict);
        if answer != Answer::Later {
            return (answer, caller.who());
        }
        for approver in self.plugins.approvers() {
            // One that panics has not answered.
            let asked = catch_unwind(AssertUnwindSafe(|| {
                let answer = approver.answer(operation, verdict);
                let reason = (answer != Answer::Later)
                    .then(|| approver.reason(operation, verdict))
                    .flatten();
                (answer, approver.name().to_owned(), reason)
            }));
            if let Ok((answer, name, reason)) = asked
                && answer != Answer::Later
            {
                let who = Who::through(format!("approver {name}"));
                return (answer, who.because(&reason.unwrap_or_default()));
            }
        }
        (Answer::Later, caller.who())
    }

    fn granted_by_rule(
        &self,
        operation: &Operation,
        rule: ApprovalRule,
        now: Timestamp,
    ) -> Result<Permission, ApprovalError> {
        let event = ApprovalEvent {
            rule: Some(rule.id.clone()),
            digest: rule.binding(),
            by: Some(rule.remembered_by),
            ..ApprovalEvent::about(operation)
        };
        self.record_approval(ledger::GRANTED, &event, now)?;
        let mut permission = Permission {
            given: true,
            ..Permission::default()
        };
        permission.told.rule = Some(rule.id);
        Ok(permission)
    }

    fn granted_now(
        &self,
        operation: &Operation,
        who: Who,
        now: Timestamp,
    ) -> Result<Permission, ApprovalError> {
        let event = ApprovalEvent::about(operation).by(who);
        self.record_approval(ledger::GRANTED, &event, now)?;
        Ok(Permission {
            given: true,
            ..Permission::default()
        })
    }

    fn denied_now(
        &self,
        operation: &Operation,
        who: Who,
        now: Timestamp,
    ) -> Result<Permission, ApprovalError> {
        let event = ApprovalEvent::about(operation).by(who);
        self.record_approval(ledger::DENIED, &event, now)?;
        Ok(Permission {
            refused: true,
            ..Permission::default()
        })
    }

    /// Stores a request, or finds the one that waits for the same.
    fn store(
        &self,
        operation: &Operation,
        verdict: &Verdict,
        who: Who,
        now: Timestamp,
    ) -> Result<Permission, ApprovalError> {
        let task = Task::of(operation, self);
        let Some(digest) = task.digest(verdict) else {
            return Ok(Permission::not_stored("a path in it is not Unicode"));
        };
        let lock = self.approvals.lock()?;
        let mut stored = self.approvals.readable_requests()?;
        self.expire(&lock, &mut stored, now);
        self.approvals.prune(&lock, &stored, now);
        stored.retain(Stored::is_pending);
        let same = stored.iter_mut().find(|it| {
            it.request.verdict == *verdict && it.task.as_ref().is_some_and(|it| it.is_same(&task))
        });
        let expires_at = self.expiry(now);
        if let Some(same) = same {
            same.request.times = same.request.times.saturating_add(1);
            same.request.requested_at = now;
            same.request.expires_at = expires_at;
            self.approvals.write(&lock, same)?;
            return Ok(waits(&same.request));
        }
        if stored.len() >= PENDING_REQUESTS_MAX {
            return Ok(Permission::not_stored(format!(
                "{PENDING_REQUESTS_MAX} requests wait already; `sandbox approvals list` shows them"
            )));
        }
        let request = ApprovalRequest {
            id: ApprovalId::generate(),
            state: ApprovalState::Pending,
            operation: self.reported(operation),
            verdict: verdict.clone(),
            content: rule::content(operation),
            stdin: input(operation).to_owned(),
            requested_at: now,
            requested_by: who.clone(),
            times: 1,
            expires_at,
            decision: None,
        };
        let permission = waits(&request);
        let event = ApprovalEvent {
            request: Some(request.id.clone()),
            digest: Some(digest.clone()),
            ..ApprovalEvent::about(operation).by(who)
        };
        // The journal first: a request that the journal does not know cannot be approved.
        self.record_approval(ledger::REQUESTED, &event, now)?;
        self.approvals
            .write(&lock, &Stored::new(request, digest, task))?;
        Ok(permission)
    }

    /// Remembers that exactly this operation is approved from now on.
    pub(super) fn remember(
        &self,
        operation: &Operation,
        verdict: &Verdict,
        who: Who,
        now: Timestamp,
    ) -> Result<ApprovalRule, ApprovalError> {
        let lock = self.approvals.lock()?;
        self.remember_locked(&lock, (operation, verdict, RuleScope::Exact), who, now)
    }

    pub(super) fn remember_locked(
        &self,
        lock: &Locked,
        (operation, verdict, scope): (&Operation, &Verdict, RuleScope),
        who: Who,
        now: Timestamp,
    ) -> Result<ApprovalRule, ApprovalError> {
        let rule = ApprovalRule {
            id: ApprovalId::generate(),
            operation: self.reported(operation),
            findings: verdict.findings.iter().map(|it| it.rule.clone()).collect(),
            risk: verdict.risk,
            residual_risk: verdict.residual_risk,
            remembered_at: now,
            remembered_by: who.clone(),
            // Only a path that is not Unicode has none, and then no operation has this digest.
            digest: binding::sameness(operation, scope, self).unwrap_or_default(),
            scope,
        };
        let event = ApprovalEvent {
            rule: Some(rule.id.clone()),
            digest: rule.binding(),
            ..ApprovalEvent::about(operation).by(who)
        };
        self.record_approval(ledger::REMEMBERED, &event, now)?;
        let before = self.approvals.readable_rules();
        self.approvals.write_rule(lock, &rule)?;
        for older in before.iter().filter(|it| it.digest == rule.digest) {
            self.approvals.remove_rule(lock, &older.id)?;
        }
        Ok(rule)
    }

    /// Marks requests that nobody decided in time. What cannot be written is tried again later.
    pub(super) fn expire(&self, lock: &Locked, stored: &mut [Stored], now: Timestamp) {
        for overdue in stored.iter_mut().filter(|it| it.is_overdue(now)) {
            overdue.request.state = ApprovalState::Expired;
            overdue.request.decision = Some(super::ApprovalDecision { at: now, by: None });
            let task = overdue.task.take();
            let event = ApprovalEvent {
                request: Some(overdue.request.id.clone()),
                operation_id: task.map(|it| it.operation.id),
                ..ApprovalEvent::default()
            };
            if self.record_approval(ledger::EXPIRED, &event, now).is_ok() {
                let _written = self.approvals.write(lock, overdue);
            }
        }
    }

    fn expiry(&self, now: Timestamp) -> Timestamp {
        let span = SignedDuration::try_from(self.config.approval_expiry());
        let expires = span.ok().and_then(|span| now.checked_add(span).ok());
        expires.unwrap_or(Timestamp::MAX)
    }

    pub(super) fn record_approval(
        &self,
        kind: &str,
        event: &ApprovalEvent,
        now: Timestamp,
    ) -> Result<(), ApprovalError> {
        ledger::approval(self.journal(), kind, event, now).map_err(ApprovalError::Record)
    }
}

impl ApprovalEvent {
    fn about(operation: &Operation) -> Self {
        Self {
            operation_id: Some(operation.id.clone()),
            ..Self::default()
        }
    }

    fn by(mut self, who: Who) -> Self {
        self.by = Some(who);
        self
    }
}

fn waits(request: &ApprovalRequest) -> Permission {
    Permission {
        told: ReportedApproval {
            request: Some(request.id.clone()),
            expires_at: Some(request.expires_at),
            ..ReportedApproval::default()
        },
        ..Permission::default()
    }
}

/// Whether a rule approves what has this verdict: nothing new was found, and nothing is riskier.
fn covers(rule: &ApprovalRule, verdict: &Verdict) -> bool {
    let known = |id: &String| rule.findings.contains(id);
    verdict.findings.iter().all(|it| known(&it.rule))
        && verdict.risk.score <= rule.risk.score
        && verdict.residual_risk.score <= rule.residual_risk.score
}

/// Returns what the operation reads when it is run later.
fn input(operation: &Operation) -> &'static str {
    if operation.stdin.is_some() {
        "inline"
    } else {
        "empty"
    }
}

/// Returns why the operation cannot be kept: its input is a stream that is gone when it is approved.
fn not_kept(operation: &Operation, stdin: Option<&OwnedFd>) -> Option<String> {
    let reads_it = operation.stdin.is_none() && !matches!(operation.action, Action::File(_));
    let what = stdin.filter(|_| reads_it).and_then(stream)?;
    Some(format!(
        "its standard input is {what}, which cannot be kept; give it </dev/null, or its text as \"stdin\" in an operation document"
    ))
}

/// Returns what kind of stream the input is, unless there is nothing in it and never will be.
fn stream(stdin: &OwnedFd) -> Option<&'static str> {
    let status = fstat(stdin).ok()?;
    let kind = FileType::from_raw_mode(status.st_mode);
    if kind.is_file() {
        let read = seek(stdin, rustix::fs::SeekFrom::Current(0)).unwrap_or(0);
        let length = u64::try_from(status.st_size).unwrap_or(0);
        return (read < length).then_some("a file");
    }
    if kind.is_fifo() || kind.is_socket() {
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec::default()));
        let events = fds[0].revents();
        // Its writer has closed it without a word.
        let is_over =
            ready.is_ok() && events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN);
        return (!is_over).then_some("a pipe");
    }
    // A terminal or /dev/null: what they give is not part of the request.
    None
}
