//! How runs end.

use std::time::{Duration, Instant};

use sandbox_isolation::{Cancellation, KernelLauncher, Launcher as _};
use sandbox_types::{ExitReason, Limit, LimitKind};

use crate::lab::{Collect, Lab, eventually, is_alive, is_root, needs};

#[test]
fn codes_and_signals_are_the_commands_own() {
    assert_eq!(Lab::new().run(&["true"]).exit(), ExitReason::Exited(0));
    assert_eq!(Lab::new().sh("exit 7").exit(), ExitReason::Exited(7));
    assert_eq!(
        Lab::new().sh("kill -TERM $$").exit(),
        ExitReason::Signaled(15)
    );
}

#[test]
fn a_missing_program_is_not_found() {
    assert_eq!(
        Lab::new().run(&["no-such-program"]).exit(),
        ExitReason::NotFound
    );
    assert_eq!(
        Lab::new().run(&["/no/such/program"]).exit(),
        ExitReason::NotFound
    );
}

#[test]
fn a_file_that_is_no_program_is_not_executable() {
    let mut lab = Lab::new().file("workspace/data", "x");
    assert_eq!(lab.run(&["./data"]).exit(), ExitReason::NotExecutable);
}

#[test]
fn a_script_without_a_first_line_runs_in_the_shell() {
    let mut lab = Lab::new();
    std::fs::write(lab.workspace().join("script"), "echo \"$0 $1\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(lab.workspace().join("script"), mode).unwrap();
    assert_eq!(lab.run(&["./script", "one"]).output(), "./script one");
}

#[test]
fn the_wall_limit_ends_what_ignores_signals() {
    // Long enough for a shell to start in an emulated machine.
    let limit = Duration::from_secs(2);
    let mut lab = Lab::new().with(|plan| plan.limits.wall_time = Some(Limit::requested(limit)));
    let start = Instant::now();
    let outcome = lab.sh("trap '' TERM INT HUP; echo started; kill -STOP $$; while :; do :; done");
    assert_eq!(outcome.exit(), ExitReason::TimedOut);
    assert_eq!(outcome.stdout, "started\n");
    assert!(start.elapsed() >= limit);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_observer_ends_a_run_for_a_limit() {
    let collect = Collect {
        end_at_tick: Some(LimitKind::Disk),
        ..Collect::default()
    };
    let outcome = Lab::new().try_run(&["sleep", "1000"], collect).unwrap();
    assert_eq!(outcome.exit(), ExitReason::LimitExceeded(LimitKind::Disk));
}

#[test]
fn a_cancelled_run_ends_at_once() {
    let mut lab = Lab::new();
    let mut plan = lab.plan.take().unwrap();
    plan.argv = ["sleep", "1000"].map(Into::into).to_vec();
    let cancel = Cancellation::new();
    let other = cancel.clone();
    let mut running = KernelLauncher::new().launch(plan).unwrap();
    let waiting = std::thread::spawn(move || running.wait(&mut Collect::default(), &other));
    cancel.cancel();
    assert_eq!(waiting.join().unwrap().unwrap().exit, ExitReason::Cancelled);
}

/// The guest of a root caller is the owner of the workspace, and so another user than init, which once could not end
/// what that had left: the operation lasted as long as its daemons.
#[test]
fn daemons_of_another_user_delay_nothing_either() {
    if !needs(is_root(), "root, whose guests are the workspace's owner") {
        return;
    }
    let marker = format!("600.{}", std::process::id());
    let limit = Duration::from_secs(30);
    let mut lab = Lab::new().with(|plan| plan.limits.wall_time = Some(Limit::requested(limit)));
    std::os::unix::fs::chown(lab.workspace(), Some(1000), Some(1000)).unwrap();
    let outcome = lab.sh(&format!(
        "(setsid sleep {marker} > /dev/null 2>&1 &); id -u"
    ));
    assert_eq!(outcome.exit(), ExitReason::Exited(0), "{outcome:#?}");
    assert_eq!(outcome.output(), "1000");
    assert!(!is_alive(&marker), "a daemon survived");
}

#[test]
fn daemons_die_with_the_operation_and_delay_nothing() {
    let marker = format!("7{}", std::process::id());
    let start = Instant::now();
    let outcome = Lab::new().sh(&format!(
        "(setsid sh -c '(sleep {marker} &) ; sleep {marker}' &) ; nohup sleep {marker} & echo done"
    ));
    assert_eq!(outcome.output(), "done");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(!is_alive(&marker), "a daemon survived");
}

#[test]
fn dropping_a_run_kills_it() {
    let marker = format!("8{}", std::process::id());
    let mut lab = Lab::new();
    let mut plan = lab.plan.take().unwrap();
    plan.argv = ["sleep", &marker].map(Into::into).to_vec();
    let running = KernelLauncher::new().launch(plan).unwrap();
    eventually("it runs", || is_alive(&marker));
    drop(running);
    assert!(!is_alive(&marker), "it survived");
}

#[test]
fn usage_is_of_the_whole_tree() {
    let outcome = Lab::new().sh("(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & wait");
    assert_eq!(outcome.exit(), ExitReason::Exited(0));
    assert!(
        outcome.ended.usage.cpu > Duration::from_millis(20),
        "{:?}",
        outcome.ended.usage
    );
    assert!(outcome.ended.usage.memory_largest_bytes > 100_000);
}

#[test]
fn a_killed_first_process_is_no_end_of_the_command() {
    let mut lab = Lab::new();
    let mut plan = lab.plan.take().unwrap();
    plan.argv = ["sleep", "1000"].map(Into::into).to_vec();
    let mut running = KernelLauncher::new().launch(plan).unwrap();
    let init = i32::try_from(running.root_pid()).unwrap();
    let init = rustix::process::Pid::from_raw(init).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    let error = running
        .wait(&mut Collect::default(), &Cancellation::new())
        .unwrap_err();
    assert_eq!(error.source.to_string(), "the guest's pid 1 was killed");
}
