//! What becomes of the changes when something is in the way, and what is known of it later.

use std::os::unix::fs::symlink;

use sandbox_types::{OperationId, Violation, ViolationKind};
use serde_json::json;

use super::*;
use crate::{HeldSelection, caller::Event, launch_plan::PlanError};

/// No process has it, and none had it.
const NOBODY: (u32, u64) = (u32::MAX, u64::MAX);

/// Writes down a start without an end, as a process leaves it that is killed.
fn killed(bench: &Bench, operation: &Operation) {
    let (pid, started) = NOBODY;
    let payload = json!({
        "operation": bench.sandbox.reported(operation),
        "verdict": bench.sandbox.judge(operation),
        "process": {"pid": pid, "started": started},
    });
    let journal = bench.sandbox.journal();
    journal
        .append(ledger::STARTED, Timestamp::UNIX_EPOCH, &payload)
        .unwrap();
}

/// Commits a change without any record of it.
fn commits(bench: &Bench, id: &OperationId) {
    let transaction = bench.sandbox.rollback().unwrap().begin(id).unwrap();
    writes(transaction.upper());
    let survey = transaction.survey().unwrap();
    transaction.commit(survey).unwrap();
}

/// Panics when the guest was started.
struct Panicking;

impl Caller for Panicking {
    fn hear(&mut self, event: Event<'_>) {
        assert!(!matches!(event, Event::Started(_)), "the caller's own");
    }
}

#[test]
fn a_caller_that_panics_is_settled_and_recorded_first() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let cancel = Cancellation::new();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let operation = Operation::shell("true");
        let now = Timestamp::UNIX_EPOCH;
        bench
            .sandbox
            .run(&operation, &mut Panicking, &cancel, now)
            .map(drop)
    }));
    let payload = ran.unwrap_err();
    let said = payload.downcast_ref::<&str>();
    assert_eq!(said, Some(&"the caller's own"));
    assert!(cancel.is_cancelled(), "the guest is not asked to end");
    // The scripted guest ended by itself before it could be cancelled.
    assert_eq!(
        bench.recorded(),
        "operation.started, operation.finished \"completed\""
    );
    assert_eq!(bench.files(), "kept=before made=after");
}

#[test]
fn a_conflict_holds_the_changes() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), |upper| {
        writes(upper);
        let layers = upper.ancestors().nth(3).unwrap();
        fs::write(layers.with_file_name("workspace").join("made"), "theirs").unwrap();
    });
    bench.check(
        &Operation::shell("true"),
        &expect![[r#"
            Completed, Pending
            launched: 1
            recorded: operation.started, operation.finished "completed"
            workspace: kept=before made=theirs
            pending: 1"#]],
    );
}

#[test]
fn what_needs_a_transaction_is_refused_for_a_direct_run() {
    let direct = || {
        let mut operation = Operation::shell("true");
        operation.direct = true;
        operation
    };
    let mut disk = direct();
    disk.limits.disk = Some(sandbox_types::Bytes(1 << 20));
    let mut on_failure = direct();
    on_failure.on_failure = OnFailure::Discard;
    for operation in [direct().review(), direct().files(["x"]), disk, on_failure] {
        let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
        let error = bench.run(&operation).unwrap_err();
        assert!(
            matches!(*error.fault, RunFault::Plan(PlanError::DirectWith { .. })),
            "{error:?}"
        );
        assert_eq!(bench.launched.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_declared_write_that_is_no_pattern_is_refused_before_the_start() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let error = bench
        .run(&Operation::shell("true").files(["a[", "b"]))
        .unwrap_err();
    assert!(
        matches!(*error.fault, RunFault::Plan(PlanError::Files(_))),
        "{error:?}"
    );
    assert_eq!(bench.launched.load(Ordering::SeqCst), 0);
    assert_eq!(error.report.outcome, Outcome::Error);
}

#[test]
fn changes_that_cannot_be_committed_are_held_and_the_report_says_so() {
    // The commit finds another directory where the workspace was.
    let bench = Bench::new(Some(ExitReason::Exited(0)), |upper| {
        writes(upper);
        let layers = upper.ancestors().nth(3).unwrap();
        let workspace = layers.with_file_name("workspace");
        fs::rename(&workspace, layers.with_file_name("elsewhere")).unwrap();
        fs::create_dir(&workspace).unwrap();
        symlink("nowhere", workspace.join("link")).unwrap();
    });
    let error = bench.run(&Operation::shell("true")).unwrap_err();
    assert!(matches!(*error.fault, RunFault::Settle(_)), "{error:?}");
    let changes = &error.report.changes;
    assert_eq!(changes.settlement, Settlement::Pending, "{error:?}");
    assert!(changes.held_because[0].starts_with("cannot "), "{error:?}");
    assert_eq!(bench.sandbox.pending().unwrap().len(), 1);
}

#[test]
fn a_kill_between_the_commit_and_the_record_is_found_at_the_next_opening() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let operation = Operation::shell("make it");
    killed(&bench, &operation);
    commits(&bench, &operation.id);

    let entry = bench.sandbox.log(9).unwrap().remove(0);
    assert_eq!(entry.report.changes.settlement, Settlement::Committed);
    assert_eq!(
        (entry.since, entry.interrupted),
        (Some("interrupted"), true)
    );

    let now = Timestamp::UNIX_EPOCH;
    let recovery = bench.sandbox.recover(now).unwrap();
    assert_eq!(recovery.completed, std::slice::from_ref(&operation.id));
    assert!(bench.sandbox.recover(now).unwrap().is_empty());
    let entry = bench.sandbox.show(operation.id.as_str()).unwrap();
    assert_eq!(entry.report.outcome, Outcome::Killed);
    assert_eq!(entry.report.operation.argv, operation.action.argv());
    assert_eq!(entry.since, Some("completed"));
    assert_eq!(bench.sandbox.log(9).unwrap().len(), 1);
}

#[test]
fn a_kill_before_the_commit_is_listed_as_dropped() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let operation = Operation::shell("make it");
    killed(&bench, &operation);
    let entry = bench.sandbox.log(9).unwrap().remove(0);
    assert_eq!(entry.report.changes.settlement, Settlement::Discarded);
    // Its transaction is in nobody's use.
    let transaction = bench.sandbox.rollback().unwrap().begin(&operation.id);
    drop(transaction.unwrap());
    let recovery = bench.sandbox.recover(Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(recovery.interrupted, std::slice::from_ref(&operation.id));
    let entry = bench.sandbox.show(operation.id.as_str()).unwrap();
    assert_eq!(entry.since, Some("dropped"));
    assert_eq!(entry.report.changes.settlement, Settlement::Discarded);
}

#[test]
fn an_operation_that_is_running_is_not_listed() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let operation = Operation::shell("true");
    let verdict = bench.sandbox.judge(&operation);
    let (journal, now) = (bench.sandbox.journal(), Timestamp::UNIX_EPOCH);
    ledger::started(journal, bench.sandbox.reported(&operation), &verdict, now).unwrap();
    assert!(bench.sandbox.log(9).unwrap().is_empty());
    commits(&bench, &operation.id);
    assert!(bench.sandbox.recover(now).unwrap().is_empty());
}

#[test]
fn what_was_committed_after_a_review_stays_committed_when_it_is_undone() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    bench.run(&Operation::shell("true").review()).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    bench
        .sandbox
        .commit(&HeldSelection::default(), now)
        .unwrap();
    let undo = crate::UndoOptions::default();
    bench
        .sandbox
        .go(sandbox_rollback::Direction::Undo, &undo, now)
        .unwrap();
    let entry = bench.sandbox.log(1).unwrap().remove(0);
    assert_eq!(entry.report.changes.settlement, Settlement::Committed);
    assert_eq!(entry.since, Some("undone"));
}

