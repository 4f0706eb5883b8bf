//! Renames, edits that are kept, parts, and the way back over many operations and the state.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::Lab;

/// How many moments of a rollback are tried.
const MOMENTS: u32 = 12;

fn operation(report: &Value) -> String {
    report["operation"]["id"].as_str().unwrap().to_owned()
}

/// Returns the changes of a report as `kind from path`.
fn changes(report: &Value) -> Vec<String> {
    let paths = report["changes"]["paths"].as_array().unwrap().iter();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    paths
        .map(|it| {
            format!(
                "{} {} {}",
                text(&it["change"]),
                text(&it["from"]),
                text(&it["path"])
            )
        })
        .collect()
}

#[test]
fn renames_are_told_as_such_and_taken_back() {
    let lab = Lab::new()
        .file("file", "text")
        .file("dir/in/a", "a")
        .file("dir/b", "b");
    let before = lab.tree();
    let inode = |path: &str| fs::metadata(lab.workspace().join(path)).unwrap().ino();
    let old = inode("dir/in/a");
    let report = lab.run("mv file other; mv dir moved");
    let listed = changes(&report);
    for line in [
        "renamed file other",
        "renamed dir moved",
        "renamed dir/b moved/b",
        "renamed dir/in/a moved/in/a",
    ] {
        assert!(listed.contains(&line.to_owned()), "{line} in {listed:?}");
    }
    assert_eq!(report["changes"]["renamed"], 5, "{listed:?}");
    assert_eq!(report["changes"]["created"], 0);
    assert_eq!(report["changes"]["deleted"], 0);
    assert_eq!(
        inode("moved/in/a"),
        old,
        "an overlay copies; it is stored once"
    );
    lab.sandbox(&["log"]).code(0).prints("5 renamed");
    lab.sandbox(&["show", &operation(&report)])
        .code(0)
        .prints("R dir/in/a -> moved/in/a");
    lab.sandbox(&["undo", "--dry-run"])
        .code(0)
        .prints("R moved/in/a -> dir/in/a");
    lab.sandbox(&["undo"]).code(0).says("5 renamed");
    assert_eq!(lab.tree(), before);

    lab.run_with(&["--review"], "mv file other");
    lab.sandbox(&["diff"]).code(0).prints("R file -> other");
    lab.sandbox(&["commit"]).code(0).says("1 renamed");
    assert_eq!(lab.read("other").as_deref(), Some("text"));
}

/// A rename out of what was declared is a violation, like the deletion that it is.
#[test]
fn a_rename_does_not_pass_the_gate_by_its_new_name() {
    let lab = Lab::new().file("file", "text");
    let report = lab.run_with(&["--files", "out/**"], "mkdir out; mv file out/file");
    assert_eq!(report["changes"]["settlement"], "discarded", "{report:#}");
    assert_eq!(lab.read("file").as_deref(), Some("text"));
}

#[test]
fn an_edit_is_kept_beside_what_comes_back() {
    let lab = Lab::new().file("a", "old").file("b", "old");
    lab.run("echo new > a; echo new > b");
    fs::write(lab.workspace().join("a"), "mine").unwrap();
    lab.sandbox(&["undo"]).code(1).says("--keep-both");
    lab.sandbox(&["undo", "--keep-both", "--force"]).code(2);
    lab.sandbox(&["undo", "--keep-both", "--dry-run"])
        .code(0)
        .prints("a (changed since: kept as a.edited)");
    assert_eq!(lab.read("a").as_deref(), Some("mine"));
    lab.sandbox(&["undo", "--keep-both"])
        .code(0)
        .says("a was edited: kept as a.edited");
    assert_eq!(lab.read("a").as_deref(), Some("old"));
    assert_eq!(lab.read("b").as_deref(), Some("old"));
    assert_eq!(lab.read("a.edited").as_deref(), Some("mine"));
    lab.sandbox(&["redo"]).code(0);
    assert_eq!(lab.read("a").as_deref(), Some("mine"));
    assert_eq!(lab.read("a.edited"), None);
}

#[test]
fn what_became_a_part_is_not_counted_twice() {
    let lab = Lab::new().file("a", "0").file("b", "0").file("c", "0");
    let whole = operation(&lab.run("echo 1 > a; echo 1 > b; mkdir s; echo 1 | tee s/x > s/y"));
    lab.sandbox(&["undo", "--path", "s/x"])
        .code(1)
        .says("take the directory as a whole: --path s");
    lab.sandbox(&["undo", "--path", "a"]).code(0);
    let shown = lab.sandbox(&["show", &whole, "--json"]).code(0).json();
    assert_eq!(shown["changes"]["modified"], 1, "{shown:#}");
    assert_eq!(shown["changes"]["created"], 3);
    lab.sandbox(&["undo"]).code(0);

    let held = operation(&lab.run_with(&["--review"], "for i in a b c; do echo 2 > $i; done"));
    lab.sandbox(&["discard", "--path", "a"]).code(0);
    lab.sandbox(&["commit", &held]).code(0).says("2 modified");
    let shown = lab.sandbox(&["show", &held, "--json"]).code(0).json();
    assert_eq!(shown["changes"]["modified"], 2, "{shown:#}");
    assert_eq!(
        [lab.read("a"), lab.read("b")].map(Option::unwrap),
        ["0", "2\n"]
    );
}

