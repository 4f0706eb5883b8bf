//! Limits of a user to whom systemd has given no cgroup: its manager makes a scope for each operation that asks.
//!
//! `cargo xtask vm systemd` shows it. Elsewhere there is no manager, or the user has cgroups without it.

use std::{fs, path::Path};

use serde_json::Value;

use crate::lab::Lab;

/// Whether this user has a manager and is in a cgroup of somebody else's.
fn has_manager_only() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t"));
    let uid = uid.and_then(|line| line.split('\t').next()).unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let has = uid != "0"
        && Path::new(&format!("/run/user/{uid}/bus")).exists()
        && own.starts_with("0::")
        && !own.contains(&format!("user@{uid}.service"));
    if !has {
        eprintln!(
            "SKIPPED: this test needs a login outside of the cgroup that systemd gave its user"
        );
    }
    has
}

/// Returns the scopes of operations that are there.
fn scopes() -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("sandbox-")
                && Path::new(&name).extension().is_some_and(|it| it == "scope")
            {
                found.push(name);
            } else if entry.file_type().is_ok_and(|it| it.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        // An emulated machine takes a minute for what takes a second elsewhere.
        assert!(start.elapsed().as_secs() < 300, "in vain: {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
}

fn python(text: &str) -> String {
    format!("exec /usr/bin/python3 -c '{text}'")
}

#[test]
fn a_requested_limit_holds_in_a_scope_that_is_gone_afterwards() {
    if !has_manager_only() {
        return;
    }
    let lab = Lab::new();
    let eater = python("b = bytearray(200 << 20)");
    let report = lab.run_with(&["--memory", "64M"], &eater);
    assert_eq!(report["limits"]["exceeded"], "memory", "{report:#}");
    assert_eq!(report["enforcement"]["cgroup"], "v2", "{report:#}");
    // Controls: more is enough; without the request there is none, which is said.
    let report = lab.run_with(&["--memory", "600M"], &eater);
    assert_eq!(report["outcome"], "completed", "{report:#}");
    let report = lab.run("true");
    assert_eq!(report["enforcement"]["cgroup"], "absent", "{report:#}");
    let missing = report["enforcement"]["missing"].to_string();
    assert!(missing.contains("memory"), "{report:#}");
    eventually("systemd removes the scopes", || scopes().is_empty());
}

#[test]
fn what_the_manager_was_not_given_is_refused() {
    if !has_manager_only() {
        return;
    }
    let lab = Lab::new();
    // Debian's systemd hands memory, processes and CPU to users, not the disks.
    let ended = lab.sandbox(&["run", "--io-read", "1M", "--", "true"]);
    ended.code(125).says("best_effort");
    let with = lab.env("SANDBOX_RESOURCE_LIMITS__BEST_EFFORT", "true");
    let report = with.run_with(&["--io-read", "1M"], "true");
    assert_eq!(report["outcome"], "completed", "{report:#}");
    assert!(
        report["enforcement"]["missing"].to_string().contains("io"),
        "{report:#}"
    );
}

#[test]
fn nothing_is_left_of_a_caller_that_was_killed() {
    if !has_manager_only() {
        return;
    }
    let lab = Lab::new();
    let mut args = vec!["run", "--memory", "600M", "--", "sleep", "600"];
    let mut run = lab.command(&args).spawn().unwrap();
    eventually("the scope is there", || {
        assert_eq!(run.try_wait().unwrap(), None, "it was refused");
        !scopes().is_empty()
    });
    lab.sandbox(&["suspend"]).code(0);
    let status: Value = lab.sandbox(&["status", "--json"]).json();
    assert_eq!(status["state"], "suspended", "{status:#}");
    lab.sandbox(&["resume"]).code(0);
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("the scope goes with its processes", || scopes().is_empty());
    args.truncate(3);
    args.extend(["--", "true"]);
    lab.sandbox(&args).code(0);
}
