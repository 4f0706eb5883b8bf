//! The states of a sandbox: suspended, resumed, and what may happen in between.
//!
//! Freezing needs a cgroup that the user may use. Where there is none, signals stop the processes.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Counts in a file, as fast as it can. The file is the caller's own, outside of any transaction.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i > $OUT/count; done";

/// An operation in another terminal, which counts in a file outside of the workspace.
struct Counting {
    lab: Lab,
    run: Option<Child>,
}

impl Counting {
    fn start(options: &[&str]) -> Self {
        let lab = Lab::new();
        lab.sandbox(&["create", "box"]).code(0);
        let outside = lab.root().join("outside").display().to_string();
        let variable = format!("OUT={outside}");
        let mut args = vec!["run", "--write", &outside, "--env", &variable];
        args.extend(options);
        args.extend(["--shell", COUNT]);
        let run = lab.command(&args).spawn().unwrap();
        let counting = Self {
            lab,
            run: Some(run),
        };
        wait_until("the guest counts", || counting.count() > 0);
        counting
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(self.lab.root().join("outside/count")).unwrap_or_default();
        // It is rewritten all the time, so it may be empty just now.
        text.trim().parse().unwrap_or(0)
    }

    /// Suspends: with a cgroup if this user may use one, else by signals, which is said.
    fn suspended(self) -> Self {
        let ended = self.lab.sandbox(&["suspend"]);
        let has_cgroup = cgroups_of(self.pid()) > 0;
        assert_eq!(
            ended.stderr.contains("signals"),
            !has_cgroup,
            "{}",
            ended.stderr
        );
        assert!(has_cgroup || !rustix_is_root(), "root has a freezer");
        ended.code(0);
        self
    }

    fn status(&self) -> Value {
        self.lab.sandbox(&["status", "--json"]).json()
    }

    fn pid(&self) -> u32 {
        self.run.as_ref().unwrap().id()
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the operation's end, and returns the code and what was said.
    fn end(&mut self) -> (Option<i32>, String) {
        let output = self.run.take().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// Whether anything of the guest is alive: who counts has the file open, or its directory.
    fn guests(&self) -> usize {
        let outside = self.lab.root().join("outside").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let environment = fs::read(process.path().join("environ")).unwrap_or_default();
                let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&environment).contains(&format!("OUT={outside}"))
                    && String::from_utf8_lossy(&command).contains("count")
            })
            .count()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(mut run) = self.run.take() {
            let _ended = run.kill();
            let _reaped = run.wait();
        }
        let _resumed = self.lab.sandbox(&["resume"]);
    }
}

fn rustix_is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nUid:\t0\t")
}

#[track_caller]
fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let (_never, timer) = mpsc::channel::<()>();
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        let _passed = timer.recv_timeout(Duration::from_millis(5));
    }
}

/// Returns the number of directories of cgroups that the process made.
fn cgroups_of(pid: u32) -> usize {
    let prefix = format!("sandbox-{pid}-");
    let mut waiting = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    let mut found = 0;
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                found += usize::from(entry.file_name().to_string_lossy().starts_with(&prefix));
                waiting.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_sandbox_without_operations_is_suspended_and_resumed_once() {
    let lab = Lab::new().file("kept", "x");
    lab.sandbox(&["create", "box"]).code(0);
    lab.sandbox(&["status"]).code(0).prints("created");
    lab.sandbox(&["resume"]).code(1).says("it is not suspended");
    lab.run("echo before > kept");
    lab.sandbox(&["status"]).code(0).prints("ready");
    lab.run_with(&["--review"], "echo held > kept");
    lab.sandbox(&["suspend"])
        .code(0)
        .says("nothing was running");
    lab.sandbox(&["suspend"])
        .code(1)
        .says("it is suspended already");
    let status = lab.sandbox(&["status", "--json"]).code(1).json();
    assert_eq!(status["state"], "suspended");
    assert!(status["suspended_since"].is_string());

    // Whatever would change something is refused, and what only looks is not.
    let before = lab.tree();
    lab.sandbox(&["run", "--", "true"])
        .code(126)
        .says("cannot use 'box': it is suspended")
        .says("sandbox resume");
    let report = lab.run("touch x");
    assert_eq!(report["outcome"], "error");
    for refused in ["commit", "discard", "undo"] {
        lab.sandbox(&[refused]).code(1).says("it is suspended");
    }
    assert_eq!(lab.tree(), before);
    for allowed in [
        &["diff"][..],
        &["log"],
        &["undo", "--dry-run"],
        &["events"],
        &["audit", "verify"],
        &["list"],
    ] {
        lab.sandbox(allowed).code(0);
    }
    lab.sandbox(&["resume"]).code(0).says("resumed 'box'");
    lab.sandbox(&["discard"]).code(0);
    lab.sandbox(&["run", "--", "true"]).code(0);
    let kinds: Vec<String> = lab
        .sandbox(&["events", "--json", "--kind", "sandbox.*"])
        .code(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].to_string())
        .collect();
    assert_eq!(
        kinds,
        [
            "\"sandbox.created\"",
            "\"sandbox.suspended\"",
            "\"sandbox.resumed\""
        ]
    );
}

