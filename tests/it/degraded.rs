//! A host without namespaces: refused with the way out, or degraded as was allowed, and reported.
//!
//! The host is this one, in a user namespace in which no other can be made.

use std::process::{Command, Stdio};

use crate::lab::{Ended, Lab, program};

/// Runs the program where no user namespaces can be made; [`None`] where that cannot be set up.
fn without_namespaces(lab: &Lab, args: &[&str]) -> Option<Ended> {
    let uid = id(&["-u"]);
    let gid = id(&["-g"]);
    if uid == "0" {
        // The lower tier is not for root.
        return None;
    }
    let typed = lab.command(args);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args([
            "-U",
            &format!("--map-user={uid}"),
            &format!("--map-group={gid}"),
        ])
        .args(["--keep-caps", "sh", "-c", script, "sh"])
        .arg(program())
        .args(args)
        .current_dir(lab.workspace())
        .stdin(Stdio::null());
    for (name, value) in typed.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(Ended::of(command.output().unwrap(), args))
}

fn id(args: &[&str]) -> String {
    let output = Command::new("id").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn without_namespaces_nothing_runs_unless_that_is_allowed() {
    let lab = Lab::new();
    let Some(refused) = without_namespaces(&lab, &["run", "--shell", "echo x > made"]) else {
        return;
    };
    refused
        .code(125)
        .says("cannot create the namespaces")
        .says("user.max_user_namespaces is 0")
        .says("sysctl -w user.max_user_namespaces=65536")
        .says("--allow-degraded namespaces");
    assert_eq!(lab.read("made"), None);
}

#[test]
fn what_was_allowed_runs_and_is_reported() {
    let lab = Lab::new();
    let secret = lab.root().join("outside/secret");
    std::fs::write(&secret, "s").unwrap();
    let text = format!("echo x > made; cat {} && echo read", secret.display());
    let args = [
        "run",
        "--json",
        "--allow-degraded",
        "namespaces",
        "--shell",
        &text,
    ];
    let Some(ran) = without_namespaces(&lab, &args) else {
        return;
    };
    let report = ran.code(1).json();
    assert_eq!(report["outcome"], "failed", "{report:#}");
    assert_eq!(report["stdout"]["text"], "");
    assert_eq!(report["enforcement"]["mount"], "absent");
    assert_eq!(report["enforcement"]["landlock"], "full");
    assert_eq!(report["changes"]["settlement"], "none");
    let missing = report["enforcement"]["missing"].to_string();
    assert!(missing.contains("nothing can be undone"), "{missing}");
    assert_eq!(lab.read("made").as_deref(), Some("x\n"));
    // Control: with namespaces, the same command has a transaction.
    let report = lab.run_with(&["--allow-degraded", "namespaces"], "echo y > made");
    assert_eq!(report["enforcement"]["mount"], "full");
    assert_eq!(report["changes"]["settlement"], "committed");
}

#[test]
fn what_needs_a_transaction_is_refused_there() {
    let lab = Lab::new();
    let args = ["run", "--allow-degraded", "namespaces", "--review", "true"];
    let Some(refused) = without_namespaces(&lab, &args) else {
        return;
    };
    refused.code(2).says("review cannot be kept");
}

#[test]
fn the_plan_of_a_sandbox_says_what_will_hold() {
    let lab = Lab::new();
    let looked_at = |lab: &Lab| {
        let ended = without_namespaces(lab, &["create", "--dry-run", "--json"])?;
        let plan = ended.json();
        let checks = plan["checks"].as_array()?.clone();
        checks
            .into_iter()
            .find(|it| it["what"] == "user namespaces")
    };
    let Some(needed) = looked_at(&lab) else {
        return;
    };
    assert_eq!(
        (&needed["value"], &needed["holds"]),
        (&"needed".into(), &false.into())
    );
    std::fs::create_dir_all(lab.home().join(".config/sandbox")).unwrap();
    let allowed = "isolation: {allow_degraded: [namespaces]}\n";
    std::fs::write(lab.home().join(".config/sandbox/config.yaml"), allowed).unwrap();
    let allowed = looked_at(&lab).unwrap();
    assert_eq!(allowed["holds"], true, "{allowed:#}");
    let value = allowed["value"].as_str().unwrap();
    assert!(value.starts_with("absent: the lower tier"), "{value}");
}