#[test]
fn a_report_that_is_too_large_is_recorded_reduced() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    let mut caller = Answering::default();
    let mut report = bench
        .sandbox
        .run(
            &Operation::shell("true"),
            &mut caller,
            &Cancellation::new(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
    let violation = Violation {
        kind: ViolationKind::Filesystem,
        detail: "x".repeat(40_000),
    };
    report.violations = vec![violation; 2000];
    ledger::finished(bench.sandbox.journal(), &report, Timestamp::UNIX_EPOCH).unwrap();
    let kept = bench.sandbox.log(1).unwrap().remove(0).report;
    // Four megabytes of them.
    assert_eq!(kept.violations.len(), 104);
    assert!(kept.changes.truncated);
}

/// Names of a thousand levels, as a guest makes them in a moment: reports are held in memory and in the journal.
#[test]
fn an_operation_with_endless_names_is_recorded_with_some_of_them() {
    let deep = |upper: &Path| {
        use rustix::fs::{Mode, OFlags};
        let name = "d".repeat(255);
        let mut dir = std::os::fd::OwnedFd::from(fs::File::open(upper).unwrap());
        for _ in 0..600 {
            rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
            dir = rustix::fs::openat(&dir, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    };
    let bench = Bench::new(Some(ExitReason::Exited(0)), deep);
    bench.run(&Operation::shell("true")).unwrap();
    let report = bench.sandbox.log(1).unwrap().remove(0).report;
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(report.changes.created, 600);
    assert!(report.changes.truncated && !report.changes.paths.is_empty());
    let bytes = serde_json::to_string(&report).unwrap().len();
    assert!(bytes < 2 << 20, "{bytes}");
}

#[test]
fn an_operation_in_a_destroyed_sandbox_is_an_error_and_not_launched() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    fs::remove_dir_all(bench.state()).unwrap();
    let error = bench.run(&Operation::shell("true")).unwrap_err();
    assert!(matches!(*error.fault, RunFault::Enter(_)), "{error:?}");
    assert_eq!(bench.launched.load(Ordering::SeqCst), 0);
    let undone = bench
        .sandbox
        .discard(&HeldSelection::default(), Timestamp::UNIX_EPOCH)
        .unwrap_err();
    assert!(matches!(undone, crate::ReviewError::Enter(_)), "{undone:?}");
}

#[test]
fn a_suspended_sandbox_refuses_and_records_it() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    bench.sandbox.suspend(Timestamp::UNIX_EPOCH).unwrap();
    bench.check(
        &Operation::shell("true"),
        &expect![[r#"
            error: the operation was not started: cannot use 'bench': it is suspended
            launched: 0
            recorded: sandbox.suspended, operation.finished "error"
            workspace: kept=before
            pending: 0"#]],
    );
    bench.sandbox.resume(Timestamp::UNIX_EPOCH).unwrap();
    bench.run(&Operation::shell("true")).unwrap();
}
