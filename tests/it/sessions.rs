//! Sessions as the user meets them: `run`, `status`, `suspend`, `destroy`.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{lab::Lab, terminal::Sitting};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A laboratory whose sandboxes have sessions.
fn lab() -> Lab {
    Lab::new()
        .env("SANDBOX_SESSION__IDLE_TIMEOUT", "10m")
        // As long as an emulated processor may take to look whether what was built is still right.
        .env("SANDBOX_SESSION__PATIENCE", "30s")
}

fn session(lab: &Lab) -> Value {
    lab.sandbox(&["--json", "status"]).json()["session"].clone()
}

/// Waits until a confinement is ready; returns its keeper.
fn ready(lab: &Lab) -> u64 {
    let start = Instant::now();
    loop {
        let session = session(lab);
        if session["ready"] == true {
            return session["pid"].as_u64().unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "not ready: {session}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether a process is there. A dead one that its parent has not waited for is not.
fn lives(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn runs_one_after_the_other_keep_what_each_changed() {
    let lab = lab();
    lab.run("echo one > file");
    let keeper = ready(&lab);
    for text in ["two", "three"] {
        let report = lab.run(&format!("cat file; echo {text} > file"));
        assert_eq!(report["outcome"], "completed", "{report:#}");
        assert_eq!(report["changes"]["modified"], 1, "{report:#}");
    }
    assert_eq!(lab.read("file").unwrap(), "three\n");
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.read("file").unwrap(), "two\n");
    assert_eq!(ready(&lab), keeper, "one keeper for all");
    lab.sandbox(&["status"])
        .prints(&format!("process {keeper}"));
}

#[test]
fn a_run_without_session_starts_none() {
    let lab = lab();
    lab.sandbox(&["run", "--no-session", "--", "true"]).code(0);
    assert_eq!(session(&lab), Value::Null);
    let lab = Lab::new();
    lab.sandbox(&["run", "--", "true"]).code(0);
    assert_eq!(session(&lab), Value::Null, "switched off");
}

/// Its init is the keeper's child, not its caller's: who suspends must find it all the same, also without a cgroup.
#[test]
fn what_runs_in_a_session_is_suspended() {
    let lab = lab();
    lab.run("true");
    ready(&lab);
    let outside = lab.root().join("outside");
    let write = outside.display().to_string();
    let script = format!("i=0; while :; do i=$((i+1)); echo $i > {write}/count; sleep 0.01; done");
    // Other grants are another kind of confinement: this run makes the keeper prepare for it.
    let options = ["run", "--write", &write, "--timeout", "60s"];
    lab.sandbox(&[&options[..], &["--", "true"]].concat())
        .code(0);
    let count = || {
        let text = fs::read_to_string(outside.join("count")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    // On a busy machine, what is ready may come too late.
    let mut tries = (0..50).map(|_| {
        ready(&lab);
        fs::remove_file(outside.join("count")).ok();
        let args = [&options[..], &["--shell", &script]].concat();
        let running = lab.command(&args).spawn().unwrap();
        wait(|| count() > 0);
        running
    });
    let has_joined = |running: &mut Child| {
        let joined = has_no_child(running.id());
        if !joined {
            running.kill().unwrap();
            running.wait().unwrap();
        }
        joined
    };
    let mut running = tries.find_map(|mut it| has_joined(&mut it).then_some(it));
    let running = running.as_mut().expect("one that has joined");
    lab.sandbox(&["suspend"])
        .code(0)
        .says("1 operation stands still");
    let stopped_at = count();
    let start = Instant::now();
    wait(|| start.elapsed() > Duration::from_millis(300));
    assert_eq!(count(), stopped_at);
    lab.sandbox(&["resume"]).code(0);
    wait(|| count() > stopped_at);
    running.kill().unwrap();
    running.wait().unwrap();
}

/// Whether an operation's caller has joined a session: without one, init is its child.
fn has_no_child(caller: u32) -> bool {
    fs::read_to_string(format!("/proc/{caller}/task/{caller}/children")).unwrap() == ""
}

fn wait(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Init once told whoever had built it, who no longer listened: a typing error was "the sandbox failed", with 125.
#[test]
fn what_cannot_be_executed_is_told_as_without_a_session() {
    let lab = lab().file("data", "x");
    lab.run("chmod 644 data");
    for (program, code) in [("no-such-program", 127), ("./data", 126)] {
        ready(&lab);
        lab.sandbox(&["run", program]).code(code);
        lab.sandbox(&["run", "--no-session", program]).code(code);
        lab.run("true");
    }
}

#[test]
fn suspend_and_destroy_end_the_session() {
    let lab = lab();
    lab.sandbox(&["run", "--", "true"]).code(0);
    let keeper = ready(&lab);
    assert!(lives(keeper));
    if lab.sandbox(&["suspend"]).status.success() {
        assert!(!lives(keeper));
        lab.sandbox(&["resume"]).code(0);
        lab.sandbox(&["run", "--", "true"]).code(0);
    }
    let keeper = ready(&lab);
    lab.sandbox(&["destroy"]).code(0);
    assert!(!lives(keeper));
    assert!(lab.workspace().exists());
}

#[test]
fn a_run_that_a_suspended_sandbox_refuses_starts_no_session() {
    let lab = lab();
    lab.sandbox(&["run", "--", "true"]).code(0);
    ready(&lab);
    lab.sandbox(&["suspend"]).code(0);
    assert_eq!(session(&lab), Value::Null);
    lab.sandbox(&["run", "--", "true"])
        .code(126)
        .says("it is suspended");
    // A keeper that were started would be there soon.
    let start = Instant::now();
    wait(|| start.elapsed() > Duration::from_millis(300));
    assert_eq!(session(&lab), Value::Null);
    // The control: a run that is not refused starts one.
    lab.sandbox(&["resume"]).code(0);
    lab.sandbox(&["run", "--", "true"]).code(0);
    ready(&lab);
}

#[test]
fn a_terminal_is_made_in_what_is_ready() {
    let lab = lab();
    lab.run("true");
    let script = "stty size; tty; read line; echo \"<$line>\"; exec sleep 1000";
    let run = ["run", "-q", "--tty", "--shell", script];
    let has_joined = |sitting: &Sitting| has_no_child(sitting.pid());
    let mut tries = (0..50).map(|_| {
        ready(&lab);
        let mut sitting = Sitting::start(&lab, &run);
        sitting.sees("33 101").sees("/dev/pts/0");
        sitting
    });
    // On a busy machine, what is ready may come too late.
    let mut sitting = tries.find(has_joined).expect("one that has joined");
    sitting.types("word\r").sees("<word>").types("\x03");
    assert_eq!(sitting.end().0.code(), Some(130));
}

#[test]
fn an_idle_timeout_that_is_none_is_refused() {
    for wrong in ["soon", "25h", "-1s"] {
        Lab::new()
            .env("SANDBOX_SESSION__IDLE_TIMEOUT", wrong)
            .sandbox(&["run", "--", "true"])
            .code(2)
            .says("session.idle_timeout");
    }
}