#[test]
fn a_suspended_sandbox_is_destroyed_when_nothing_runs() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    lab.sandbox(&["suspend"]).code(0);
    lab.sandbox(&["destroy"]).code(0);
    lab.sandbox(&["create", "box"]).code(0);
    // The new one has nothing of the old one.
    lab.sandbox(&["status"]).code(0).prints("created");
    lab.sandbox(&["run", "--", "true"]).code(0);
}

#[test]
fn frozen_processes_stand_still_and_their_time_with_them() {
    let mut counting = Counting::start(&["--timeout", "6s"]).suspended();
    let status = counting.status();
    assert_eq!(status["state"], "suspended");
    assert_eq!(status["running"][0]["process"]["pid"], counting.pid());
    assert_eq!(status["running"][0]["argv"][2], COUNT);
    counting
        .lab
        .sandbox(&["status"])
        .code(1)
        .prints("frozen")
        .prints("sandbox resume");

    // Longer than its time limit: its caller waits, and it neither counts nor is ended.
    let (frozen_at, started) = (counting.count(), Instant::now());
    wait_until("seven seconds pass", || {
        assert_eq!(counting.count(), frozen_at, "it went on");
        started.elapsed() > Duration::from_secs(7)
    });
    assert!(counting.run.as_mut().unwrap().try_wait().unwrap().is_none());
    counting
        .lab
        .sandbox(&["destroy"])
        .code(1)
        .says("an operation is running");

    let resumed = counting.lab.sandbox(&["resume", "--json"]).code(0).json();
    assert_eq!(resumed["operations"].as_array().unwrap().len(), 1);
    wait_until("it goes on", || counting.count() > frozen_at);
    // What it had before the limit it has after it too, and no more.
    assert_eq!(counting.end().0, Some(124));
    assert_eq!(counting.status()["state"], "ready");
}

#[test]
fn ctrl_c_ends_a_frozen_operation() {
    let mut counting = Counting::start(&[]).suspended();
    let pid = counting.pid();
    counting.signal("-INT");
    assert_eq!(counting.end().0, Some(130));
    assert_eq!((counting.guests(), cgroups_of(pid)), (0, 0));
    // It stays suspended, and says what happened to the operation.
    assert_eq!(counting.status()["state"], "suspended");
    let resumed = counting.lab.sandbox(&["resume", "--json"]).code(0).json();
    assert_eq!(resumed["operations"], Value::Array(Vec::new()));
    assert_eq!(resumed["ended"].as_array().unwrap().len(), 1);
    let log = counting.lab.sandbox(&["log", "--json"]).json();
    assert_eq!(log[0]["report"]["outcome"], "cancelled");
}

#[test]
fn kill_9_ends_a_frozen_operation_and_resume_says_that_it_is_lost() {
    let mut counting = Counting::start(&[]).suspended();
    let pid = counting.pid();
    counting.signal("-KILL");
    assert_eq!(counting.end().0, None);
    wait_until("the guest is dead", || counting.guests() == 0);
    let resumed = counting.lab.sandbox(&["resume"]);
    resumed.code(0).says("was lost");
    assert_eq!(counting.status()["state"], "ready");
    let log = counting.lab.sandbox(&["log", "--json"]).json();
    assert_eq!(log[0]["interrupted"], true);
    assert_eq!(counting.lab.read("n"), None);
    counting.lab.sandbox(&["run", "--", "true"]).code(0);
    wait_until("its cgroups are removed", || {
        counting.lab.sandbox(&["destroy"]).code(0);
        cgroups_of(pid) == 0
    });
}

