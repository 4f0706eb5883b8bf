//! What outlives an operation: the log, the journal, the sandboxes themselves; and the demo.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::lab::Lab;

#[test]
fn what_ran_is_listed_and_the_journal_is_whole() {
    let lab = Lab::new();
    lab.run("touch a");
    lab.run("exit 4");
    let log = lab.sandbox(&["log", "--json"]).code(0).json();
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(log[0]["report"]["exit_code"], 4);
    lab.sandbox(&["log"])
        .code(0)
        .prints("failed (4)")
        .prints("touch a")
        .prints("1 created");
    assert_eq!(
        lab.sandbox(&["log", "-n", "1", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let audit = lab.sandbox(&["audit", "verify", "--json"]).code(0).json();
    assert_eq!(audit["ok"], true);
    lab.sandbox(&["audit", "show"])
        .code(0)
        .prints("operation.finished");

    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).unwrap();
    lab.sandbox(&["audit", "verify"]).code(1).prints("damaged");
}

#[test]
fn sandboxes_are_made_listed_and_destroyed_without_a_trace() {
    let lab = Lab::new().file("kept", "x");
    lab.sandbox(&["create", "--dry-run"])
        .code(0)
        .prints("would be made");
    assert!(!lab.data().join("sandboxes").exists());
    lab.sandbox(&["create", "first"])
        .code(0)
        .prints("first made");
    lab.sandbox(&["create", "second"])
        .code(1)
        .says("already belongs to the sandbox 'first'");
    lab.sandbox(&["create", "other", "-w", "../new"]).code(0);
    let list = lab.sandbox(&["list", "--json"]).code(0).json();
    assert_eq!(
        (&list[0]["sandbox"], &list[1]["sandbox"]),
        (&"first".into(), &"other".into())
    );
    lab.run("touch made");
    lab.sandbox(&["status"]).code(0).prints("ready");

    lab.sandbox(&["destroy"]).code(0);
    assert!(lab.read("kept").is_some() && lab.read("made").is_some());
    lab.sandbox(&["destroy", "other", "--delete-workspace"])
        .code(0);
    assert!(!lab.root().join("new").exists());
    assert_eq!(
        lab.sandbox(&["list", "--json"]).json(),
        Value::Array(Vec::new())
    );
    assert_eq!(
        fs::read_dir(lab.data().join("sandboxes")).unwrap().count(),
        0
    );
    assert_eq!(
        fs::read_dir(lab.data().join("layers")).map_or(0, Iterator::count),
        0
    );
}

#[test]
fn the_demo_holds_and_leaves_nothing() {
    let lab = Lab::new();
    let temporary = lab.root().join("outside");
    let lab = lab.env("TMPDIR", temporary.to_str().unwrap());
    let ended = lab
        .command(&["demo"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(stdout.contains("✓") && !stdout.contains("✗"), "{stdout}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    // Also for a user without a home.
    let lab = lab.without_env("HOME").without_env("SANDBOX_HOME");
    lab.sandbox(&["demo", "--quiet"]).code(0);
}

#[test]
fn doctor_proves_that_a_command_can_be_confined() {
    let lab = Lab::new();
    let found = lab.sandbox(&["doctor", "--json"]).code(0).json();
    assert_eq!(found["ok"], true, "{found:#}");
    assert_eq!(found["trial"]["enforcement"]["user_namespace"], "full");
    lab.sandbox(&["doctor"]).code(0).prints("seccomp");
}
