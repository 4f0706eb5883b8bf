//! The pipeline against scripted processes: every ending of `Sandbox::run`, without confinement.
//!
//! The transaction, the journal and the judge are the real ones. Only the launcher is scripted: it
//! does to the upper layer what a guest would do through the overlay.

mod afterwards;
mod approvals;
mod health;
mod index;
mod launcher;
mod running;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use expect_test::{Expect, expect};
use jiff::Timestamp;
use sandbox_isolation::Cancellation;
use sandbox_rollback::RollbackManager;
use sandbox_safety::{Policy, Profile, SafetyValidator};
use sandbox_state::StateManager;
use sandbox_types::{
    Decision, ExitReason, OnFailure, Operation, Outcome, RiskLevel, SandboxConfig, Settlement,
    Verdict,
};
use tempfile::TempDir;

use crate::{
    approvals::Shelf,
    caller::{Answer, Caller},
    host::Host,
    ledger::{self, Ledger},
    plugins::Plugins,
    registry::SandboxRecord,
    run::{RunError, RunFault},
    sandbox::Sandbox,
};
use launcher::{BUILT, Scripted};

/// A caller that answers as the test says and counts how often it was asked.
#[derive(Clone, Default)]
struct Answering {
    yes: bool,
    asked: Arc<AtomicUsize>,
    verdict: Arc<Mutex<Option<Verdict>>>,
}

impl Caller for Answering {
    fn approve(&mut self, verdict: &Verdict) -> Answer {
        // Others would wait for what is built while a person thinks.
        assert_eq!(BUILT.get(), 0);
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.verdict.lock().unwrap() = Some(verdict.clone());
        if self.yes { Answer::Yes } else { Answer::Later }
    }
}

/// A sandbox in a temporary directory, with one file `kept` in its workspace.
struct Bench {
    directory: TempDir,
    sandbox: Sandbox,
    launched: Arc<AtomicUsize>,
}

impl Bench {
    fn new(exit: Option<ExitReason>, guest: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().join("workspace");
        let state = directory.path().join("state");
        fs::create_dir(&workspace).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(workspace.join("kept"), "before").unwrap();
        // Whoever runs something locks it.
        fs::write(state.join("sandbox.json"), "").unwrap();
        let launched = Arc::new(AtomicUsize::new(0));
        let metadata = fs::metadata(&workspace).unwrap();
        let sandbox = Sandbox {
            record: SandboxRecord {
                format: 1,
                name: "bench".parse().unwrap(),
                workspace_device: metadata.dev(),
                workspace_inode: metadata.ino(),
                workspace_born: None,
                created_at: Timestamp::UNIX_EPOCH,
                host_ids: 0x7000_0000,
                layers: Some(directory.path().join("layers")),
                no_layers_because: None,
                no_overlay_because: None,
                workspace: workspace.clone(),
            },
            host: Host::from_variables(Vec::new()),
            config: SandboxConfig::default(),
            tier: sandbox_isolation::Confinement::Namespaces,
            seccomp: sandbox_isolation::SeccompProfile::built_in(
                sandbox_isolation::BaseProfile::Default,
            ),
            commit_policy: crate::config_layers::CommitPolicy::default(),
            policies_unusable: None,
            snapshot_progress: Arc::default(),
            limits: SandboxConfig::default().limits().unwrap(),
            validator: SafetyValidator::new(Policy::of(Profile::Default)),
            state: StateManager::open(&state),
            approvals: Shelf::of(&state),
            plugins: Plugins::new(),
            ledger: Ledger::open(&state, &"bench".parse().unwrap()),
            rollback: Some(
                RollbackManager::open(&workspace, &directory.path().join("layers")).unwrap(),
            ),
            launcher: Box::new(Scripted {
                guest: Arc::new(Box::new(guest)),
                exit,
                launched: Arc::clone(&launched),
            }),
        };
        Self {
            directory,
            sandbox,
            launched,
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    fn run(&self, operation: &Operation) -> Result<String, RunError> {
        let mut caller = Answering::default();
        let report = self.sandbox.run(
            operation,
            &mut caller,
            &Cancellation::new(),
            Timestamp::UNIX_EPOCH,
        )?;
        Ok(format!(
            "{:?}, {:?}",
            report.outcome, report.changes.settlement
        ))
    }

    /// Outcome and settlement, what the journal has, the workspace, what is left of transactions.
    #[track_caller]
    fn check(&self, operation: &Operation, expected: &Expect) {
        let outcome = match self.run(operation) {
            Ok(outcome) => outcome,
            Err(error) => format!("error: {}", sandbox_types::causes(&error).join(": ")),
        };
        let launched = self.launched.load(Ordering::SeqCst);
        let outcome = outcome.replace(&self.directory.path().display().to_string(), "$DIR");
        expected.assert_eq(&format!(
            "{outcome}\nlaunched: {launched}\nrecorded: {}\nworkspace: {}\npending: {:?}",
            self.recorded(),
            self.files(),
            self.sandbox.pending().unwrap().len(),
        ));
    }

    fn recorded(&self) -> String {
        let Ok(records) = self.sandbox.state.journal().records() else {
            return "unreadable".to_owned();
        };
        let kinds: Vec<_> = records
            .map(|record| {
                let record = record.unwrap();
                match record.payload.get("outcome") {
                    Some(outcome) => format!("{} {outcome}", record.kind),
                    None => record.kind,
                }
            })
            .collect();
        kinds.join(", ")
    }

    fn files(&self) -> String {
        let mut files: Vec<_> = fs::read_dir(self.workspace())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let content = fs::read_to_string(entry.path()).unwrap();
                format!("{}={content}", entry.file_name().to_string_lossy())
            })
            .collect();
        files.sort();
        files.join(" ")
    }
}

