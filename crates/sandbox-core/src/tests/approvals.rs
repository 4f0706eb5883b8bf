//! Requests that wait for a person: stored, approved once, denied, expired, bound to what was judged.

mod answers;

use std::{io::Write as _, os::fd::OwnedFd, thread};

use jiff::SignedDuration;
use sandbox_safety::Validator;
use sandbox_types::{ApprovalId, Finding, OperationReport};
use serde_json::Value;

use super::*;
use crate::{
    approvals::{ApprovalError, ApprovalRequest, ApprovalState, Remember, Who},
    plugins::Approver,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Asks: it cannot be read.
fn unreadable() -> Operation {
    Operation::shell("echo 'open").env("SECRET", "hunter2")
}

fn bench() -> Bench {
    Bench::new(Some(ExitReason::Exited(0)), |upper| {
        fs::write(upper.join("made"), "by the guest").unwrap();
    })
}

impl Bench {
    fn ask(&self, operation: &Operation, caller: &mut dyn Caller) -> OperationReport {
        let cancel = Cancellation::new();
        self.sandbox.run(operation, caller, &cancel, NOW).unwrap()
    }

    /// Asks for an operation without a person, and returns the request.
    fn request(&self, operation: &Operation) -> ApprovalId {
        let report = self.ask(operation, &mut Answering::default());
        assert_eq!(report.outcome, Outcome::ApprovalRequired);
        report.approval.unwrap().request.unwrap()
    }

    fn grant(&self, id: &ApprovalId, now: Timestamp) -> Result<Operation, ApprovalError> {
        let who = Who::api();
        let approved = self.sandbox.grant(id.as_str(), Remember::Once, who, now)?;
        Ok(approved.operation().clone())
    }

    fn approve(&self, id: &ApprovalId) -> OperationReport {
        let who = Who::api();
        let approved = self.sandbox.grant(id.as_str(), Remember::Once, who, NOW);
        let cancel = Cancellation::new();
        let mut caller = Answering::default();
        self.sandbox
            .run_approved(&approved.unwrap(), &mut caller, &cancel, NOW)
            .unwrap()
    }

    fn waiting(&self) -> Vec<ApprovalRequest> {
        self.sandbox.approval_requests(false, NOW).unwrap()
    }

    fn kinds(&self) -> Vec<String> {
        let records = self.sandbox.state.journal().records().unwrap();
        records.map(|it| it.unwrap().kind).collect()
    }

    fn file(&self, id: &ApprovalId) -> PathBuf {
        self.state().join(format!("approvals/request-{id}.json"))
    }

    /// Changes the file of a request as somebody else might.
    fn tamper(&self, id: &ApprovalId, change: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(self.file(id)).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        change(&mut document);
        fs::write(self.file(id), document.to_string()).unwrap();
    }
}

#[test]
fn what_is_asked_waits_and_runs_once_when_it_is_approved() {
    let bench = bench();
    let operation = unreadable();
    let id = bench.request(&operation);
    assert_eq!(bench.waiting()[0].operation.id, operation.id);
    assert_eq!(bench.launched.load(Ordering::SeqCst), 0);

    let report = bench.approve(&id);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(report.id(), &operation.id);
    assert_eq!(report.approval.unwrap().request, Some(id.clone()));
    assert!(bench.waiting().is_empty());
    let again = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(
        again,
        ApprovalError::Decided {
            state: ApprovalState::Granted,
            ..
        }
    ));
    assert_eq!(bench.launched.load(Ordering::SeqCst), 1);
    let kept = fs::read_to_string(bench.file(&id)).unwrap();
    assert!(!kept.contains("hunter2"), "what has run is not kept");
    assert_eq!(
        bench.kinds(),
        [
            "approval.requested",
            "operation.finished",
            "approval.granted",
            "operation.started",
            "operation.finished"
        ]
    );
}

#[test]
fn of_many_who_approve_at_once_one_runs_it() {
    let bench = bench();
    let id = bench.request(&unreadable());
    let granted = thread::scope(|scope| {
        let approving = [(); 8].map(|()| scope.spawn(|| bench.grant(&id, NOW).is_ok()));
        approving.map(|it| it.join().unwrap())
    });
    assert_eq!(granted.iter().filter(|it| **it).count(), 1);
}

