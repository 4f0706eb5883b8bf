//! Limits of `run`: each is shown by an attempt that it ends or refuses, and by the same attempt below the limit.
//!
//! What only a cgroup can hold is refused where the user has none; the tests see that then.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::lab::Lab;

/// Runs a script: the judge does not see what is in it, so that only a limit can end it.
fn attempt(lab: &Lab, options: &[&str], script: &str) -> Value {
    fs::write(lab.workspace().join("attempt.sh"), script).unwrap();
    lab.run_with(options, "exec bash attempt.sh")
}

#[track_caller]
fn ended_by(report: &Value, limit: &str) {
    assert_eq!(report["outcome"], "limit_exceeded", "{report:#}");
    assert_eq!(report["limits"]["exceeded"], limit, "{report:#}");
}

#[track_caller]
fn completed(report: &Value) {
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert_eq!(report["limits"]["exceeded"], Value::Null);
}

/// Whether this user has cgroups; if not, `options` must be refused with a way out.
#[track_caller]
fn holds(lab: &Lab, options: &[&str]) -> bool {
    let mut args = vec!["run"];
    args.extend(options);
    args.extend(["--", "true"]);
    let ended = lab.sandbox(&args);
    if ended.status.success() {
        return true;
    }
    ended.code(125).says("limit").says("best_effort");
    false
}

#[test]
fn cpu_time_is_that_of_all_processes() {
    let lab = Lab::new();
    let together = "for i in 1 2 3; do (while :; do :; done) & done; wait";
    let report = attempt(&lab, &["--cpu-time", "2s", "--timeout", "5m"], together);
    ended_by(&report, "cpu_time");
    assert!(report["usage"]["cpu_ms"].as_f64().unwrap() < 60_000.0);
    // Each of these alone is far from it.
    let in_turn = "while :; do bash -c 'for ((i = 0; i < 20000; i++)); do :; done'; done";
    let report = attempt(&lab, &["--cpu-time", "2s", "--timeout", "5m"], in_turn);
    ended_by(&report, "cpu_time");
    // Control: who waits uses none, and ends by another limit.
    let report = attempt(&lab, &["--cpu-time", "1m", "--timeout", "3s"], "sleep 60");
    assert_eq!(report["limits"]["exceeded"], "wall_time", "{report:#}");
    let ended = lab.sandbox(&[
        "run",
        "--cpu-time",
        "1s",
        "--",
        "bash",
        "-c",
        "while :; do :; done",
    ]);
    ended.code(152).says("--cpu-time");
}

#[test]
fn output_without_end_is_ended() {
    let lab = Lab::new();
    let report = attempt(&lab, &["--output-total", "1M"], "yes & yes >&2");
    ended_by(&report, "output");
    let printed = |stream: &str| report[stream]["bytes"].as_u64().unwrap();
    assert!(printed("stdout") + printed("stderr") > 1 << 20);
    completed(&attempt(
        &lab,
        &["--output-total", "1M"],
        "yes | head -c 900000",
    ));
    // In one go, before anybody looks.
    let report = attempt(&lab, &["--output-total", "10K"], "head -c 20000 /dev/zero");
    ended_by(&report, "output");
}

#[test]
fn the_number_of_changed_files_is_limited() {
    let lab = Lab::new();
    let make = |count: u32| format!("for ((i = 0; i < {count}; i++)); do : > file$i; done");
    let report = attempt(&lab, &["--inodes", "100"], &make(101));
    ended_by(&report, "inodes");
    assert_eq!(report["changes"]["settlement"], "discarded", "{report:#}");
    assert_eq!(lab.read("file0"), None);
    let report = attempt(
        &lab,
        &["--inodes", "100", "--timeout", "5m"],
        &format!("{}; sleep 600", make(200)),
    );
    ended_by(&report, "inodes");
    completed(&attempt(&lab, &["--inodes", "100"], &make(100)));
    assert_eq!(lab.read("file99").as_deref(), Some(""));
}

