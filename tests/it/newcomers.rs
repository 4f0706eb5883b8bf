//! What somebody meets who tries everything once.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::{
    lab::{Ended, Lab},
    terminal::Sitting,
};

#[test]
fn a_workspace_that_is_granted_to_be_read_is_refused_and_not_written() {
    let lab = Lab::new().file("part/x", "");
    let workspace = lab.workspace();
    let workspace = workspace.to_str().unwrap();
    let config = lab.root().join("read.yaml");
    fs::write(&config, format!("isolation: {{read: [{workspace}]}}\n")).unwrap();
    for granted in [
        ["--read", "."],
        ["--read", workspace],
        ["-c", config.to_str().unwrap()],
    ] {
        let mut args = vec!["run"];
        args.extend(granted);
        args.extend(["--shell", "echo x > part/b"]);
        lab.sandbox(&args)
            .code(2)
            .says("read-only")
            .says("--read src");
        assert_eq!(lab.read("part/b"), None);
    }
    for option in ["--read", "--write"] {
        lab.sandbox(&["run", option, "/", "--", "true"])
            .code(2)
            .says("the whole host");
    }
    // A part of it holds; around it, the workspace stays what it is.
    let part = ["run", "--read", "part", "--shell", "echo x > part/b"];
    lab.sandbox(&part).code(2);
    let above = ["run", "--read", "..", "--shell", "echo x > part/b"];
    lab.sandbox(&above).code(0).says("committed");
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.read("part/b"), None);
}

#[test]
fn a_direct_run_says_that_it_cannot_be_undone_and_so_does_undo() {
    let lab = Lab::new();
    lab.run("echo first > a");
    lab.sandbox(&["undo"]).code(0);
    lab.sandbox(&["redo"]).code(0);
    let direct = ["run", "--direct", "--shell", "echo second > b"];
    let said = "written to the workspace, cannot be undone";
    lab.sandbox(&direct).code(0).says(said);
    lab.sandbox(&["log"]).prints("direct, cannot be undone");
    lab.sandbox(&["show"])
        .code(0)
        .prints("echo second > b")
        .prints(said);
    lab.sandbox(&["undo", "--dry-run"]).says("wrote directly");
    lab.sandbox(&["undo"]).code(0).says("wrote directly");
    assert_eq!(lab.read("a"), None);
    assert_eq!(lab.read("b").as_deref(), Some("second\n"));
    // What came after it is undone without a word.
    lab.run("echo third > c");
    let undone = lab.sandbox(&["undo", "--json"]).code(0).json();
    assert!(undone.get("direct_since").is_none(), "{undone:#}");
}

/// A damaged journal takes the warning of direct runs away, and not the undo.
#[test]
fn an_undo_needs_no_whole_journal() {
    let lab = Lab::new();
    lab.run("echo first > a");
    let journal = lab.data().join("sandboxes/workspace/journal.log");
    let whole = fs::read(&journal).unwrap();
    let length = whole.len();
    for at in [length / 4, length / 2, length - 20] {
        let mut damaged = fs::read(&journal).unwrap();
        damaged[at] ^= 1;
        fs::write(&journal, &damaged).unwrap();
        lab.sandbox(&["audit", "verify"]).code(1);
        lab.sandbox(&["undo"]).code(0).says("undid");
        assert_eq!(lab.read("a"), None);
        lab.sandbox(&["redo"]).code(0);
        assert_eq!(lab.read("a").as_deref(), Some("first\n"));
        fs::write(&journal, &whole).unwrap();
    }
}

#[test]
fn ctrl_c_at_the_question_is_a_no() {
    let lab = Lab::new().file("build/x", "");
    let config = lab.root().join("strict.yaml");
    fs::write(&config, "safety_constraints: {profile: strict}\n").unwrap();
    lab.sandbox(&["create", "-c", config.to_str().unwrap()])
        .code(0);
    let mut sitting = Sitting::start(&lab, &["run", "--", "rm", "-rf", "build"]);
    sitting.sees("[N]o: ");
    sitting.signal(rustix::process::Signal::INT);
    let (status, shown) = sitting.end();
    assert_eq!(status.code(), Some(126), "{shown}");
    assert!(shown.contains("denied; nothing was run"), "{shown}");
    assert!(lab.read("build/x").is_some());
    lab.sandbox(&["audit", "show"]).prints("approval.denied");
}

