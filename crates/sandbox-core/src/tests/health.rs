//! Health checks and repairs of a sandbox on a real file system; what killed processes left is made
//! with the crates' own functions, or by hand where only a crash makes it.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::atomic::AtomicI64,
    time::Duration,
};

use sandbox_monitor::{
    GuestProcess, Health, HealthCheck, HealthMonitor, HealthReport, HealthState, Recovery,
    RecoveryFailure, UsageRecord, operation_mark,
};
use sandbox_types::OperationId;
use serde_json::json;

use super::*;
use crate::{HealthOutcome, RepairBy, RepairEnd, core::SandboxCore, home::Home};

fn core(bench: Bench) -> (SandboxCore, TempDir) {
    let Bench {
        directory, sandbox, ..
    } = bench;
    let home = Home::new(Host::from_variables(Vec::new()));
    (SandboxCore::new(sandbox, home), directory)
}

fn bench() -> Bench {
    Bench::new(Some(ExitReason::Exited(0)), writes)
}

fn id(text: &str) -> OperationId {
    text.parse().unwrap()
}

#[track_caller]
fn state(report: &HealthReport, name: &str) -> HealthState {
    let found = report.checks.iter().find(|it| it.name == name);
    found.expect("a check of that name").health.state
}

fn examine(core: &SandboxCore) -> HealthReport {
    core.health_monitor().examine()
}

fn repair(core: &SandboxCore) -> HealthOutcome {
    let monitor = core.health_monitor();
    core.sandbox
        .repair(&monitor, RepairBy::Person, crate::home::now)
        .unwrap()
}

fn kinds(core: &SandboxCore) -> Vec<String> {
    let mut records = core.records(100).unwrap();
    records.reverse();
    records.into_iter().map(|record| record.kind).collect()
}

#[test]
fn a_new_sandbox_is_healthy_and_nothing_is_repaired() {
    let bench = bench();
    bench.run(&Operation::shell("true")).unwrap();
    let (core, _directory) = core(bench);
    for name in [
        "workspace",
        "orphans",
        "transactions",
        "journal",
        "store",
        "usage",
    ] {
        assert_eq!(state(&examine(&core), name), HealthState::Healthy, "{name}");
    }
    assert!(repair(&core).repairs.is_empty());
    assert_eq!(kinds(&core), ["operation.started", "operation.finished"]);
}

#[test]
fn an_interrupted_transaction_stays_until_it_is_repaired_once() {
    let (core, _directory) = core(bench());
    // What a kill leaves: the directories, and a lock that the kernel released.
    drop(
        core.sandbox
            .rollback()
            .unwrap()
            .begin(&id("killed"))
            .unwrap(),
    );
    for _ in 0..2 {
        let report = examine(&core);
        assert_eq!(state(&report, "transactions"), HealthState::Failed);
    }
    let outcome = repair(&core);
    assert_eq!(state(&outcome.health, "transactions"), HealthState::Healthy);
    let [repaired] = outcome.repairs.as_slice() else {
        panic!("{:?}", outcome.repairs);
    };
    assert!(matches!(&repaired.end, RepairEnd::Done { detail } if detail.starts_with("1 dropped")));
    assert!(repair(&core).repairs.is_empty(), "it is idempotent");
    assert_eq!(
        kinds(&core),
        ["recovery.begun", "operation.dropped", "recovery.done"]
    );
    let usage = core.usage_of(&id("killed")).unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].outcomes.of(Outcome::Killed), 1);
}

#[test]
fn a_transaction_in_use_is_no_trouble() {
    let (core, _directory) = core(bench());
    let transaction = core.sandbox.rollback().unwrap().begin(&id("runs")).unwrap();
    assert_eq!(state(&examine(&core), "transactions"), HealthState::Healthy);
    transaction.hold().unwrap();
    assert_eq!(state(&examine(&core), "transactions"), HealthState::Healthy);
}