/// Looking at what is written comes too late for what one call takes.
#[test]
fn one_call_takes_no_more_than_the_disk_limit() {
    let allocate = |lab: &Lab, size: &str| {
        let script = format!("fallocate -l {size} big; stat -c %s big 2>/dev/null; rm -f big");
        let report = attempt(lab, &["--disk", "10M"], &script);
        let printed = report["execution"]["stdout"].to_string();
        assert!(!printed.contains("not found"), "{report:#}");
        printed.contains("16777216")
    };
    let lab = Lab::new();
    assert!(!allocate(&lab, "16M"), "more than the limit");
    // Control: as much as it may.
    completed(&attempt(
        &lab,
        &["--disk", "20M"],
        "fallocate -l 16M big && rm big",
    ));
    let report = attempt(
        &lab,
        &["--disk", "10M"],
        "exec dd if=/dev/zero of=big bs=16M count=1",
    );
    ended_by(&report, "disk");
    assert_eq!(lab.read("big"), None);
}

#[test]
fn a_deleted_file_that_is_open_counts_as_disk() {
    let lab = Lab::new();
    let script = "exec 3> big; rm big; head -c 30000000 /dev/zero >&3; sleep ${1:-600}";
    let report = attempt(&lab, &["--disk", "10M", "--timeout", "5m"], script);
    ended_by(&report, "disk");
    // Control: below the limit it may.
    let script = script.replace("${1:-600}", "1");
    completed(&attempt(&lab, &["--disk", "100M"], &script));
}

#[test]
fn one_process_has_so_many_files_open_and_no_more() {
    let lab = Lab::new();
    let script = "i=3; while ((i < 200)) && eval \"exec $i< /dev/null\"; do ((i++)); done 2> /dev/null; echo $i; \
                  ulimit -n 500 2> /dev/null || echo no more";
    let report = attempt(&lab, &["--open-files", "50"], script);
    let text = report["stdout"]["text"].as_str().unwrap();
    let opened: u32 = text.lines().next().unwrap().parse().unwrap();
    assert!((40..=50).contains(&opened), "{report:#}");
    assert!(text.ends_with("no more\n"), "{report:#}");
    let report = attempt(&lab, &["--open-files", "400"], script);
    assert!(
        report["stdout"]["text"]
            .as_str()
            .unwrap()
            .starts_with("200\n")
    );
}

#[test]
fn one_file_is_limited_in_size() {
    let lab = Lab::new();
    let ended = lab.sandbox(&[
        "run",
        "--file-size",
        "64K",
        "--",
        "head",
        "-c",
        "100",
        "/dev/zero",
    ]);
    ended.code(0);
    let grow = |size: &str| {
        let script = format!("exec dd if=/dev/zero of=grown bs={size} count=1 status=none");
        attempt(&lab, &["--file-size", "64K"], &script)
    };
    ended_by(&grow("128K"), "file_size");
    completed(&grow("32K"));
}

#[test]
fn temporary_space_is_limited_in_bytes_and_files() {
    let lab = Lab::new();
    let fill = "head -c 4000000 /dev/zero > /tmp/x && echo fits";
    let report = attempt(&lab, &["--tmp-size", "1M"], fill);
    assert_eq!(report["outcome"], "failed", "{report:#}");
    let text = report["stderr"]["text"].as_str().unwrap();
    assert!(text.contains("No space left"), "{report:#}");
    completed(&attempt(&lab, &["--tmp-size", "16M"], fill));
    let many = "set -e; for ((i = 0; i < 3000; i++)); do : > /tmp/$i; done; echo fits";
    let report = attempt(&lab, &["--tmp-size", "1M"], many);
    assert_eq!(report["outcome"], "failed", "{report:#}");
    completed(&attempt(&lab, &["--tmp-size", "64M"], many));
}

#[test]
fn a_bomb_of_processes_or_zombies_ends_on_time_and_is_named() {
    let lab = Lab::new();
    let bombs = [
        "bomb() { bomb | bomb & }; bomb 2> /dev/null; sleep 600",
        "import os, time\nwhile True:\n  try:\n    if os.fork() == 0: os._exit(0)\n  except OSError: time.sleep(0.1)",
        "import threading, time\nwhile True:\n  try: threading.Thread(target=time.sleep, args=(600,)).start()\n  except RuntimeError: time.sleep(0.1)",
    ];
    for bomb in bombs {
        let script = if bomb.starts_with("import") {
            format!("exec /usr/bin/python3 -c '{bomb}'")
        } else {
            bomb.to_owned()
        };
        // How many it can make in that time is up to the machine: an emulated one reads Python for seconds.
        let reached = ["5s", "20s", "80s"].into_iter().find_map(|time| {
            let report = attempt(&lab, &["--pids", "40", "--timeout", time], &script);
            assert_eq!(report["outcome"], "timed_out", "{report:#}");
            (time == "80s" || !report["limits"]["reached"].is_null()).then_some(report)
        });
        let report = reached.unwrap();
        assert_eq!(
            report["limits"]["reached"],
            json!(["processes"]),
            "{report:#}"
        );
        assert!(
            report["usage"]["processes_peak"].as_u64().unwrap() < 50,
            "{report:#}"
        );
    }
    let report = attempt(&lab, &["--pids", "40"], "sleep 0.1 & wait");
    completed(&report);
    assert_eq!(report["limits"]["reached"], Value::Null);
}