#[test]
fn the_last_operation_is_shown_and_top_looks_once() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    lab.sandbox(&["show"]).code(1).says("nothing was run");
    lab.run("echo first");
    lab.run("echo last");
    let shown = lab.sandbox(&["show", "--json"]).code(0).json();
    assert_eq!(shown["stdout"]["text"], "last\n");
    let look: Value = lab.sandbox(&["top", "--json"]).code(0).json();
    assert_eq!(look["sandboxes"], 1, "{look:#}");
}

#[test]
fn a_name_is_used_once() {
    let lab = Lab::new();
    let document =
        |command: &str| format!(r#"{{"type": "command", "id": "mine", "command": "{command}"}}"#);
    for command in ["true", "echo x > a"] {
        let operation = document(command);
        let run = || lab.sandbox_with_input(&["run", "--operation", "-"], &operation);
        let first = if command == "true" { 0 } else { 2 };
        run().code(first);
        run().code(2).says("'mine' has run");
    }
    assert_eq!(lab.read("a"), None);
    let log = lab.sandbox(&["log", "--json"]).json();
    assert_eq!(log.as_array().map(Vec::len), Some(1), "{log:#}");
    // What was refused may be asked for again.
    let refused = document("rm -rf /").replace("mine", "other");
    for _ in 0..2 {
        lab.sandbox_with_input(&["run", "--operation", "-"], &refused)
            .code(126);
    }
    lab.sandbox_with_input(&["run", "--operation", "-"], "\n")
        .code(2)
        .says("it is empty");
}

#[test]
fn a_workspace_that_was_moved_is_said_to_be_gone() {
    let lab = Lab::new();
    lab.sandbox(&["create", "eleven"]).code(0);
    fs::rename(lab.workspace(), lab.root().join("moved")).unwrap();
    let run = |args: &[&str]| {
        let mut command = lab.command(args);
        let output = command.current_dir(lab.root()).output().unwrap();
        Ended::of(output, args)
    };
    run(&["-s", "eleven", "run", "--", "true"])
        .code(125)
        .says("is not there any more")
        .says("sandbox destroy eleven");
    run(&["destroy", "eleven"]).code(0);
    run(&["create", "eleven", "-w", "moved"]).code(0);
    run(&["-s", "eleven", "run", "--", "true"]).code(0);
    fs::rename(lab.root().join("moved"), lab.workspace()).unwrap();
}

#[test]
fn a_home_with_dots_is_the_same_home() {
    let plain = Lab::new();
    let dotted = plain.workspace().join("../data");
    let lab = plain.env("SANDBOX_HOME", dotted.to_str().unwrap());
    lab.sandbox(&["run", "--shell", "echo x > a"]).code(0);
    let name = lab.sandbox(&["list", "--json"]).json()[0]["name"].clone();
    let plain = lab.env("SANDBOX_HOME", "/nowhere");
    let data = plain.data();
    let lab = plain.env("SANDBOX_HOME", data.to_str().unwrap());
    assert_eq!(lab.sandbox(&["list", "--json"]).json()[0]["name"], name);
    lab.sandbox(&["undo"]).code(0);
}

#[test]
fn a_report_that_cannot_be_printed_is_no_success() {
    let lab = Lab::new();
    for (command, code) in [
        ("true", 125),
        ("echo x > a", 126),
        ("exit 3", 3),
        ("echo y > a; exit 3", 3),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let args = ["run", "--json", "--shell", command];
        let mut run = lab.command(&args);
        let output = run.stdout(Stdio::from(full)).output().unwrap();
        Ended::of(output, &args)
            .code(code)
            .says("cannot write to standard output");
    }
}

#[test]
fn what_was_not_asked_for_is_not_missed() {
    let lab = Lab::new();
    for limit in [["--timeout", "30s"], ["--cpu-time", "30s"]] {
        let mut args = vec!["run"];
        args.extend(limit);
        args.extend(["--", "true"]);
        let ended = lab.sandbox(&args);
        ended.code(0);
        assert!(!ended.stderr.contains("memory limit"), "{}", ended.stderr);
    }
    lab.sandbox(&["run", "--shell", "kill -HUP $$"])
        .code(129)
        .says("signal 1 (SIGHUP)");
    lab.sandbox(&["undo", "nonexist"])
        .code(1)
        .says("sandbox log");
}