#[test]
fn a_suspend_that_was_killed_is_brought_to_its_end() {
    let counting = Counting::start(&[]).suspended();
    let file = counting.lab.data().join("sandboxes/box/suspended.json");
    // As it is while the processes are being frozen.
    let text = fs::read_to_string(&file).unwrap();
    let half = text.replace("\"complete\": true", "\"complete\": false");
    assert_ne!(text, half);
    fs::write(&file, half).unwrap();
    counting.lab.sandbox(&["suspend"]).code(0);
    counting.lab.sandbox(&["suspend"]).code(1);
    counting.lab.sandbox(&["resume"]).code(0);
    let before = counting.count();
    wait_until("it goes on", || counting.count() > before);
}

#[test]
fn two_terminals_may_suspend_at_once_and_one_does() {
    let counting = Counting::start(&[]);
    let start = || {
        let mut command = counting.lab.command(&["suspend"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let codes: Vec<Option<i32>> = [start(), start(), start()]
        .into_iter()
        .map(|mut child| child.wait().unwrap().code())
        .collect();
    let done = codes.iter().filter(|code| **code == Some(0)).count();
    assert_eq!(done, usize::from(counting.status()["state"] == "suspended"));
    assert_eq!(done, 1, "{codes:?}");
}

#[test]
fn an_operation_that_starts_while_another_suspends_is_frozen_or_refused() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    for _ in 0..5 {
        let mut runs: Vec<Child> = (0..3)
            .map(|_| {
                let mut command = lab.command(&["run", "--shell", "sleep 60"]);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            })
            .collect();
        let suspended = lab.sandbox(&["suspend"]);
        if suspended.status.success() {
            let status = lab.sandbox(&["status", "--json"]).json();
            let frozen = status["running"].as_array().unwrap().len();
            let waiting = |run: &mut Child| run.try_wait().unwrap().is_none();
            // Who is not frozen is on its way out, refused.
            wait_until("the others are refused", || true);
            let started = Instant::now();
            while runs
                .iter_mut()
                .filter_map(|run| waiting(run).then_some(()))
                .count()
                > frozen
            {
                assert!(started.elapsed() < PATIENCE, "{status:#}");
                std::thread::yield_now();
            }
            lab.sandbox(&["resume"]).code(0);
        } else {
            // Without a cgroup one may be busy being born.
            suspended.code(1);
            assert!(!rustix_is_root(), "{suspended}");
        }
        for run in &mut runs {
            let pid = run.id().to_string();
            let _gone = Command::new("kill").args(["-INT", &pid]).output().unwrap();
            run.wait().unwrap();
        }
    }
}

#[test]
fn a_plan_shows_every_step_and_what_was_validated() {
    let lab = Lab::new();
    let plan = lab.sandbox(&["create", "box", "-w", "../new", "--dry-run", "--json"]);
    let plan = plan.code(0).json();
    assert_eq!(
        (&plan["made"], &plan["sandbox"]),
        (&false.into(), &"box".into())
    );
    let acts: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["act"].as_str().unwrap())
        .collect();
    assert_eq!(acts[..2], ["prepare_home", "make_workspace"]);
    assert_eq!(*acts.last().unwrap(), "add_to_index");
    let parts: Vec<&Value> = plan["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| &check["part"])
        .collect();
    for part in ["workspace", "resources", "security"] {
        assert!(parts.contains(&&Value::from(part)), "{part}");
    }
    assert!(!lab.data().exists() && !lab.root().join("new").exists());

    let config = lab.root().join("config.yaml");
    fs::write(&config, "resource_limits: {memory_mb: 512}\n").unwrap();
    let config = config.display().to_string();
    lab.sandbox(&["create", "--dry-run", "-c", &config])
        .code(0)
        .prints("1. prepare")
        .prints("512M")
        .prints("Landlock");
    fs::write(&config, "resource_limits: {memory_mb: -1}\n").unwrap();
    lab.sandbox(&["create", "--dry-run", "-c", &config]).code(2);
}