#[test]
fn memory_is_counted_wherever_it_is_kept() {
    let lab = Lab::new();
    if !holds(&lab, &["--memory", "64M"]) {
        return;
    }
    let eaters = [
        "exec /usr/bin/python3 -c 'b = bytearray(200 << 20)'",
        "exec head -c 200000000 /dev/zero > /dev/shm/x",
        "exec /usr/bin/python3 -c 'import os; f = os.memfd_create(\"x\"); [os.write(f, bytes(1 << 20)) for _ in range(200)]'",
    ];
    for eater in eaters {
        let report = attempt(&lab, &["--memory", "64M"], eater);
        ended_by(&report, "memory");
        completed(&attempt(&lab, &["--memory", "600M"], eater));
    }
}

#[test]
fn bandwidth_of_the_disk_is_limited_or_refused() {
    let lab = Lab::new();
    let whole = "bs=1M count=4 status=none";
    let made = Command::new("dd")
        .args([
            "if=/dev/urandom",
            "of=data",
            "oflag=direct",
            "bs=1M",
            "count=4",
            "status=none",
        ])
        .current_dir(lab.workspace())
        .status()
        .unwrap();
    if !made.success() {
        eprintln!("SKIPPED: the file system of the workspace has no direct input and output");
        return;
    }
    if !holds(&lab, &["--io-read", "1M"]) {
        return;
    }
    let read = format!("exec dd if=data of=/dev/null iflag=direct {whole}");
    let took = |options: &[&str]| {
        let report = attempt(&lab, options, &read);
        completed(&report);
        report["duration_ms"].as_f64().unwrap()
    };
    // The first tenths of a second are free: the kernel counts in slices.
    let (slow, fast) = (took(&["--io-read", "1M"]), took(&["--io-read", "900M"]));
    assert!(slow > 2000.0, "{slow} ms");
    assert!(fast < slow, "{fast} ms without a limit to speak of");
    let ended = lab.sandbox(&["run", "--io-write", "1M", "--", "true"]);
    if !ended.status.success() {
        // Version 1 cannot hold it.
        ended.code(125).says("direct writes only");
    }
}

#[test]
fn nothing_dumps_core() {
    let lab = Lab::new();
    let report = attempt(
        &lab,
        &[],
        "ulimit -Hc; ulimit -c unlimited 2> /dev/null || echo refused",
    );
    assert_eq!(report["stdout"]["text"], "0\nrefused\n", "{report:#}");
}

#[test]
fn a_document_may_lower_limits_and_only_its_caller_may_raise_them() {
    let lab = Lab::new();
    let document = |name: &str, limits: Value| {
        let operation = json!({"type": "command", "command": "ulimit -n", "limits": limits});
        let path = lab.root().join(name);
        fs::write(&path, operation.to_string()).unwrap();
        path.display().to_string()
    };
    let lower = document("lower.json", json!({"open_files": 100}));
    let ended = lab.sandbox(&["run", "--operation", &lower]);
    ended.code(0).prints("100");
    let higher = document("higher.json", json!({"open_files": 8192}));
    lab.sandbox(&["run", "--operation", &higher])
        .code(2)
        .says("asks for 8192 of open_files, and 4096 is allowed");
    lab.sandbox(&["run", "--operation", &higher, "--open-files", "64"])
        .code(0)
        .prints("64");
    let forever = json!({"type": "command", "command": "true", "timeout": "2h"});
    let path = lab.root().join("forever.json").display().to_string();
    fs::write(&path, forever.to_string()).unwrap();
    lab.sandbox(&["run", "--operation", &path])
        .code(2)
        .says("wall_time");
    lab.sandbox(&["run", "--operation", &path, "--timeout", "3h"])
        .code(0);
}
