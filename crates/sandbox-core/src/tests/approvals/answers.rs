//! Who answers, and what is remembered of it.

use super::*;

#[test]
fn a_remembered_approval_is_for_exactly_that() {
    let mut bench = bench();
    let id = bench.request(&unreadable());
    let always = Remember::Always;
    let approved = bench.sandbox.grant(id.as_str(), always, Who::api(), NOW);
    drop(approved.unwrap());
    let rule = bench.sandbox.approval_rules().unwrap().remove(0);

    let report = bench.ask(&unreadable(), &mut Answering::default());
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(report.approval.unwrap().rule, Some(rule.id.clone()));
    for other in [
        Operation::shell("echo 'open "),
        Operation::shell("echo 'open"),
        unreadable().env("PATH", "/evil"),
        unreadable().stdin("x"),
        Operation {
            network: Some(sandbox_types::NetworkAccess::Host),
            ..unreadable()
        },
        Operation {
            type_name: "shell".to_owned(),
            ..unreadable()
        },
        Operation {
            write: vec!["/srv".into()],
            ..unreadable()
        },
    ] {
        let verdict = bench.sandbox.judge(&other);
        assert!(
            bench.sandbox.remembered(&other, &verdict).is_none(),
            "{other:?}"
        );
    }
    // What the configuration grants is a part of it.
    let before = bench.sandbox.config.clone();
    bench.sandbox.config.isolation.write = vec!["/srv".into()];
    let verdict = bench.sandbox.judge(&unreadable());
    let found = |bench: &Bench| bench.sandbox.remembered(&unreadable(), &verdict);
    assert!(found(&bench).is_none());
    bench.sandbox.config = before;
    assert!(found(&bench).is_some());
    // A new finding asks again, and what is denied is never approved.
    with_validator(&mut bench, RiskLevel::Low);
    bench.request(&unreadable());
    with_validator(&mut bench, RiskLevel::Critical);
    let report = bench.ask(&unreadable(), &mut Answering::default());
    assert_eq!(report.outcome, Outcome::Denied);

    bench.sandbox.validator = SafetyValidator::new(Policy::of(Profile::Default));
    let short = &rule.id.as_str()[28..];
    bench.sandbox.forget(short, Who::api(), NOW).unwrap();
    bench.request(&unreadable());
}

#[test]
fn a_rule_holds_as_long_as_the_journal_says_so() {
    let bench = bench();
    let id = bench.request(&unreadable());
    let always = Remember::Always;
    drop(
        bench
            .sandbox
            .grant(id.as_str(), always, Who::api(), NOW)
            .unwrap(),
    );
    let rule = bench.sandbox.approval_rules().unwrap().remove(0);
    let verdict = bench.sandbox.judge(&unreadable());
    let holds = || bench.sandbox.remembered(&unreadable(), &verdict).is_some();
    assert!(holds());
    let file = bench
        .sandbox
        .directory()
        .join(format!("approvals/rule-{}.json", rule.id));
    let copy = fs::read(&file).unwrap();
    // One that was changed approves nothing.
    let mut changed: Value = serde_json::from_slice(&copy).unwrap();
    changed["risk"]["score"] = 100.into();
    fs::write(&file, changed.to_string()).unwrap();
    assert!(!holds());
    fs::write(&file, &copy).unwrap();
    assert!(holds());
    // Nor does one that was put back after it was forgotten.
    bench
        .sandbox
        .forget(rule.id.as_str(), Who::api(), NOW)
        .unwrap();
    assert!(!holds());
    fs::write(&file, &copy).unwrap();
    assert!(!holds());
    // Nor one of another sandbox.
    fs::write(
        &file,
        String::from_utf8(copy)
            .unwrap()
            .replace(rule.id.as_str(), ApprovalId::generate().as_str()),
    )
    .unwrap();
    assert!(!holds());
}

/// Says what it was told to say; `None` panics.
#[derive(Debug)]
struct Saying(Option<Answer>);

impl Approver for Saying {
    fn name(&self) -> &'static str {
        "saying"
    }

    fn answer(&self, _: &Operation, verdict: &Verdict) -> Answer {
        assert_eq!(verdict.residual_risk.level, RiskLevel::Medium);
        self.0.expect("told to panic")
    }

    fn reason(&self, operation: &Operation, _: &Verdict) -> Option<String> {
        Some(format!(" of {} ", operation.id))
    }
}

#[test]
fn approvers_answer_where_the_caller_does_not() {
    for (told, outcome, kind) in [
        (Some(Answer::Yes), Outcome::Completed, "approval.granted"),
        (
            Some(Answer::Always),
            Outcome::Completed,
            "approval.remembered",
        ),
        (Some(Answer::No), Outcome::Denied, "approval.denied"),
        (
            Some(Answer::Later),
            Outcome::ApprovalRequired,
            "approval.requested",
        ),
        (None, Outcome::ApprovalRequired, "approval.requested"),
    ] {
        let mut bench = bench();
        bench.sandbox.plugins = Plugins::new()
            .approver(Saying(Some(Answer::Later)))
            .approver(Saying(told));
        let report = bench.ask(&unreadable(), &mut Answering::default());
        assert_eq!(report.outcome, outcome, "{told:?}");
        assert_eq!(bench.kinds()[0], kind, "{told:?}");
        let mut records = bench.sandbox.journal().records().unwrap();
        let first = records.next().unwrap().unwrap().payload;
        let reason = first["by"]["reason"].as_str();
        let said = told.is_some_and(|it| it != Answer::Later);
        assert_eq!(
            reason.is_some_and(|it| it.starts_with("of ")),
            said,
            "{first}"
        );
        let caller_says_yes = bench.ask(
            &Operation::shell("echo 'x"),
            &mut Answering {
                yes: true,
                ..Answering::default()
            },
        );
        assert_eq!(caller_says_yes.outcome, Outcome::Completed);
    }
}

/// Has a standard input.
struct Piped(Option<OwnedFd>);

impl Caller for Piped {
    fn stdin(&mut self) -> Option<OwnedFd> {
        self.0.take()
    }
}

#[test]
fn what_reads_a_stream_is_not_stored() {
    let bench = bench();
    let (open, writer) = std::io::pipe().unwrap();
    let (full, mut filler) = std::io::pipe().unwrap();
    filler.write_all(b"x").unwrap();
    drop(filler);
    let (over, closed) = std::io::pipe().unwrap();
    drop(closed);
    let file = fs::File::open(bench.workspace().join("kept")).unwrap();
    for (stdin, stored) in [
        (OwnedFd::from(open), false),
        (full.into(), false),
        (file.into(), false),
        (over.into(), true),
        (fs::File::open("/dev/null").unwrap().into(), true),
    ] {
        let report = bench.ask(&unreadable(), &mut Piped(Some(stdin)));
        let approval = report.approval.unwrap();
        assert_eq!(approval.request.is_some(), stored, "{approval:?}");
        assert_eq!(approval.not_stored_because.is_none(), stored);
    }
    drop(writer);
}
