//! Operations that nobody waits for: started, listed, followed, waited for, ended from elsewhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    lab
}

/// Starts shell text, and returns its id.
#[track_caller]
fn detach(lab: &Lab, script: &str) -> String {
    let ended = lab.sandbox(&["run", "-q", "--detach", "--shell", script]);
    ended.code(0);
    let id = ended.stdout.trim().to_owned();
    assert!(
        id.len() > 20 && !id.contains(char::is_whitespace),
        "{ended}"
    );
    id
}

fn running(lab: &Lab) -> Value {
    lab.sandbox(&["ps", "--json"]).code(0).json()
}

/// Whether a process with `marker` among its arguments lives.
fn is_alive(marker: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let list = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        list.split(|&byte| byte == 0)
            .any(|word| word == marker.as_bytes())
    })
}

/// A number of seconds that no other process sleeps.
fn marker(seed: u32) -> String {
    format!("{seed}{}", std::process::id())
}

#[test]
fn it_runs_on_is_listed_followed_and_waited_for() {
    let lab = lab();
    let script = "echo out; echo err >&2; until test -e /tmp/on; do sleep 0.05; test $((n+=1)) -gt 30 && touch /tmp/on; done; \
                  echo late; touch made; exit 4";
    let id = detach(&lab, script);
    let listed = running(&lab);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["detached"]),
        (&id.as_str().into(), &true.into())
    );
    let usage = &listed[0]["usage"];
    assert!(usage["memory_bytes"].as_u64() > Some(0), "{listed:#}");
    assert!(usage["cpu_ms"].is_f64() && usage["tasks"].as_u64() > Some(0));
    let short = &id[id.len() - 8..];
    lab.sandbox(&["ps"])
        .code(0)
        .prints(short)
        .prints("detached");
    lab.sandbox(&["status"]).code(0).prints("running");
    lab.sandbox(&["wait", "--timeout", "50ms", &id])
        .code(124)
        .says("runs on");
    let followed = lab.sandbox(&["logs", "-f", short]);
    followed.code(0);
    assert_eq!(
        (followed.stdout.as_str(), followed.stderr.as_str()),
        ("out\nlate\n", "err\n")
    );
    lab.sandbox(&["wait", &id]).code(4).says("failed (4)");
    let report = lab.sandbox(&["wait", "--json", &id]).code(4).json();
    assert_eq!(report["changes"]["settlement"], "committed");
    assert_eq!(lab.read("made").as_deref(), Some(""));
    // What is over can be read as long as it is kept.
    assert_eq!(
        lab.sandbox(&["logs", &id, "--stdout"]).stdout,
        "out\nlate\n"
    );
    assert_eq!(lab.sandbox(&["logs", &id, "--stderr"]).stderr, "err\n");
    let lines = lab.sandbox(&["logs", &id, "--json"]).code(0).stdout.clone();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["stream"], &first["text"]),
        (&"stdout".into(), &"out\n".into())
    );
    lab.sandbox(&["ps"]).code(0).says("nothing runs");
    lab.sandbox(&["undo", &id]).code(0);
    lab.sandbox(&["destroy"]).code(0);
}

#[test]
fn what_does_not_run_is_told_at_once() {
    let lab = lab();
    let before = lab.tree();
    lab.sandbox(&["run", "--detach", "--", "rm", "-rf", "/"])
        .code(126)
        .says("the judge denies it");
    let report = lab
        .sandbox(&["run", "--detach", "--json", "--", "rm", "-rf", "/"])
        .code(126)
        .json();
    assert_eq!(report["outcome"], "denied");
    lab.sandbox(&["run", "--detach", "--", "no-such-program"])
        .code(127)
        .says("command not found");
    let asked = [
        "run", "--detach", "--net", "host", "--", "git", "push", "--force",
    ];
    lab.sandbox(&asked).code(126).says("waits as");
    lab.sandbox(&["run", "--detach", "--read", "/no/such", "--", "true"])
        .code(2);
    lab.sandbox(&["suspend"]).code(0);
    lab.sandbox(&["run", "--detach", "--", "true"])
        .code(126)
        .says("suspended");
    lab.sandbox(&["resume"]).code(0);
    assert_eq!(running(&lab), Value::Array(Vec::new()));
    assert_eq!(lab.tree(), before);
    lab.sandbox(&["supervise"]).code(2).says("run --detach");
    // None of them has left a log, but the one that was started.
    let logs = fs::read_dir(lab.data().join("sandboxes/box/output")).unwrap();
    assert!(logs.count() <= 1);
    let started = lab
        .sandbox(&["run", "--detach", "--json", "--", "true"])
        .code(0)
        .json();
    let id = started["operation"].as_str().unwrap();
    assert!(started["pid"].is_u64() && started["sandbox"] == "box");
    lab.sandbox(&["wait", id]).code(0);
}

