//! `sandbox events`: the history, what comes, and where it stops.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::symlink,
    process::{Child, ChildStdout, Command},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// `sandbox events -f --json` in another terminal.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Following {
    fn start(lab: &Lab, options: &[&str]) -> Self {
        let mut args = vec!["events", "-f", "--json"];
        args.extend(options);
        let mut child = lab.command(&args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[track_caller]
    fn ends(mut self, expected: i32) -> String {
        let started = Instant::now();
        let (_never, timer) = mpsc::channel::<()>();
        while self.child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "it goes on and on");
            let _passed = timer.recv_timeout(Duration::from_millis(5));
        }
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(expected), ""));
        rest
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn sequences(lines: &str) -> Vec<u64> {
    lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["sequence"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

#[test]
fn the_history_is_shown_from_any_number_and_by_kind() {
    let lab = Lab::new();
    lab.run("echo a > a");
    lab.sandbox(&["undo"]).code(0);
    let all = lab.sandbox(&["events", "--json"]).code(0).stdout.clone();
    assert_eq!(sequences(&all), [1, 2, 3, 4]);
    let last: Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!(last["kind"], "operation.undone");
    assert_eq!(last["sandbox"], "workspace");
    let later = lab.sandbox(&["events", "--json", "--since", "2"]);
    assert_eq!(sequences(&later.code(0).stdout), [3, 4]);
    let none = lab.sandbox(&["events", "--json", "--since", "99"]);
    assert_eq!(none.code(0).stdout, "");
    let some = lab.sandbox(&[
        "events",
        "--json",
        "--kind",
        "*.finished",
        "--kind",
        "sandbox.*",
    ]);
    assert_eq!(sequences(&some.code(0).stdout), [1, 3]);
    lab.sandbox(&["events"])
        .code(0)
        .prints("operation.started")
        .prints("echo a > a")
        .prints("completed");
    lab.sandbox(&["events", "--since", "x"]).code(2);
    let started = lab.sandbox(&["events", "--json", "--kind", "*.start?d"]);
    assert!(started.code(0).stdout.contains("operation.started"));
    assert!(!started.stdout.contains("operation.finished"));
    lab.sandbox(&["events", "--kind", "[a"])
        .code(2)
        .says("--kind");
    lab.sandbox(&["events", "-s", "nobody"]).code(1);
}

#[test]
fn what_others_do_is_followed_until_the_sandbox_is_destroyed() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    let mut following = Following::start(&lab, &["--since", "0"]);
    assert_eq!(following.next()["kind"], "sandbox.created");
    lab.run("true");
    assert_eq!(following.next()["kind"], "operation.started");
    let finished = following.next();
    assert_eq!(finished["kind"], "operation.finished");
    assert_eq!(finished["data"]["outcome"], "completed");
    lab.sandbox(&["destroy"]).code(0);
    assert_eq!(following.next()["kind"], "sandbox.destroyed");
    assert_eq!(following.ends(0), "");
}

#[test]
fn many_runs_at_once_are_followed_without_loss() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    let mut following = Following::start(&lab, &["--since", "1"]);
    let mut runs: Vec<Child> = (0..8)
        .map(|_| lab.command(&["run", "--", "true"]).spawn().unwrap())
        .collect();
    let seen: Vec<u64> = (0..16)
        .map(|_| following.next()["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, (2..=17).collect::<Vec<u64>>());
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
}

#[test]
fn following_ends_with_ctrl_c_and_with_its_reader() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    let mut interrupted = Following::start(&lab, &["--since", "0"]);
    interrupted.next();
    let pid = interrupted.child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert_eq!(interrupted.ends(0), "");

    // Nothing happens any more, and yet it notices that nobody reads.
    let mut piped = Following::start(&lab, &["--since", "0"]);
    piped.next();
    piped.lines = {
        let (reader, _writer) = std::io::pipe().unwrap();
        BufReader::new(ChildStdout::from(std::os::fd::OwnedFd::from(reader)))
    };
    assert_eq!(piped.ends(0), "");
}

#[test]
fn an_idle_follower_uses_no_time() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    let mut following = Following::start(&lab, &["--since", "0"]);
    following.next();
    let switches = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", following.child.id())).unwrap();
        tasks
            .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .flat_map(|text| {
                let of = |line: &str| {
                    line.split_once("ctxt_switches:")
                        .map(|it| it.1.trim().parse::<u64>().unwrap())
                };
                text.lines().filter_map(of).collect::<Vec<u64>>()
            })
            .sum::<u64>()
    };
    // It comes to rest, and then stays at rest for a second.
    let (_never, timer) = mpsc::channel::<()>();
    let rests = |span| {
        let before = switches();
        let _passed = timer.recv_timeout(span);
        switches() == before
    };
    let started = Instant::now();
    while !rests(Duration::from_secs(1)) {
        assert!(started.elapsed() < PATIENCE, "it never rests");
    }
}

#[test]
fn the_configured_file_gets_every_event() {
    let lab = Lab::new();
    let file = lab.root().join("outside/events.jsonl");
    let config = lab.root().join("config.yaml");
    fs::write(&config, format!("events: {{file: {}}}\n", file.display())).unwrap();
    let config = config.display().to_string();
    lab.sandbox(&["create", "box", "-c", &config]).code(0);
    lab.run("true");
    lab.sandbox(&["suspend"]).code(0);
    lab.sandbox(&["resume"]).code(0);
    lab.sandbox(&["destroy"]).code(0);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(sequences(&text), [2, 3, 4, 5, 6]);
    assert!(text.lines().last().unwrap().contains("sandbox.destroyed"));
}

#[test]
fn a_file_that_cannot_be_written_is_told_once_and_stops_nothing() {
    let lab = Lab::new().env("SANDBOX_EVENTS__FILE", "/proc/version");
    let ended = lab.sandbox(&["run", "--shell", "echo hi > a"]);
    ended.code(0).says("cannot write events to /proc/version");
    assert_eq!(ended.stderr.matches("cannot write events").count(), 1);
    assert_eq!(lab.read("a").unwrap(), "hi\n");

    // A link to the workspace hides nothing, and our own files are not to be appended to.
    let link = lab.root().join("link");
    symlink(lab.workspace(), &link).unwrap();
    let mut lab = lab;
    for (file, place) in [
        (lab.workspace().join("events.jsonl"), "the workspace"),
        (link.join("events.jsonl"), "the workspace"),
        (lab.data().join("journal.log"), "the sandbox's own data"),
    ] {
        lab = lab.env("SANDBOX_EVENTS__FILE", file.display().to_string());
        lab.sandbox(&["run", "--", "true"])
            .code(2)
            .says(&format!("lies in {place}"));
    }
    assert_eq!(lab.read("events.jsonl"), None);
}
