//! Looks at requests, approves and denies them, and forgets rules.

use jiff::Timestamp;
use sandbox_isolation::Cancellation;
use sandbox_types::{ApprovalId, Decision, OperationId, OperationReport, Verdict};

use super::{
    ApprovalDecision, ApprovalError, ApprovalEvent, ApprovalRequest, ApprovalRule, ApprovalState,
    Approved, Remember, RuleScope, Who, rule, shelf::Stored,
};
use crate::{
    caller::Caller,
    launch_plan, ledger,
    process_mark::ProcessMark,
    run::{Ordered, RunError},
    sandbox::Sandbox,
};

/// What can be written instead of a whole id: so many characters of its beginning or end.
const SHORT_ID_MIN: usize = 4;

impl Sandbox {
    /// Returns the requests, oldest first: those that wait, or all.
    pub(crate) fn approval_requests(
        &self,
        all: bool,
        now: Timestamp,
    ) -> Result<Vec<ApprovalRequest>, ApprovalError> {
        let mut stored = self.approvals.requests()?;
        if stored.iter().any(|it| it.is_overdue(now)) {
            // Whoever may only read sees the same, and somebody else writes it down.
            match self.approvals.lock() {
                Ok(lock) => {
                    stored = self.approvals.requests()?;
                    self.expire(&lock, &mut stored, now);
                }
                Err(_read_only) => {
                    for overdue in stored.iter_mut().filter(|it| it.is_overdue(now)) {
                        overdue.request.state = ApprovalState::Expired;
                    }
                }
            }
        }
        let shown = stored.into_iter().map(|mut it| {
            if self.can_go_on(&it) {
                it.request.state = ApprovalState::Pending;
            }
            it.request
        });
        Ok(shown
            .filter(|it| all || it.state == ApprovalState::Pending)
            .collect())
    }

    /// Returns the remembered rules, oldest first.
    pub(crate) fn approval_rules(&self) -> Result<Vec<ApprovalRule>, ApprovalError> {
        self.approvals.rules()
    }

    /// Approves a request: from here on it is this process's to run, once.
    pub(crate) fn grant(
        &self,
        text: &str,
        remember: Remember,
        who: Who,
        now: Timestamp,
    ) -> Result<Approved, ApprovalError> {
        let lock = self.approvals.lock()?;
        let mut stored = self.decidable(&lock, text, now)?;
        let verdict = self.still_holds(&stored)?;
        let Some(task) = &stored.task else {
            return Err(changed(&stored, "what is to run is not stored any more"));
        };
        let (operation, judged) = (task.frozen(), task.judged());
        let id = || stored.request.id.clone();
        // An approval is for one run, so it is not spent on one that cannot begin.
        self.enter()
            .map_err(|source| ApprovalError::Enter { id: id(), source })?;
        launch_plan::check(&operation, self)
            .map_err(|source| ApprovalError::Plan { id: id(), source })?;
        let scope = match remember {
            Remember::Once => None,
            Remember::Always => Some(RuleScope::Exact),
            Remember::Within(scope) => Some(scope),
        };
        if let Some(scope) = scope {
            // As it was asked for, not as it is frozen: that is what will be asked for again.
            let asked = &task.operation;
            let open = || match scope {
                RuleScope::Findings => None,
                RuleScope::Exact | RuleScope::Prefix { .. } => self.not_remembered_because(asked),
            };
            if let Some(why) = scope.refused(asked, &verdict).or_else(open) {
                return Err(ApprovalError::Scope { id: id(), why });
            }
            self.remember_locked(&lock, (asked, &verdict, scope), who.clone(), now)?;
        }
        let event = ApprovalEvent {
            request: Some(stored.request.id.clone()),
            operation_id: Some(operation.id.clone()),
            by: Some(who.clone()),
            digest: Some(stored.digest.clone()),
            rule: None,
        };
        // The journal first: what is granted here and was never started is found by this record.
        self.record_approval(ledger::GRANTED, &event, now)?;
        stored.request.state = ApprovalState::Granted;
        stored.request.decision = Some(ApprovalDecision {
            at: now,
            by: Some(who),
        });
        stored.process = Some(ProcessMark::of_this());
        self.approvals.write(&lock, &stored)?;
        Ok(Approved {
            id: stored.request.id,
            operation,
            judged,
        })
    }

    /// Runs what was approved.
    pub(crate) fn run_approved(
        &self,
        approved: &Approved,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
        now: Timestamp,
    ) -> Result<OperationReport, RunError> {
        let ordered = Ordered {
            operation: &approved.operation,
            request: Some((&approved.id, &approved.judged)),
        };
        let ran = self.run_ordered(ordered, caller, cancel, now);
        self.drop_task(&approved.id);
        ran
    }

