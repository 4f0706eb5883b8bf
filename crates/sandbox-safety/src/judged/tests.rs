//! Scripts and work on files have the same rules as what is typed.

use sandbox_types::{Decision, Operation, RiskLevel, Verdict};

use crate::{Policy, Profile, SafetyValidator, Surroundings};

fn judge(operation: &Operation) -> Verdict {
    let surroundings = Surroundings {
        workspace: Some("/home/me/project".to_owned()),
        home: Some("/home/me".to_owned()),
        ..Surroundings::unconfined()
    };
    SafetyValidator::new(Policy::of(Profile::Default)).judge(operation, &surroundings)
}

#[track_caller]
fn check(operation: Operation, rule: &str) -> Verdict {
    let verdict = judge(&operation);
    let rules: Vec<&str> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
    assert!(
        rules.contains(&rule),
        "{rules:?} for {:?}",
        operation.action
    );
    verdict
}

#[test]
fn a_write_is_judged_by_its_path() {
    check(
        Operation::file_write("/etc/passwd", "x"),
        "fs.overwrite-system",
    );
    check(
        Operation::file_write(".git/hooks/pre-commit", "x"),
        "persist.git-hooks",
    );
    let written = check(
        Operation::file_write("/home/me/.bashrc", "x"),
        "persist.startup",
    );
    assert_eq!(written.findings[0].evidence, "/home/me/.bashrc");
    let plain = judge(&Operation::file_write("src/main.rs", "rm -rf /"));
    assert_eq!(plain.decision, Decision::Allow);
    assert_eq!(plain.risk.level, RiskLevel::None);
    assert_eq!(plain.commands[0].argv, ["file_write", "src/main.rs"]);
}

#[test]
fn a_deletion_and_a_move_are_judged_by_their_paths() {
    check(
        Operation::file_delete("/etc/shadow"),
        "fs.delete-system-file",
    );
    check(Operation::file_delete("/").recursive(), "fs.delete-root");
    check(
        Operation::file_move("hook", ".git/hooks/post-merge"),
        "persist.git-hooks",
    );
    for plain in [
        Operation::file_delete("a.txt"),
        Operation::file_delete("-rf"),
        Operation::file_move("a", "b"),
    ] {
        assert_eq!(judge(&plain).risk.level, RiskLevel::None, "{plain:?}");
    }
}

#[test]
fn the_source_of_a_shell_script_is_judged_as_shell() {
    for interpreter in ["sh", "/bin/bash", "/usr/bin/env bash"] {
        let mut operation = Operation::script("", "echo hi\nrm -rf /\n");
        if let sandbox_types::Action::Script(script) = &mut operation.action {
            script.interpreter = interpreter.split(' ').map(str::to_owned).collect();
        }
        let verdict = check(operation, "fs.delete-root");
        assert_eq!(verdict.decision, Decision::Deny);
    }
    let verdict = check(
        Operation::script("sh", "echo hi\nrm -rf /\n"),
        "fs.delete-root",
    );
    assert_eq!(verdict.findings[0].evidence, "/");
    let harmless = judge(&Operation::script("sh", "echo hi\n"));
    assert_eq!(harmless.risk.level, RiskLevel::None);
    assert_eq!(harmless.commands[0].argv, ["echo", "hi"]);
}

#[test]
fn the_source_of_another_script_is_judged_as_inline_code() {
    let verdict = check(
        Operation::script("python3", "import os\nos.system('rm -rf /')\n"),
        "fs.delete-root",
    );
    assert_eq!(verdict.decision, Decision::Deny);
    check(
        Operation::script("python3", "import shutil\nshutil.rmtree('/etc')\n"),
        "escape.code-destroys",
    );
    check(
        Operation::script("perl", "exec { '/bin/sh' } '-i';"),
        "escape.interpreter-shell",
    );
    let harmless = judge(&Operation::script("python3", "print('rm -rf /')\n"));
    assert_eq!(harmless.decision, Decision::Allow, "{harmless:#?}");
}

#[test]
fn a_script_that_is_too_large_asks() {
    let long = "echo hi\n".repeat(700_000);
    for interpreter in ["sh", "python3"] {
        let verdict = check(
            Operation::script(interpreter, long.as_str()),
            "shell.too-large",
        );
        assert_eq!(verdict.decision, Decision::Ask);
    }
    let content = judge(&Operation::file_write("a", long));
    assert_eq!(content.decision, Decision::Allow);
}
