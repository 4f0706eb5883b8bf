//! What is measured, kept and checked: `stats`, alerts, `health` with real crashes, `metrics`.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// Waits until `condition` holds, at most 30 seconds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn state(health: &Value, name: &str) -> String {
    let checks = health["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["name"] == name);
    found.unwrap()["state"].as_str().unwrap().to_owned()
}

fn health(lab: &Lab, args: &[&str]) -> Value {
    lab.sandbox(&[&["health", "--json"], args].concat()).json()
}

/// Starts a run that writes a file and then waits; returns when the file is there.
fn started(lab: &Lab) -> Child {
    let text = "echo half > half; sleep 600";
    let child = lab
        .command(&["run", "-q", "--shell", text])
        .spawn()
        .unwrap();
    let transactions = lab.data().join("layers/workspace/tx");
    eventually("the guest has written its file", || {
        let mut sets = fs::read_dir(&transactions).into_iter().flatten().flatten();
        sets.any(|set| set.path().join("upper/half").exists())
    });
    child
}

#[test]
fn stats_counts_every_operation() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    let none = lab.sandbox(&["stats", "--json"]).code(0).json();
    assert_eq!(none["operations"], 0);
    lab.sandbox(&["stats"]).code(0).prints("operations  0");
    lab.run("head -c 100000 /dev/zero > made");
    lab.run("exit 3");
    lab.run("rm -rf / --no-preserve-root");
    let stats = lab
        .sandbox(&["stats", "--since", "1h", "--json"])
        .code(0)
        .json();
    assert_eq!(stats["operations"], 3, "{stats:#}");
    assert_eq!(stats["outcomes"]["completed"], 1);
    assert_eq!(stats["outcomes"]["failed"], 1);
    assert_eq!(stats["outcomes"]["denied"], 1);
    assert_eq!(stats["written_bytes"]["sum"], 100_000.0);
    assert!(stats["cpu_ms"]["sum"].as_f64().unwrap() > 0.0);
    assert!(stats["memory_peak_bytes"]["max"].as_f64().unwrap() > 0.0);
    let in_periods: u64 = stats["periods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|period| period["operations"].as_u64().unwrap())
        .sum();
    assert_eq!(in_periods, 3);
    lab.sandbox(&["stats"])
        .code(0)
        .prints("1 completed, 1 failed, 1 denied")
        .prints("memory peak");
    for wrong in ["0s", "yesterday", "-1h"] {
        lab.sandbox(&["stats", &format!("--since={wrong}")]).code(2);
    }
}