    /// Denies a request.
    pub(crate) fn deny(
        &self,
        text: &str,
        who: Who,
        now: Timestamp,
    ) -> Result<ApprovalRequest, ApprovalError> {
        let lock = self.approvals.lock()?;
        let mut stored = self.decidable(&lock, text, now)?;
        let event = ApprovalEvent {
            request: Some(stored.request.id.clone()),
            operation_id: Some(stored.request.operation.id.clone()),
            by: Some(who.clone()),
            ..ApprovalEvent::default()
        };
        self.record_approval(ledger::DENIED, &event, now)?;
        stored.request.state = ApprovalState::Denied;
        stored.request.decision = Some(ApprovalDecision {
            at: now,
            by: Some(who),
        });
        stored.task = None;
        self.approvals.write(&lock, &stored)?;
        Ok(stored.request)
    }

    /// Removes a remembered rule.
    pub(crate) fn forget(
        &self,
        text: &str,
        who: Who,
        now: Timestamp,
    ) -> Result<ApprovalRule, ApprovalError> {
        let lock = self.approvals.lock()?;
        let rule = choose(self.approvals.rules()?, |it| &it.id, text)?;
        let rule = rule.ok_or_else(|| ApprovalError::UnknownRule {
            id: text.to_owned(),
        })?;
        let event = ApprovalEvent {
            rule: Some(rule.id.clone()),
            by: Some(who),
            ..ApprovalEvent::default()
        };
        self.record_approval(ledger::FORGOTTEN, &event, now)?;
        self.approvals.remove_rule(&lock, &rule.id)?;
        Ok(rule)
    }

    /// Returns a request that can be decided now.
    fn decidable(
        &self,
        lock: &super::shelf::Locked,
        text: &str,
        now: Timestamp,
    ) -> Result<Stored, ApprovalError> {
        let mut all = self.approvals.requests()?;
        self.expire(lock, &mut all, now);
        let stored = choose(all, |it| &it.request.id, text)?;
        let stored = stored.ok_or_else(|| ApprovalError::Unknown {
            id: text.to_owned(),
        })?;
        match stored.request.state {
            ApprovalState::Pending => Ok(stored),
            ApprovalState::Granted if self.can_go_on(&stored) => Ok(stored),
            ApprovalState::Expired => Err(ApprovalError::Expired {
                expired_at: stored.request.expires_at,
                id: stored.request.id,
            }),
            state @ (ApprovalState::Granted | ApprovalState::Denied) => {
                Err(ApprovalError::Decided {
                    id: stored.request.id,
                    state,
                })
            }
        }
    }

    /// Whether a request was granted, and the process that should have run it died before it did.
    fn can_go_on(&self, stored: &Stored) -> bool {
        stored.request.state == ApprovalState::Granted
            && stored.task.is_some()
            && stored.process.is_some_and(|it| !it.is_alive())
            && !self.has_begun(&stored.request)
    }

    /// Whether the journal knows of the operation since it was granted. A journal that cannot be read
    /// is taken to: then nothing runs twice.
    fn has_begun(&self, request: &ApprovalRequest) -> bool {
        let Ok(records) = self.journal().records_newest_first() else {
            return true;
        };
        for record in records {
            let Ok(record) = record else { return true };
            match record.kind.as_str() {
                ledger::GRANTED if is_about(&record.payload, &request.id) => return false,
                ledger::STARTED | ledger::FINISHED
                    if is_of(&record.payload, request.operation_id()) =>
                {
                    return true;
                }
                _ => {}
            }
        }
        true
    }

    /// Refuses what is not what was judged, or is judged more severely now.
    fn still_holds(&self, stored: &Stored) -> Result<Verdict, ApprovalError> {
        let Some(task) = &stored.task else {
            return Err(changed(stored, "what is to run is not stored any more"));
        };
        let before = &stored.request.verdict;
        let known = self.known(&stored.request)?;
        if task.digest(before).as_ref() != Some(&stored.digest)
            || known.digest.as_ref() != Some(&stored.digest)
            // What is listed is what runs.
            || self.reported(&task.operation) != stored.request.operation
            || rule::content(&task.operation) != stored.request.content
        {
            return Err(changed(stored, "its file is not what the journal recorded"));
        }
        if let Some(state) = known.decided {
            return Err(ApprovalError::Decided {
                id: stored.request.id.clone(),
                state,
            });
        }
        if task.workspace != *self.workspace() {
            return Err(changed(stored, "it was asked for in another workspace"));
        }
        if task.has_other_scripts(self) {
            return Err(changed(stored, "a script that it runs was changed since"));
        }
        let worse = |why: String| ApprovalError::Worse {
            id: stored.request.id.clone(),
            why,
        };
        if let Some(path) = task.granted_since(self) {
            let why = format!("it would reach {}, which was granted since", path.display());
            return Err(worse(why));
        }
        let now = self.judge(&task.judged());
        if now.decision == Decision::Deny {
            return Err(worse("the judge denies it now".to_owned()));
        }
        for (what, was, is) in [
            ("risk", before.risk, now.risk),
            ("residual risk", before.residual_risk, now.residual_risk),
        ] {
            if is.score > was.score {
                let (was, is) = (was.score, is.score);
                let found = found_since(before, &now);
                return Err(worse(format!(
                    "its {what} was {was} and is {is} now{found}"
                )));
            }
        }
        Ok(now)
    }