#[test]
fn the_same_request_waits_once() {
    let bench = bench();
    let first = bench.request(&unreadable());
    assert_eq!(bench.request(&unreadable()), first);
    assert_eq!(bench.waiting()[0].times, 2);
    assert_ne!(bench.request(&Operation::shell("echo 'other")), first);
    // Who is asked for "first" is never given something else under that name.
    bench.approve(&first);
    assert_ne!(bench.request(&unreadable()), first);
}

#[test]
fn a_denied_request_is_over() {
    let bench = bench();
    let id = bench.request(&unreadable());
    let denied = bench.sandbox.deny(id.as_str(), Who::api(), NOW).unwrap();
    assert_eq!(denied.state, ApprovalState::Denied);
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(
        error,
        ApprovalError::Decided {
            state: ApprovalState::Denied,
            ..
        }
    ));
    assert!(
        !fs::read_to_string(bench.file(&id))
            .unwrap()
            .contains("hunter2")
    );
}

#[test]
fn a_request_expires() {
    let bench = bench();
    let id = bench.request(&unreadable());
    let later = NOW + SignedDuration::from_hours(24);
    bench.grant(&id, later).unwrap_err();
    let all = bench.sandbox.approval_requests(true, later).unwrap();
    assert_eq!(all[0].state, ApprovalState::Expired);
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(error, ApprovalError::Expired { .. }), "{error}");
    let kinds = bench.kinds();
    assert_eq!(
        kinds.iter().filter(|it| *it == "approval.expired").count(),
        1
    );
}

#[test]
fn a_changed_request_is_refused() {
    let bench = bench();
    let id = bench.request(&unreadable());
    bench.tamper(&id, |it| {
        it["task"]["operation"]["action"]["shell"] = "echo evil".into();
    });
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(error, ApprovalError::Changed { .. }), "{error}");

    // Also with a digest that fits: the journal has another one.
    let (other, evil) = (bench.request(&Operation::shell("echo 'b")), id);
    let text = fs::read_to_string(bench.file(&other)).unwrap();
    fs::write(
        bench.file(&evil),
        text.replace(other.as_str(), evil.as_str()),
    )
    .unwrap();
    let error = bench.grant(&evil, NOW).unwrap_err();
    assert!(matches!(error, ApprovalError::Changed { .. }), "{error}");
    assert_eq!(bench.launched.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_listed_is_what_would_run_and_reaches_no_more() {
    let mut bench = bench();
    bench.sandbox.config.isolation.read = vec!["/srv".into()];
    let id = bench.request(&Operation::shell("echo 'c"));
    bench.sandbox.config.isolation.write = vec!["/srv".into()];
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(error, ApprovalError::Worse { .. }), "{error}");
    let id = bench.request(&unreadable());
    bench.tamper(&id, |it| it["request"]["operation"]["argv"] = ["ls"].into());
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(matches!(error, ApprovalError::Changed { .. }), "{error}");
}

#[test]
fn a_file_that_is_put_back_does_not_undo_the_decision() {
    let bench = bench();
    for expected in [ApprovalState::Granted, ApprovalState::Denied] {
        let id = bench.request(&unreadable());
        let before = fs::read(bench.file(&id)).unwrap();
        if expected == ApprovalState::Granted {
            bench.approve(&id);
        } else {
            bench.sandbox.deny(id.as_str(), Who::api(), NOW).unwrap();
        }
        fs::write(bench.file(&id), before).unwrap();
        let error = bench.grant(&id, NOW).unwrap_err();
        let ApprovalError::Decided { state, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(state, expected);
    }
    assert_eq!(bench.launched.load(Ordering::SeqCst), 1);
}

/// Finds the same in everything.
#[derive(Debug)]
struct Suspicious(RiskLevel);

impl Validator for Suspicious {
    fn name(&self) -> &'static str {
        "suspicious"
    }

    fn validate(&self, _: &Operation, _: &Verdict) -> Vec<Finding> {
        vec![Finding {
            rule: "suspicious.all".to_owned(),
            severity: self.0,
            effects: Vec::new(),
            message: "is suspicious".to_owned(),
            evidence: String::new(),
            span: (0, 0),
            suggestion: None,
        }]
    }
}

fn with_validator(bench: &mut Bench, level: RiskLevel) {
    let validator: Arc<dyn Validator> = Arc::new(Suspicious(level));
    bench.sandbox.validator =
        SafetyValidator::new(Policy::of(Profile::Default)).with_validators(vec![validator]);
}