/// The caller is dead, the first process of its guest is not.
#[test]
fn a_guest_whose_caller_was_killed_stays_until_it_is_ended() {
    let (core, _directory) = core(bench());
    #[expect(
        clippy::disallowed_methods,
        reason = "a real process namespace, of fixed text, is what is ended"
    )]
    let mut command = std::process::Command::new("unshare");
    let mut outer = command
        .args(["--user", "--pid", "--fork", "sh", "-c"])
        .arg("echo ready; exec sleep 1000")
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(outer.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", outer.id());
    let inner = fs::read_to_string(children).unwrap();
    let pid: u32 = inner.trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    let started = fields.split(' ').nth(19).unwrap().parse().unwrap();

    let start = json!({
        "operation": {"id": "lost", "type": "command", "argv": ["sleep"], "cwd": "/"},
        "verdict": core.judge(&Operation::shell("true")),
        "process": {"pid": 1, "started": u64::MAX},
    });
    let now = crate::home::now();
    core.sandbox
        .journal()
        .append(ledger::STARTED, now, &start)
        .unwrap();
    let sample = |started| UsageRecord {
        operation: operation_mark(&id("lost")),
        guest: Some(GuestProcess { pid, started }),
        ..UsageRecord::default()
    };
    // A later process that was given the number is somebody else's.
    core.sandbox.tracker().append(&sample(started + 1)).unwrap();
    assert_eq!(state(&examine(&core), "orphans"), HealthState::Healthy);
    core.sandbox.tracker().append(&sample(started)).unwrap();
    for _ in 0..2 {
        assert_eq!(state(&examine(&core), "orphans"), HealthState::Failed);
        assert!(outer.try_wait().unwrap().is_none(), "looking ends nothing");
    }
    let outcome = repair(&core);
    assert_eq!(state(&outcome.health, "orphans"), HealthState::Healthy);
    assert!(!outer.wait().unwrap().success(), "it was killed");
    assert!(repair(&core).repairs.is_empty(), "it is idempotent");
    assert_eq!(
        kinds(&core),
        ["operation.started", "recovery.begun", "recovery.done"]
    );
}

#[test]
fn records_that_are_missing_at_the_end_of_the_journal_are_found() {
    let bench = bench();
    bench.run(&Operation::shell("true")).unwrap();
    let (core, _directory) = core(bench);
    let journal = core.sandbox.journal().path();
    let shorter = fs::read(&journal).unwrap();
    core.sandbox
        .journal()
        .append("test", Timestamp::UNIX_EPOCH, &1)
        .unwrap();
    for _ in 0..2 {
        assert_eq!(state(&examine(&core), "journal"), HealthState::Healthy);
    }
    fs::write(&journal, &shorter).unwrap();
    assert!(core.audit().unwrap().damage.is_none(), "the control");
    assert_eq!(state(&examine(&core), "journal"), HealthState::Failed);
}

#[test]
fn damage_is_found_and_has_no_repair() {
    let bench = bench();
    bench.run(&Operation::shell("true")).unwrap();
    let (core, directory) = core(bench);
    let usage = directory.path().join("state/usage.log");
    let mut bytes = fs::read(&usage).unwrap();
    bytes[100] ^= 1;
    fs::write(&usage, bytes).unwrap();
    fs::write(directory.path().join("state/state.redb"), "no database").unwrap();
    fs::remove_dir_all(directory.path().join("workspace")).unwrap();
    let report = repair(&core).health;
    assert_eq!(state(&report, "usage"), HealthState::Degraded);
    assert_eq!(state(&report, "store"), HealthState::Failed);
    assert_eq!(state(&report, "workspace"), HealthState::Failed);
    assert!(
        report
            .checks
            .iter()
            .all(|it| it.name != "store" || it.recovery.is_none())
    );
}

/// A check that is never healthy, whose repair panics every other time.
#[derive(Debug, Default)]
struct Hopeless(AtomicUsize);

impl HealthCheck for Hopeless {
    fn name(&self) -> &'static str {
        "hopeless"
    }

    fn check(&self) -> Health {
        Health::failed("as ever")
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }
}

impl Recovery for Hopeless {
    fn describe(&self) -> &'static str {
        "try"
    }

    fn recover(&self) -> Result<String, RecoveryFailure> {
        let tried = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(tried.is_multiple_of(2), "a repair of somebody else");
        Ok("tried".to_owned())
    }
}