    /// Returns what the journal has of a request. A grant that was followed by no start decides nothing.
    fn known(&self, request: &ApprovalRequest) -> Result<Known, ApprovalError> {
        let mut known = Known::default();
        let mut has_begun = false;
        let records = self.journal().records_newest_first();
        for record in records.map_err(ApprovalError::Read)? {
            let record = record.map_err(ApprovalError::Read)?;
            let is_about = || is_about(&record.payload, &request.id);
            let decided = match record.kind.as_str() {
                ledger::STARTED | ledger::FINISHED => {
                    has_begun |= is_of(&record.payload, request.operation_id());
                    None
                }
                ledger::GRANTED if has_begun && is_about() => Some(ApprovalState::Granted),
                ledger::DENIED if is_about() => Some(ApprovalState::Denied),
                ledger::EXPIRED if is_about() => Some(ApprovalState::Expired),
                ledger::REQUESTED if is_about() => {
                    let digest = record.payload.get("digest").and_then(|it| it.as_str());
                    known.digest = digest.map(str::to_owned);
                    break;
                }
                _ => None,
            };
            known.decided = known.decided.or(decided);
        }
        Ok(known)
    }

    /// What has run is not stored any longer: there may be secrets in it. A failure leaves it until
    /// it is pruned.
    fn drop_task(&self, id: &ApprovalId) {
        let Ok(lock) = self.approvals.lock() else {
            return;
        };
        let stored = self.approvals.readable_requests().unwrap_or_default();
        if let Some(mut stored) = stored.into_iter().find(|it| it.request.id == *id) {
            stored.task = None;
            let _written = self.approvals.write(&lock, &stored);
        }
    }
}

/// What the journal has of a request.
#[derive(Debug, Default)]
struct Known {
    digest: Option<String>,
    decided: Option<ApprovalState>,
}

/// Returns what is found now and was not found before, to end a message with.
fn found_since(before: &Verdict, now: &Verdict) -> String {
    let is_new = |rule: &&str| before.findings.iter().all(|it| it.rule != *rule);
    let rules = now.findings.iter().map(|it| it.rule.as_str());
    let mut new: Vec<_> = rules.filter(is_new).collect();
    new.sort_unstable();
    new.dedup();
    match new.as_slice() {
        [] => String::new(),
        new => format!(": {}", new.join(", ")),
    }
}

/// Whether a record is the start or the end of the operation.
fn is_of(payload: &serde_json::Value, operation: &OperationId) -> bool {
    let id = payload.pointer("/operation/id");
    id.and_then(|it| it.as_str()) == Some(operation.as_str())
}

fn is_about(payload: &serde_json::Value, id: &ApprovalId) -> bool {
    payload.get("request").and_then(|it| it.as_str()) == Some(id.as_str())
}

fn changed(stored: &Stored, what: &'static str) -> ApprovalError {
    ApprovalError::Changed {
        id: stored.request.id.clone(),
        what,
    }
}

/// Returns the one whose id `text` is, or begins or ends; `None` if there is none.
fn choose<T>(
    all: Vec<T>,
    id: impl Fn(&T) -> &ApprovalId,
    text: &str,
) -> Result<Option<T>, ApprovalError> {
    let mut like: Vec<T> = Vec::new();
    for one in all {
        let known = id(&one).as_str();
        if known == text {
            return Ok(Some(one));
        }
        if text.len() >= SHORT_ID_MIN && (known.starts_with(text) || known.ends_with(text)) {
            like.push(one);
        }
    }
    if like.len() > 1 {
        return Err(ApprovalError::Ambiguous {
            id: text.to_owned(),
        });
    }
    Ok(like.pop())
}

/// Only to say which operation a request is about.
impl ApprovalRequest {
    /// Returns the operation that it is about.
    pub fn operation_id(&self) -> &OperationId {
        &self.operation.id
    }
}