#[test]
fn it_outlives_what_started_it_and_holds_nothing_of_it() {
    let lab = lab();
    let marker = marker(41);
    // A pipe that the shell would wait for, a session that ends, a directory that is removed.
    let script = format!("exec sleep {marker}");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new("setsid");
    let run = lab.command(&["run", "-q", "--detach", "--shell", &script]);
    command
        .arg("sh")
        .arg("-c")
        .arg("exec \"$@\" 7>&1")
        .arg("sh");
    command.arg(run.get_program()).args(run.get_args());
    command.envs(
        run.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.current_dir(lab.workspace()).stdin(Stdio::null());
    let mut started = command.stdout(writer).spawn().unwrap();
    drop(command);
    let mut id = String::new();
    // The end of the pipe: nobody holds it, not as number 7 either.
    std::io::Read::read_to_string(&mut reader, &mut id).unwrap();
    assert!(started.wait().unwrap().success());
    let listed = running(&lab);
    assert_eq!(listed[0]["id"], id.trim());
    let pid = listed[0]["process"]["pid"].as_u64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Leader of its own session (field 6), without a terminal (field 7).
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"));
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd"))
            .unwrap()
            .as_os_str(),
        "/"
    );
    assert!(is_alive(&marker));
    lab.sandbox(&["destroy"])
        .code(1)
        .says("an operation is running")
        .says("sandbox kill");
    lab.sandbox(&["kill", "--grace", "0s", id.trim()]).code(0);
    wait_until("nothing is left", || {
        !is_alive(&marker) && !fs::exists(format!("/proc/{pid}/fd")).unwrap_or(true)
    });
}

#[test]
fn a_kill_ends_the_tree_and_says_who() {
    let lab = lab();
    let marker = marker(42);
    let script = format!(
        "trap 'echo bye; exit 0' TERM; (setsid sleep {marker} &) ; echo up; while :; do sleep 0.05; done"
    );
    let id = detach(&lab, &script);
    wait_until("it is up", || lab.sandbox(&["logs", &id]).stdout == "up\n");
    lab.sandbox(&["kill", &id]).code(0).says("killed");
    assert!(!is_alive(&marker));
    lab.sandbox(&["wait", &id])
        .code(143)
        .says("killed with SIGTERM by user");
    lab.sandbox(&["logs", &id]).code(0).prints("up\nbye\n");
    let shown = lab.sandbox(&["show", &id, "--json"]).code(0).json();
    assert_eq!(
        (&shown["outcome"], &shown["signal"]),
        (&"killed".into(), &15.into())
    );
    let events = lab.sandbox(&["events", "--json", "--kind", "operation.kill*"]);
    let event: Value = serde_json::from_str(events.stdout.trim()).unwrap();
    assert_eq!(event["data"]["operation"], id.as_str());
    assert_eq!(event["data"]["by"]["via"], "command-line");

    // Who does not listen is killed after the grace time, also while it is stopped.
    let id = detach(
        &lab,
        "trap '' TERM; (kill -STOP $$ &); echo up; while :; do sleep 0.05; done",
    );
    let killed = lab
        .sandbox(&["kill", "--grace", "100ms", "--json", &id])
        .code(0)
        .json();
    assert_eq!(
        (&killed["outcome"], &killed["signal"]),
        (&"killed".into(), &9.into())
    );

    lab.sandbox(&["kill", &id]).code(1).says("is not running");
    for command in ["kill", "logs"] {
        lab.sandbox(&[command, "no-such-operation"])
            .code(1)
            .says("there is no operation");
    }
    lab.sandbox(&["wait", "no-such-operation"]).code(1);
    lab.sandbox(&["kill", "--signal", "USR7", &id])
        .code(2)
        .says("expected HUP");
    let orders = lab.data().join("sandboxes/box/orders");
    assert_eq!(fs::read_dir(orders).unwrap().count(), 0);
}