fn writes(upper: &Path) {
    fs::write(upper.join("made"), "after").unwrap();
}

#[test]
fn a_denied_operation_is_recorded_and_not_launched() {
    Bench::new(Some(ExitReason::Exited(0)), writes).check(
        &Operation::shell("rm -rf / --no-preserve-root"),
        &expect![[r#"
            Denied, None
            launched: 0
            recorded: operation.finished "denied"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn success_is_committed() {
    Bench::new(Some(ExitReason::Exited(0)), writes).check(
        &Operation::shell("true"),
        &expect![[r#"
            Completed, Committed
            launched: 1
            recorded: operation.started, operation.finished "completed"
            workspace: kept=before made=after
            pending: 0"#]],
    );
}

#[test]
fn review_holds_the_changes() {
    Bench::new(Some(ExitReason::Exited(0)), writes).check(
        &Operation::shell("true").review(),
        &expect![[r#"
            Completed, Pending
            launched: 1
            recorded: operation.started, operation.finished "completed"
            workspace: kept=before
            pending: 1"#]],
    );
}

#[test]
fn failure_is_kept_as_without_a_sandbox() {
    Bench::new(Some(ExitReason::Exited(3)), writes).check(
        &Operation::shell("false"),
        &expect![[r#"
            Failed, Committed
            launched: 1
            recorded: operation.started, operation.finished "failed"
            workspace: kept=before made=after
            pending: 0"#]],
    );
}

#[test]
fn failure_is_discarded_when_asked() {
    let mut operation = Operation::shell("false");
    operation.on_failure = OnFailure::Discard;
    Bench::new(Some(ExitReason::Exited(3)), writes).check(
        &operation,
        &expect![[r#"
            Failed, Discarded
            launched: 1
            recorded: operation.started, operation.finished "failed"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn a_time_out_is_settled_and_recorded() {
    let mut operation = Operation::shell("sleep 9");
    operation.on_failure = OnFailure::Discard;
    Bench::new(Some(ExitReason::TimedOut), writes).check(
        &operation,
        &expect![[r#"
            TimedOut, Discarded
            launched: 1
            recorded: operation.started, operation.finished "timed_out"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn a_failed_launch_is_settled_and_recorded_first() {
    Bench::new(None, writes).check(
        &Operation::shell("true"),
        &expect![[r#"
            error: the operation was not finished: no confined process: cannot enter the user namespace: Operation not permitted (os error 1)
            launched: 1
            recorded: operation.started, operation.finished "error"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn a_write_outside_of_the_declared_files_is_not_committed() {
    Bench::new(Some(ExitReason::Exited(0)), writes).check(
        &Operation::shell("true").files(["other/*"]),
        &expect![[r#"
            Completed, Discarded
            launched: 1
            recorded: operation.started, operation.finished "completed"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn a_failed_settlement_is_recorded_first() {
    // Somebody takes the transaction's directory away while the guest runs.
    let bench = Bench::new(Some(ExitReason::Exited(0)), |upper| {
        fs::remove_dir_all(upper.parent().unwrap()).unwrap();
    });
    let error = bench.run(&Operation::shell("true")).unwrap_err();
    assert!(matches!(*error.fault, RunFault::Settle(_)), "{error:?}");
    assert_eq!(
        bench.recorded(),
        r#"operation.started, operation.finished "error""#
    );
    assert_eq!(bench.files(), "kept=before");
}

#[test]
fn a_failed_record_is_an_error_after_the_settlement() {
    let slot: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let seen = Arc::clone(&slot);
    let bench = Bench::new(Some(ExitReason::Exited(0)), move |upper| {
        writes(upper);
        let journal = seen.lock().unwrap().clone().unwrap();
        fs::remove_file(&journal).unwrap();
        fs::create_dir(&journal).unwrap();
    });
    *slot.lock().unwrap() = Some(bench.state().join("journal.log"));
    let error = bench.run(&Operation::shell("true")).unwrap_err();
    assert!(matches!(*error.fault, RunFault::Record(_)), "{error:?}");
    assert_eq!(bench.files(), "kept=before made=after");
    assert_eq!(error.report.outcome, Outcome::Completed);
    assert_eq!(error.report.changes.settlement, Settlement::Committed);
    assert!(error.report.error[0].contains("not recorded"), "{error:?}");
}

#[test]
fn nothing_runs_that_cannot_be_recorded() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    fs::create_dir(bench.state().join("journal.log")).unwrap();
    let error = bench.run(&Operation::shell("true")).unwrap_err();
    assert!(matches!(*error.fault, RunFault::Record(_)), "{error:?}");
    assert_eq!(bench.launched.load(Ordering::SeqCst), 0);
}

#[test]
fn an_ask_runs_only_with_a_yes() {
    for (yes, launches) in [(false, 0), (true, 1)] {
        let mut bench = Bench::new(Some(ExitReason::Exited(0)), writes);
        bench.sandbox.validator = SafetyValidator::new(Policy::of(Profile::Strict));
        let mut operation = Operation::shell("git push --force origin main");
        operation.network = Some(sandbox_types::NetworkAccess::Host);
        let mut caller = Answering {
            yes,
            ..Answering::default()
        };
        let report = bench
            .sandbox
            .run(
                &operation,
                &mut caller,
                &Cancellation::new(),
                Timestamp::UNIX_EPOCH,
            )
            .unwrap();
        assert_eq!(report.verdict.decision, Decision::Ask);
        assert!(report.verdict.residual_risk.level >= RiskLevel::Medium);
        assert_eq!(caller.asked.load(Ordering::SeqCst), 1);
        assert_eq!(bench.launched.load(Ordering::SeqCst), launches);
    }
}

#[test]
fn an_impossible_request_is_recorded_and_not_launched() {
    let mut operation = Operation::shell("true");
    operation.cwd = Some("not/there".into());
    Bench::new(Some(ExitReason::Exited(0)), writes).check(
        &operation,
        &expect![[r#"
            error: the operation was not started: the working directory $DIR/workspace/not/there does not exist
            launched: 0
            recorded: operation.finished "error"
            workspace: kept=before
            pending: 0"#]],
    );
}

#[test]
fn undo_puts_back_the_last_change_and_says_so() {
    let bench = Bench::new(Some(ExitReason::Exited(0)), writes);
    bench.run(&Operation::shell("true")).unwrap();
    let undone = bench
        .sandbox
        .go(
            sandbox_rollback::Direction::Undo,
            &crate::UndoOptions::default(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
    assert_eq!(undone.paths.len(), 1);
    assert_eq!(bench.files(), "kept=before");
    assert!(bench.recorded().ends_with(ledger::UNDONE));
    assert_eq!(bench.sandbox.log(1).unwrap()[0].since, Some("undone"));
    let nothing = bench.sandbox.go(
        sandbox_rollback::Direction::Undo,
        &crate::UndoOptions::default(),
        Timestamp::UNIX_EPOCH,
    );
    assert!(matches!(nothing, Err(crate::ReviewError::NothingToUndo)));
}
