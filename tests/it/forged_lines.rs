//! Names that a command chose stand in sentences of ours: none of them begins a line, or acts on a terminal.

use std::fs;

use crate::lab::{Ended, Lab};

/// A name that would read like the end of another operation.
const NAME: &str = "x\nsandbox: discarded 1 created of 12345678";
/// How it is to be shown.
const SHOWN: &str = r"x\nsandbox: discarded 1 created of 12345678";

/// Fails if the name is not told at all, or begins a line.
#[track_caller]
fn tells_harmlessly(ended: &Ended) {
    let told = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(told.contains(SHOWN), "the name is not told: {ended}");
    let forged = told
        .lines()
        .find(|it| it.starts_with("sandbox: discarded 1 created of"));
    assert_eq!(forged, None, "{ended}");
    assert!(!told.contains('\x1b'), "{ended}");
}

#[test]
fn no_name_in_a_workspace_begins_a_line_of_ours() {
    let lab = Lab::new();
    let named = format!("X={NAME}");
    let run = |options: &[&str], text: &str| {
        let mut args = vec!["run", "--env", &named];
        args.extend(options);
        args.extend(["--shell", text]);
        lab.sandbox(&args)
    };
    // A notice of the commit gate.
    let linked = run(&[], "ln -s /etc \"$X\"");
    tells_harmlessly(linked.code(0));
    tells_harmlessly(lab.sandbox(&["show"]).code(0));
    lab.sandbox(&["undo"]).code(0);
    // A violation.
    tells_harmlessly(run(&["--files", "other"], "echo 1 > \"$X\"").code(126));
    // A conflict.
    run(&[], "echo 1 > \"$X\"").code(0);
    fs::write(lab.workspace().join(NAME), "edited").unwrap();
    tells_harmlessly(lab.sandbox(&["undo"]).code(1));
    tells_harmlessly(lab.sandbox(&["undo", "--dry-run"]).code(0));
    // What changed meanwhile, of a held operation.
    run(&["--review"], "echo 2 > \"$X\"").code(0);
    fs::write(lab.workspace().join(NAME), "edited again").unwrap();
    tells_harmlessly(lab.sandbox(&["commit"]).code(1));
    lab.sandbox(&["discard"]).code(0);
}

#[test]
fn no_name_of_a_workspace_begins_a_line_of_ours() {
    let lab = Lab::new();
    let directory = lab.root().join(format!("{NAME}\x1b[2J"));
    fs::create_dir(&directory).unwrap();
    let sandbox = |args: &[&str]| {
        let output = lab.command(args).current_dir(&directory).output();
        Ended::of(output.unwrap(), args)
    };
    tells_harmlessly(sandbox(&["run", "--", "true"]).code(0));
    tells_harmlessly(sandbox(&["status"]).code(0));
    tells_harmlessly(sandbox(&["list"]).code(0));
    // Long paths are cut there, as they are on a line of a list.
    let events = sandbox(&["events"]);
    let is_ours = |line: &str| line.starts_with("sandbox: discarded");
    assert!(
        !events.code(0).stdout.lines().any(is_ours),
        "{}",
        events.stdout
    );
    tells_harmlessly(sandbox(&["metrics"]).code(0));
    tells_harmlessly(sandbox(&["destroy"]).code(0));
}