/// The test's clock, in seconds.
static SECOND: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    Timestamp::from_second(SECOND.load(Ordering::SeqCst)).unwrap()
}

#[test]
fn a_repair_that_does_not_help_is_tried_five_times_and_each_is_written_down() {
    let (core, _directory) = core(bench());
    let check = Arc::new(Hopeless::default());
    let mut monitor = HealthMonitor::new();
    monitor.add(Arc::clone(&check) as Arc<dyn HealthCheck>);
    let mut last = None;
    for second in (1_000_000..1_003_600).step_by(10) {
        SECOND.store(second, Ordering::SeqCst);
        let outcome = core.sandbox.repair(&monitor, RepairBy::Itself, clock);
        last = outcome.unwrap().repairs.pop();
    }
    assert_eq!(check.0.load(Ordering::SeqCst), 5);
    assert_eq!(last.unwrap().end, RepairEnd::GivenUp);
    let tried = kinds(&core);
    assert_eq!(tried.iter().filter(|it| *it == "recovery.begun").count(), 5);
    assert_eq!(
        tried.iter().filter(|it| *it == "recovery.failed").count(),
        5
    );
    // A person may try once more.
    let outcome = core
        .sandbox
        .repair(&monitor, RepairBy::Person, clock)
        .unwrap();
    assert!(matches!(outcome.repairs[0].end, RepairEnd::Failed { .. }));
    assert_eq!(outcome.repairs[0].attempts, 6);
}

#[test]
fn a_watch_repairs_by_itself_writes_changes_down_and_ends_when_dropped() {
    let (core, _directory) = core(bench());
    drop(
        core.sandbox
            .rollback()
            .unwrap()
            .begin(&id("killed"))
            .unwrap(),
    );
    fs::write(
        core.sandbox.directory().join(crate::layout::RECORD_FILE),
        "{}",
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let watched = core.clone();
    runtime.block_on(async move {
        let mut watch = watched.watch_health(Duration::from_millis(20));
        // A process that another test starts at this moment may hold the transaction's lock until it executes.
        let mut first = watch.next().await.unwrap();
        while first.repairs.is_empty() {
            first = watch.next().await.unwrap();
        }
        assert_eq!(first.repairs.len(), 1);
        assert_eq!(state(&first.health, "transactions"), HealthState::Healthy);
        let workspace = watched.workspace().to_owned();
        fs::remove_dir_all(&workspace).unwrap();
        while state(&watch.next().await.unwrap().health, "workspace") != HealthState::Failed {}
        watch.next().await.unwrap();
    });
    let kinds = kinds(&core);
    let changes = kinds.iter().filter(|it| *it == "health.changed");
    // The workspace, and the disk that it lies on.
    assert_eq!(
        changes.count(),
        2,
        "once each, not at every look: {kinds:?}"
    );
    drop(runtime);
    assert_eq!(
        Arc::strong_count(&core.sandbox),
        1,
        "nobody watches any more"
    );
}

#[test]
fn every_operation_leaves_one_end_in_the_history() {
    let bench = bench();
    bench.run(&Operation::shell("true")).unwrap();
    bench
        .run(&Operation::shell("rm -rf / --no-preserve-root"))
        .unwrap();
    let total = bench.sandbox.tracker().total().unwrap();
    assert_eq!(total.outcomes.of(Outcome::Completed), 1);
    assert_eq!(total.outcomes.of(Outcome::Denied), 1);
    assert_eq!(total.samples, 2);
}

#[test]
fn a_history_that_cannot_be_written_fails_no_operation_and_is_said() {
    let bench = bench();
    fs::create_dir(bench.state().join("usage.log")).unwrap();
    let mut caller = Answering::default();
    let operation = Operation::shell("true");
    let report = bench.sandbox.run(
        &operation,
        &mut caller,
        &Cancellation::new(),
        Timestamp::UNIX_EPOCH,
    );
    let report = report.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    let said = report.enforcement.missing.join("\n");
    assert!(said.contains("usage history"), "{said}");
}