#[test]
fn an_operation_of_another_terminal_is_listed_and_killed_too() {
    let lab = lab();
    let run = lab
        .command(&["run", "--shell", "echo up; exec sleep 100"])
        .spawn()
        .unwrap();
    wait_until("it runs", || running(&lab)[0]["id"].is_string());
    let listed = running(&lab);
    assert_eq!(
        (&listed[0]["detached"], &listed[0]["process"]["pid"]),
        (&false.into(), &run.id().into())
    );
    let id = listed[0]["id"].as_str().unwrap();
    lab.sandbox(&["logs", id]).code(1).says("run --detach");
    lab.sandbox(&["kill", "--signal", "int", id]).code(0);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("killed with SIGINT by user"));
    // Of one that is over, the report has the beginning.
    lab.sandbox(&["logs", id]).code(0).prints("up\n");
}

#[test]
fn a_frozen_operation_is_killed_too() {
    let lab = lab();
    let marker = marker(43);
    let id = detach(&lab, &format!("exec sleep {marker}"));
    let suspended = lab.sandbox(&["suspend"]);
    if !suspended.status.success() {
        // On hosts that give this user no freezer.
        suspended.code(1).says("no cgroup that can be frozen");
        lab.sandbox(&["kill", "--grace", "0s", &id]).code(0);
        return;
    }
    lab.sandbox(&["kill", "--grace", "100ms", &id])
        .code(0)
        .says("killed");
    assert!(!is_alive(&marker));
    let resumed = lab.sandbox(&["resume", "--json"]).code(0).json();
    assert_eq!(resumed["ended"][0], id.as_str());
}

#[test]
fn kill_9_of_its_supervisor_leaves_nothing_running_and_is_noticed() {
    let lab = lab();
    let marker = marker(44);
    let id = detach(&lab, &format!("echo up; touch made; exec sleep {marker}"));
    wait_until("it is up", || lab.sandbox(&["logs", &id]).stdout == "up\n");
    let pid = running(&lab)[0]["process"]["pid"].to_string();
    let waiting = lab.command(&["wait", &id]).spawn().unwrap();
    let following = lab.command(&["logs", "-f", &id]).spawn().unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(waiting.wait_with_output().unwrap().status.code(), Some(137));
    assert_eq!(following.wait_with_output().unwrap().stdout, b"up\n");
    wait_until("the guest is dead", || !is_alive(&marker));
    assert_eq!(lab.read("made"), None);
    let log = lab.sandbox(&["log", "--json"]).json();
    assert_eq!(
        (&log[0]["id"], &log[0]["interrupted"]),
        (&id.as_str().into(), &true.into())
    );
    // A later process with that number is not it: nothing is killed by a number.
    lab.sandbox(&["kill", &id]).code(1).says("is not running");
    lab.sandbox(&["logs", &id]).code(0).prints("up");
}

#[test]
fn a_log_takes_a_bounded_place_and_keeps_both_ends() {
    let lab = lab();
    let config = lab.root().join("config.yaml");
    fs::write(&config, "resource_limits: {output_mb: 1}\n").unwrap();
    let id = detach(&lab, "seq 1 2000000; printf '\\377\\033]0;title\\007'");
    lab.sandbox(&["wait", &id]).code(0);
    let directory = lab.data().join("sandboxes/box/output").join(&id);
    let files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let sizes = files.iter().map(|it| it.metadata().unwrap().len());
    assert!(sizes.sum::<u64>() < 3 * 1024 * 1024);
    for file in &files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut command = lab.command(&["logs", &id]);
    let output = command.output().unwrap();
    assert!(output.stdout.starts_with(b"1\n2\n3\n"));
    // Raw, as it was printed: nobody sits at a pipe.
    assert!(
        output
            .stdout
            .ends_with(b"\n1999999\n2000000\n\xff\x1b]0;title\x07")
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("bytes are not kept"));
}

#[test]
fn the_report_is_written_when_it_ends() {
    let lab = lab();
    let file = lab.root().join("outside/report.json");
    let path = file.display().to_string();
    let args = [
        "run",
        "-q",
        "--detach",
        "--report",
        &path,
        "--shell",
        "sleep 0.1; exit 5",
    ];
    let ended = lab.sandbox(&args);
    let id = ended.code(0).stdout.trim().to_owned();
    lab.sandbox(&["wait", &id]).code(5);
    wait_until("the report is there", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        serde_json::from_str::<Value>(&text).is_ok_and(|report| report["exit_code"] == 5)
    });
}