#[test]
fn a_busy_operation_raises_one_alert_that_ends_with_it() {
    let lab = Lab::new()
        .env("SANDBOX_MONITORING_CONFIG__COLLECTION_INTERVAL", "1")
        .env(
            "SANDBOX_MONITORING_CONFIG__RESOURCE_THRESHOLDS__CPU_PERCENT",
            "1",
        );
    let report = lab.run_with(&["--timeout", "5s"], "while :; do :; done");
    let alerts = report["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "{report:#}");
    assert_eq!(alerts[0]["metric"], "cpu");
    assert_eq!(alerts[0]["threshold_percent"], 1.0);
    assert!(alerts[0]["resolved_at"].is_string());
    let audit = lab.sandbox(&["audit", "show"]).code(0).stdout.clone();
    assert_eq!(audit.matches("alert.raised").count(), 1, "{audit}");
    assert_eq!(audit.matches("alert.resolved").count(), 1, "{audit}");
    // In words.
    lab.sandbox(&["show"])
        .prints("alert      ")
        .prints(" % was to be told; since ");
    let events = lab.sandbox(&["events", "--kind", "alert.*"]);
    assert_eq!(
        events.code(0).stdout.matches(" % of ").count(),
        2,
        "{events}"
    );
    let stats = lab.sandbox(&["stats", "--json"]).code(0).json();
    assert_eq!(stats["alerts"], 1);
    // The control: the same time, asleep.
    let quiet = lab.run("sleep 3");
    assert!(quiet["alerts"].is_null(), "{quiet:#}");
}

#[test]
fn a_killed_run_is_seen_and_repaired() {
    let lab = Lab::new();
    lab.run("touch before");
    assert_eq!(health(&lab, &[])["ok"], true);
    let mut run = started(&lab);
    assert_eq!(state(&health(&lab, &[]), "transactions"), "healthy");
    run.kill().unwrap();
    run.wait().unwrap();
    // The kernel needs a moment to end the guest, which holds the transaction.
    eventually("the transaction is nobody's", || {
        state(&health(&lab, &[]), "transactions") == "failed"
    });
    // The control: looking changes nothing.
    lab.sandbox(&["health"])
        .code(1)
        .prints("interrupted")
        .says("health --repair");
    let repaired = lab
        .sandbox(&["health", "--repair", "--json"])
        .code(0)
        .json();
    assert_eq!(repaired["repairs"][0]["end"], "done", "{repaired:#}");
    lab.sandbox(&["health", "--repair"]).code(0);
    assert_eq!(
        health(&lab, &["--repair"])["repairs"],
        Value::Array(Vec::new())
    );
    assert!(lab.read("half").is_none() && lab.read("before").is_some());
    lab.sandbox(&["audit", "show"])
        .code(0)
        .prints("recovery.begun")
        .prints("recovery.done");
    let stats = lab.sandbox(&["stats", "--json"]).code(0).json();
    assert_eq!(stats["outcomes"]["killed"], 1, "{stats:#}");
}

/// A guest ends with its caller, but not while its first process is stopped.
#[test]
fn a_guest_that_outlived_its_caller_is_found_and_ended() {
    let lab = Lab::new();
    let mut run = started(&lab);
    let usage = lab.data().join("sandboxes/workspace/usage.log");
    eventually("a sample is taken", || {
        fs::metadata(&usage).is_ok_and(|it| it.len() >= 512)
    });
    let first = first_of_guest(run.id());
    signal("STOP", first);
    run.kill().unwrap();
    run.wait().unwrap();
    for _ in 0..2 {
        let found = health(&lab, &[]);
        assert_eq!(state(&found, "orphans"), "failed", "{found:#}");
    }
    assert!(is_alive(first), "looking ends nothing");
    let repaired = lab.sandbox(&["health", "--repair", "--json"]).json();
    assert_eq!(repaired["repairs"][0]["check"], "orphans", "{repaired:#}");
    assert_eq!(repaired["repairs"][0]["end"], "done", "{repaired:#}");
    eventually("it is ended", || !is_alive(first));
    // Ended, it no longer holds the transaction.
    eventually("nothing is left to repair", || {
        let again = health(&lab, &["--repair"]);
        state(&again, "transactions") == "healthy" && state(&again, "orphans") == "healthy"
    });
    assert!(lab.read("half").is_none());
}

/// Returns the first process of the guest below `caller`.
fn first_of_guest(caller: u32) -> u32 {
    let mut waiting = vec![caller];
    while let Some(pid) = waiting.pop() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find(|line| line.starts_with("NSpid:"));
        let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().skip(1).collect();
        if ids.len() > 1 && ids.last() == Some(&"1") {
            return pid;
        }
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            waiting.extend(
                children
                    .split_whitespace()
                    .map(|it| it.parse::<u32>().unwrap()),
            );
        }
    }
    panic!("no guest below {caller}");
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

#[test]
fn doctor_repairs_every_sandbox_of_the_user() {
    let lab = Lab::new();
    let mut run = started(&lab);
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("the transaction is nobody's", || {
        state(&health(&lab, &[]), "transactions") == "failed"
    });
    // The control: without the flag nothing is repaired, and nothing is said of it.
    let looked = lab.sandbox(&["doctor", "--json"]).json();
    assert!(looked["repaired"].is_null(), "{looked:#}");
    assert_eq!(state(&health(&lab, &[]), "transactions"), "failed");
    let told = lab.sandbox(&["doctor", "--repair", "--json"]).json();
    let repaired = &told["repaired"][0];
    assert_eq!(repaired["sandbox"], "workspace", "{told:#}");
    assert_eq!(repaired["repairs"][0]["end"], "done", "{told:#}");
    assert_eq!(repaired["ok"], true, "{told:#}");
    assert_eq!(state(&health(&lab, &[]), "transactions"), "healthy");
    // What the machine itself lacks, as a disk that is nearly full, is said again each time.
    let again = lab.sandbox(&["doctor", "--repair"]);
    again.code(0).prints("workspace: ");
    assert!(!again.stdout.contains("transactions "), "{}", again.stdout);
}

#[test]
fn what_cannot_be_repaired_is_said() {
    let lab = Lab::new();
    lab.run("true");
    let usage = lab.data().join("sandboxes/workspace/usage.log");
    let mut bytes = fs::read(&usage).unwrap();
    bytes[20] ^= 1;
    fs::write(&usage, bytes).unwrap();
    let degraded = lab.sandbox(&["health", "--json"]).code(0).json();
    assert_eq!(state(&degraded, "usage"), "degraded", "{degraded:#}");
    lab.sandbox(&["stats"])
        .code(0)
        .says("1 records of the usage history are damaged");
    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let failed = lab
        .sandbox(&["health", "--repair", "--json"])
        .code(1)
        .json();
    assert_eq!(state(&failed, "journal"), "failed", "{failed:#}");
    fs::remove_dir_all(lab.workspace()).unwrap();
    let mut command = lab.command(&["-s", "workspace", "health"]);
    let ended = command.current_dir(lab.root()).output().unwrap();
    fs::create_dir(lab.workspace()).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("was removed"));
}

#[test]
fn metrics_are_as_prometheus_reads_them() {
    let lab = Lab::new();
    lab.sandbox(&["metrics"])
        .code(0)
        .prints("sandbox_host_cpus");
    lab.run("touch a");
    lab.run("exit 1");
    lab.sandbox(&["create", "other", "-w", "../with \"quotes\" \\"])
        .code(0);
    let text = lab.sandbox(&["metrics"]).code(0).stdout.clone();
    for expected in [
        "sandbox_operations_total{outcome=\"completed\",sandbox=\"workspace\"} 1",
        "sandbox_operations_total{outcome=\"failed\",sandbox=\"workspace\"} 1",
        "sandbox_up{sandbox=\"other\"} 1",
        "with \\\"quotes\\\" \\\\\"} 1",
        "sandbox_health_check_state{check=\"transactions\",sandbox=\"workspace\"} 0",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    well_formed(&text);
    let one = lab
        .sandbox(&["-s", "other", "metrics"])
        .code(0)
        .stdout
        .clone();
    assert!(!one.contains("sandbox=\"workspace\""), "{one}");
    let json = lab.sandbox(&["metrics", "--json"]).code(0).json();
    assert!(
        json.as_array()
            .unwrap()
            .iter()
            .all(|it| it["help"].is_string())
    );
    lab.sandbox(&["-s", "nothere", "metrics"]).code(1);
}

/// Each name has one HELP and one TYPE before its samples, and each sample is there once.
fn well_formed(text: &str) {
    let mut names = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(names.insert(current), "two families {current}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert!(kind.starts_with(&format!("{current} ")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next().unwrap(), current, "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(series), "twice: {series}");
        }
    }
    assert!(samples.len() > 20);
}
