//! A kernel that allows no user namespaces: the answer is a refusal that names the way out, or a report that says
//! which walls are missing. It is never a silent run without them.

use std::fs;

use crate::lab::{Ended, Lab, program};

const SETTING: &str = "/proc/sys/user/max_user_namespaces";

/// Runs the program where user namespaces are forbidden: here, if they are, else in one that allows none below it.
fn sandbox(lab: &Lab, args: &[&str]) -> Ended {
    if fs::read_to_string(SETTING).is_ok_and(|value| value.trim() == "0") {
        return lab.sandbox(args);
    }
    let script = format!("echo 0 > {SETTING} && exec \"$@\"");
    let program = program().display().to_string();
    let around = [
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        &script,
        "sh",
        &program,
    ];
    // Only for the variables of the lab.
    let ours = lab.command(args);
    let mut command = std::process::Command::new("unshare");
    command.args(around).args(args).current_dir(lab.workspace());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ended::of(command.output().unwrap(), args)
}

#[test]
fn the_answer_names_what_is_missing_and_how_to_get_it() {
    let lab = Lab::new();
    let ended = sandbox(&lab, &["run", "--shell", "echo ran > made"]);
    if ended.status.code() == Some(125) {
        ended.says("user.max_user_namespaces");
        assert_eq!(lab.read("made"), None, "it ran all the same");
        return;
    }
    let report = sandbox(&lab, &["run", "--json", "--shell", "true"])
        .code(0)
        .json();
    let enforcement = &report["enforcement"];
    assert_ne!(enforcement["user_namespace"], "full", "{report:#}");
    let missing = enforcement["missing"].as_array().unwrap();
    assert!(!missing.is_empty(), "{report:#}");
}

#[test]
fn the_doctor_names_the_setting() {
    let lab = Lab::new();
    let ended = sandbox(&lab, &["doctor"]);
    let text = format!("{}{}", ended.stdout, ended.stderr);
    assert!(text.contains("max_user_namespaces"), "{ended}");
}