#[test]
fn a_rollback_selects_paths_and_keeps_edits() {
    let lab = Lab::new().file("a", "0").file("b", "0");
    let first = operation(&lab.run("echo 1 > a; echo 1 > b"));
    lab.run("echo 2 > a");
    lab.run("echo 3 > a; echo 3 > b");
    let plan = lab.sandbox(&["rollback", &first, "--path", "a", "--dry-run"]);
    plan.code(0).prints("M a");
    assert!(!plan.stdout.contains("M b"), "{plan}");
    lab.sandbox(&["rollback", &first, "--path", "none"])
        .code(1)
        .says("none of the operations");
    lab.sandbox(&["rollback", &first, "--path", "a"]).code(0);
    assert_eq!(
        [lab.read("a"), lab.read("b")].map(Option::unwrap),
        ["0", "3\n"]
    );
    fs::write(lab.workspace().join("b"), "mine").unwrap();
    lab.sandbox(&["rollback", &first]).code(1).says("b");
    lab.sandbox(&["rollback", &first, "--keep-both"])
        .code(0)
        .says("kept as b.edited");
    assert_eq!(
        [lab.read("a"), lab.read("b")].map(Option::unwrap),
        ["0", "0"]
    );
    assert_eq!(lab.read("b.edited").as_deref(), Some("mine"));
}

fn kill_after(child: &mut Child, delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Killed at any moment, workspace and state are both before or both after.
#[test]
fn a_killed_rollback_of_workspace_and_state_is_before_or_after() {
    let lab = Lab::new().file("a", "0").file("b", "0");
    lab.sandbox(&["create"]).code(0);
    let state = |value: &str| {
        lab.sandbox_with_input(&["state", "set", "k", value], "")
            .code(0);
    };
    let both = || {
        lab.sandbox(&["status"]).code(0);
        let key = lab.sandbox(&["state", "get", "k"]).stdout;
        [
            lab.read("a").unwrap(),
            lab.read("b").unwrap(),
            key.trim_end().to_owned(),
        ]
    };
    let change = || {
        state("before");
        let first = operation(&lab.run("echo 1 > a"));
        lab.run("echo 2 > a; echo 2 > b");
        state("after");
        first
    };
    let (before, after) = (["0", "0", "before"], ["2\n", "2\n", "after"]);
    let first = change();
    assert_eq!(both(), after);
    let start = Instant::now();
    lab.sandbox(&["rollback", &first, "--state"]).code(0);
    let whole = start.elapsed();
    assert_eq!(both(), before);

    let mut endings = [0, 0];
    for moment in 0..MOMENTS {
        let first = change();
        let mut child = lab
            .command(&["rollback", &first, "--state"])
            .spawn()
            .unwrap();
        kill_after(&mut child, whole * (moment * 5 % MOMENTS) / (MOMENTS - 2));
        let now = both();
        let back = now == before;
        assert!(back || now == after, "moment {moment}: {now:?}");
        endings[usize::from(back)] += 1;
        if !back {
            lab.sandbox(&["rollback", &first, "--state"]).code(0);
        }
        assert_eq!(both(), before);
        assert!(
            !lab.data()
                .join("sandboxes/workspace/rollback.json")
                .exists()
        );
    }
    assert!(endings[0] > 0, "{endings:?} before/after");
    lab.sandbox(&["audit", "verify"]).code(0);
}

/// What a kill between the two leaves: the next command finishes it, or finds that nothing was done.
#[test]
fn the_intent_of_a_rollback_is_finished_or_forgotten() {
    let lab = Lab::new().file("a", "0");
    lab.sandbox(&["create"]).code(0);
    lab.sandbox(&["state", "set", "k", "before"]).code(0);
    let first = operation(&lab.run("echo 1 > a"));
    lab.sandbox(&["state", "set", "k", "after"]).code(0);
    let record = lab.data().join("sandboxes/workspace/rollback.json");
    let intent = format!(
        r#"{{"target":"{first}","way":{{"Operations":["{first}"]}},"safety":null,"state":{{"before":2,"to":1}}}}"#
    );
    let key = || {
        lab.sandbox(&["state", "get", "k"])
            .stdout
            .trim_end()
            .to_owned()
    };
    // The workspace was not rolled back: nothing is.
    fs::write(&record, &intent).unwrap();
    lab.sandbox(&["status"]).code(0);
    assert!(!record.exists());
    assert_eq!(key(), "after");
    // It was: the state follows.
    lab.sandbox(&["undo"]).code(0);
    fs::write(&record, &intent).unwrap();
    lab.sandbox(&["status"]).code(0);
    assert!(!record.exists());
    assert_eq!(key(), "before");
    // And only once: what somebody stores afterwards stays.
    lab.sandbox(&["state", "set", "k", "later"]).code(0);
    fs::write(&record, &intent).unwrap();
    lab.sandbox(&["status"]).code(0);
    assert_eq!(key(), "later");
}

#[test]
fn ctrl_c_leaves_no_undo_half_way() {
    let lab = Lab::new();
    let before = lab.tree();
    lab.run("for i in $(seq 1500); do echo $i > f$i; done");
    let files = || fs::read_dir(lab.workspace()).unwrap().count();
    let whole = files();
    let mut undo = lab.command(&["undo", "-q"]).spawn().unwrap();
    let pid = undo.id().to_string();
    let mut sent = 0;
    let status = loop {
        if let Some(status) = undo.try_wait().unwrap() {
            break status;
        }
        if files() < whole {
            // The number is ours until it is waited for.
            sent += u32::from(Command::new("kill").args(["-INT", &pid]).status().is_ok());
        }
    };
    assert!(status.success(), "{status}");
    assert!(lab.tree() == before, "it was undone in part");
    println!("{sent} signals while it undid");
}
