//! Approvals that are remembered for more than one operation, and what they never reach.

use serde_json::Value;

use crate::lab::Lab;

/// A sandbox that asks about everything that has a risk.
fn lab() -> Lab {
    let lab = Lab::new()
        .file("build/a", "a")
        .file("sub/b", "b")
        .env("SANDBOX_SAFETY_CONSTRAINTS__PROFILE", "strict");
    lab.sandbox(&["create", "box"]).code(0);
    lab
}

fn run(lab: &Lab, argv: &[&str]) -> Value {
    let mut args = vec!["run", "--json", "--"];
    args.extend(argv);
    lab.sandbox(&args).json()
}

/// Runs what nobody approves; returns the id of the request.
#[track_caller]
fn asks(lab: &Lab, argv: &[&str]) -> String {
    let report = run(lab, argv);
    assert_eq!(report["outcome"], "approval_required", "{report:#}");
    report["approval"]["request"].as_str().unwrap().to_owned()
}

/// Runs what a rule approves; returns the rule's id.
#[track_caller]
fn is_approved(lab: &Lab, argv: &[&str]) -> String {
    let report = run(lab, argv);
    assert_eq!(report["outcome"], "completed", "{report:#}");
    report["approval"]["rule"].as_str().unwrap().to_owned()
}

#[test]
fn a_beginning_approves_what_begins_so_and_nothing_else() {
    let lab = lab();
    let id = asks(&lab, &["rm", "-rf", "build"]);
    let remember =
        |words: &str| lab.sandbox(&["approvals", "approve", "--remember-prefix", words, &id]);
    remember("1").code(2).says("at least two words");
    remember("4").code(2).says("fewer words");
    remember("2").code(2).says("ends in an option");
    remember("3").code(0);
    let rule = is_approved(&lab, &["rm", "-rf", "build", "sub"]);
    lab.sandbox(&["approvals", "--rules"])
        .code(0)
        .prints("rm -rf build …");
    // Another beginning, another directory, a document with variables of its own.
    asks(&lab, &["rm", "-rf", "sub", "build"]);
    let in_sub = lab.sandbox_with_input(
        &["run", "--json", "--operation", "-"],
        r#"{"type": "command", "args": ["rm", "-rf", "build"], "command": null, "cwd": "sub"}"#,
    );
    assert_ne!(in_sub.json()["outcome"], "completed", "{in_sub}");
    // What would be worse is asked about, or denied, although it begins so.
    let worse = run(&lab, &["rm", "-rf", "build", "/etc"]);
    assert_ne!(worse["outcome"], "completed", "{worse:#}");
    lab.sandbox(&["approvals", "forget", &rule]).code(0);
    asks(&lab, &["rm", "-rf", "build", "sub"]);
}

#[test]
fn findings_approve_what_has_no_others() {
    let lab = lab();
    let id = asks(&lab, &["rm", "-rf", "build"]);
    lab.sandbox(&["approvals", "approve", "--remember-findings", &id])
        .code(0);
    is_approved(&lab, &["rm", "-rf", "sub"]);
    // Something else is found in it.
    let more = run(&lab, &["chmod", "-R", "777", "."]);
    assert_ne!(more["outcome"], "completed", "{more:#}");
    // It reaches further than what was approved.
    let with_network = lab.sandbox(&["run", "--json", "--net", "host", "--", "rm", "-rf", "x"]);
    assert_eq!(with_network.json()["outcome"], "approval_required");
}

#[test]
fn what_executes_something_else_is_remembered_exactly_or_not_at_all() {
    let lab = lab();
    for argv in [
        &["sh", "-c", "rm -rf build"][..],
        &["env", "A=1", "rm", "-rf", "build"],
        &["xargs", "rm", "-rf", "build"],
    ] {
        let id = asks(&lab, argv);
        lab.sandbox(&["approvals", "approve", "--remember-prefix", "2", &id])
            .code(2)
            .says("cannot remember");
    }
    let report = lab.run("rm -rf build");
    let id = report["approval"]["request"].as_str().unwrap();
    lab.sandbox(&["approvals", "approve", "--remember-prefix", "2", id])
        .code(2)
        .says("only a command of words");
    lab.sandbox(&[
        "approvals",
        "approve",
        "--remember",
        "--remember-findings",
        id,
    ])
    .code(2)
    .says("cannot be used with");
}