#[test]
fn what_is_judged_more_severely_by_now_is_refused_and_waits() {
    let mut bench = bench();
    let id = bench.request(&unreadable());
    for level in [RiskLevel::High, RiskLevel::Critical] {
        with_validator(&mut bench, level);
        let error = bench.grant(&id, NOW).unwrap_err();
        assert!(matches!(error, ApprovalError::Worse { .. }), "{error}");
        let why = error.to_string();
        let denied = level == RiskLevel::Critical;
        assert!(denied || why.ends_with("now: suspicious.all"), "{why}");
    }
    bench.sandbox.validator = SafetyValidator::new(Policy::of(Profile::Default));
    bench.sandbox.config.isolation.write.push("/srv".into());
    let error = bench.grant(&id, NOW).unwrap_err();
    assert!(error.to_string().contains("/srv"), "{error}");
    bench.sandbox.config.isolation.write.clear();
    bench.grant(&id, NOW).unwrap();
}

#[test]
fn it_runs_with_the_environment_and_network_of_the_request() {
    let mut bench = bench();
    bench.sandbox.host.variables = vec![("LANG".to_owned(), "then".to_owned())];
    let id = bench.request(&unreadable());
    bench.sandbox.host.variables = vec![("LANG".to_owned(), "now".to_owned())];
    bench
        .sandbox
        .config
        .safety_constraints
        .network
        .allow_external = Some(true);
    let operation = bench.grant(&id, NOW).unwrap();
    assert_eq!(operation.env["LANG"], "then");
    assert_eq!(operation.env["SECRET"], "hunter2");
    assert_eq!(operation.network, Some(sandbox_types::NetworkAccess::None));
}

#[test]
fn what_was_granted_and_never_started_waits_again() {
    let bench = bench();
    let id = bench.request(&unreadable());
    bench.grant(&id, NOW).unwrap();
    assert!(bench.waiting().is_empty(), "this process may run it yet");
    // As if the process that had granted it was killed before it ran it.
    let kill = |it: &mut Value| it["process"]["started"] = 1.into();
    bench.tamper(&id, kill);
    assert_eq!(bench.waiting().len(), 1);
    let granted = fs::read_to_string(bench.file(&id)).unwrap();
    bench.approve(&id);
    // As if it had been killed while it ran.
    fs::write(bench.file(&id), granted).unwrap();
    bench.tamper(&id, kill);
    assert!(bench.waiting().is_empty());
    bench.grant(&id, NOW).unwrap_err();
}

#[test]
fn a_request_shows_the_script_that_will_run() {
    let bench = bench();
    let source = "echo 'open\n";
    let id = bench.request(&Operation::script("sh", source));
    assert_eq!(bench.waiting()[0].content.as_deref(), Some(source));
    bench.tamper(&id, |it| it["request"]["content"] = "echo harmless".into());
    let refused = bench.grant(&id, NOW).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("not what the journal recorded"),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_done_is_not_asked_about() {
    let bench = bench();
    let mut operation = unreadable();
    operation.cwd = Some("nowhere".into());
    let mut caller = Answering::default();
    let error = bench
        .sandbox
        .run(&operation, &mut caller, &Cancellation::new(), NOW)
        .unwrap_err();
    assert!(error.is_usage());
    assert_eq!(caller.asked.load(Ordering::SeqCst), 0);
    assert_eq!(bench.kinds(), ["operation.finished"]);
}

#[test]
fn only_so_many_requests_wait() {
    let bench = bench();
    let id = bench.request(&unreadable());
    let text = fs::read_to_string(bench.file(&id)).unwrap();
    for number in 1..crate::approvals::PENDING_REQUESTS_MAX {
        let other: ApprovalId = format!("other-{number}").parse().unwrap();
        fs::write(
            bench.file(&other),
            text.replace(id.as_str(), other.as_str()),
        )
        .unwrap();
    }
    let report = bench.ask(&Operation::shell("echo 'more"), &mut Answering::default());
    let because = report.approval.unwrap().not_stored_because.unwrap();
    assert!(because.contains("wait already"), "{because}");
}

#[test]
fn a_damaged_request_is_named_and_asks_for_nothing() {
    let bench = bench();
    let id = bench.request(&unreadable());
    fs::write(bench.file(&id), "{").unwrap();
    let error = bench.sandbox.approval_requests(false, NOW).unwrap_err();
    assert!(error.to_string().contains(id.as_str()), "{error}");
    bench.request(&unreadable());
}
