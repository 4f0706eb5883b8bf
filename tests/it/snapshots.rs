//! Points in time: take, look, restore, check, delete; and the way back to an operation.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, tree};

/// Takes a snapshot and returns its document.
fn take(lab: &Lab, options: &[&str]) -> Value {
    let mut args = vec!["snapshot", "create", "--json"];
    args.extend(options);
    let ended = lab.sandbox(&args);
    ended.code(0);
    ended.json()
}

fn id(document: &Value) -> &str {
    document["id"].as_str().unwrap()
}

/// A sandbox with some files and a first operation.
fn lab() -> Lab {
    let lab = Lab::new()
        .file("keep", "same\n")
        .file("src/a", "one\n")
        .file("src/b", "two\n");
    lab.sandbox(&["create"]).code(0);
    lab
}

#[test]
fn the_whole_story() {
    let lab = lab();
    let before = lab.tree();
    let first = take(&lab, &["-m", "the start"]);
    for field in [
        "id",
        "parent",
        "created_at",
        "files",
        "dirs",
        "bytes",
        "new_bytes",
        "stored_bytes",
        "duration_ms",
    ] {
        assert!(first.get(field).is_some(), "no {field} in {first:#}");
    }
    assert_eq!(
        (&first["files"], &first["dirs"], &first["parent"]),
        (&3.into(), &1.into(), &Value::Null)
    );
    let same = take(&lab, &[]);
    assert_eq!(
        (&same["files_read"], &same["new_bytes"]),
        (&0.into(), &0.into())
    );
    assert_eq!(same["parent"], first["id"]);

    lab.run("echo edited > src/a; rm src/b; mkdir new; echo x > new/file");
    let edited = lab.tree();
    lab.sandbox(&["snapshot", "diff", id(&first)])
        .code(0)
        .prints("M src/a")
        .prints("D src/b")
        .prints("A new/file");
    let plan = lab.sandbox(&["snapshot", "restore", &id(&first)[..10], "--dry-run"]);
    plan.code(0)
        .prints("M src/a")
        .prints("A src/b")
        .says("nothing was done");
    assert_eq!(lab.tree(), edited);

    lab.sandbox(&["snapshot", "restore", id(&first)])
        .code(0)
        .says("1 created, 1 modified, 2 deleted")
        .says("sandbox undo");
    assert_eq!(lab.tree(), before);
    lab.sandbox(&["log"]).code(0).prints("snapshot restore");
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), edited);

    upkeep(&lab, &first, &same);
}

/// The second half of the story: list, verify, delete, prune, and the journal of all of it.
fn upkeep(lab: &Lab, first: &Value, same: &Value) {
    let list = lab.sandbox(&["snapshot", "list"]);
    list.code(0).prints("the start");
    let checked = lab.sandbox(&["snapshot", "verify", "--read-data", "--json"]);
    checked.code(0);
    let checked = checked.json();
    assert_eq!(
        (&checked["ok"], &checked["snapshots"]),
        (&true.into(), &2.into())
    );
    for field in ["packs", "chunks", "bytes_read", "problems"] {
        assert!(checked.get(field).is_some(), "no {field} in {checked:#}");
    }
    lab.sandbox(&["snapshot", "delete", id(same)]).code(0);
    lab.sandbox(&["snapshot", "prune", "--dry-run"]).code(0);
    lab.sandbox(&["snapshot", "prune"]).code(0);
    lab.sandbox(&["snapshot", "show", id(first)])
        .code(0)
        .prints("the start");
    lab.sandbox(&["snapshot", "show", id(same)])
        .code(1)
        .says("no snapshot");
    lab.sandbox(&["audit", "verify"]).code(0);
    let kinds = lab.sandbox(&["audit", "show", "--json"]).stdout;
    for kind in ["snapshot.created", "snapshot.restored", "snapshot.deleted"] {
        assert!(kinds.contains(kind), "no {kind} in {kinds}");
    }
}

#[test]
fn a_selection_and_another_place() {
    let lab = lab();
    let before = lab.tree();
    let taken = take(&lab, &[]);
    lab.run("echo edited > src/a; echo edited > keep; echo x > src/extra");
    lab.sandbox(&["snapshot", "restore", id(&taken), "--path", "src"])
        .code(0);
    assert_eq!(lab.read("src/a").unwrap(), "one\n");
    assert_eq!(lab.read("src/extra"), None);
    assert_eq!(lab.read("keep").unwrap(), "edited\n");
    let to = lab.root().join("elsewhere");
    lab.sandbox(&[
        "snapshot",
        "restore",
        id(&taken),
        "--to",
        to.to_str().unwrap(),
    ])
    .code(0);
    assert_eq!(tree(&to), before);
    lab.sandbox(&[
        "snapshot",
        "restore",
        id(&taken),
        "--to",
        to.to_str().unwrap(),
    ])
    .code(1)
    .says("not an empty directory");
    lab.sandbox(&["snapshot", "restore", id(&taken), "--path", "../x"])
        .code(2)
        .says("names no path");
    for options in [&["--path", "scr"][..], &["--path", "scr", "--dry-run"]] {
        let mut args = vec!["snapshot", "restore", id(&taken)];
        args.extend(options);
        lab.sandbox(&args).code(1).says("'scr'");
    }
    // It is meant, and nothing of it differs.
    lab.sandbox(&["snapshot", "restore", id(&taken), "--path", "src"])
        .code(0);
}

#[test]
fn damage_is_named_and_nothing_is_touched() {
    let lab = lab();
    let taken = take(&lab, &[]);
    lab.run("echo edited > src/a");
    let edited = lab.tree();
    let pack = lab
        .data()
        .join("sandboxes/workspace/repository/packs/00000001.pack");
    let good = fs::read(&pack).unwrap();
    let mut bad = good.clone();
    // In the first frame, which holds the files: the first byte after its header.
    let header = 16 + 36 + 3 * 36 + 16;
    bad[header] ^= 1;
    fs::write(&pack, &bad).unwrap();
    lab.sandbox(&["snapshot", "restore", id(&taken)])
        .code(1)
        .says("src/a")
        .says("nothing was touched");
    assert_eq!(lab.tree(), edited);
    let checked = lab.sandbox(&["snapshot", "verify", "--read-data"]);
    checked.code(1).prints(id(&taken)).prints("src/a");
    fs::write(&pack, &good).unwrap();
    lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
    fs::remove_file(lab.data().join("sandboxes/workspace/repository/index.redb")).unwrap();
    lab.sandbox(&["snapshot", "list"])
        .code(1)
        .says("snapshot repair");
    let index = lab.data().join("sandboxes/workspace/repository/index.redb");
    lab.sandbox(&["snapshot", "repair", "--dry-run"])
        .code(0)
        .says("would make the index again: 1 snapshots");
    assert!(!index.exists(), "nothing was done");
    lab.sandbox(&["snapshot", "repair"])
        .code(0)
        .says("1 snapshots");
    assert!(index.exists());
    lab.sandbox(&["snapshot", "restore", id(&taken)]).code(0);
    assert_eq!(lab.read("src/a").unwrap(), "one\n");
}

#[test]
fn the_oldest_go_and_the_tagged_stay() {
    let lab = Lab::new()
        .file("number", "0")
        .env("SANDBOX_SAFETY_CONSTRAINTS__MAX_SNAPSHOTS", "2");
    lab.sandbox(&["create"]).code(0);
    let pinned = take(&lab, &["--tag", "release"]);
    let mut newest = Value::Null;
    for number in 1..5 {
        fs::write(lab.workspace().join("number"), number.to_string()).unwrap();
        newest = take(&lab, &[]);
    }
    assert_eq!(newest["dropped"].as_array().unwrap().len(), 1);
    let list = lab.sandbox(&["snapshot", "list", "--json"]).json();
    let ids: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(ids.len(), 3);
    assert_eq!((&ids[0], &ids[2]), (&pinned["id"], &newest["id"]));
    lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
}

#[test]
fn back_to_before_an_operation_and_forth() {
    let lab = lab();
    let mut states = vec![lab.tree()];
    let mut operations = Vec::new();
    for text in [
        "echo 1 > src/a; echo n > n",
        "echo 2 > src/a; rm n",
        "mkdir d; mv src/b d/b",
    ] {
        let report = lab.run(text);
        operations.push(report["operation"]["id"].as_str().unwrap().to_owned());
        states.push(lab.tree());
    }
    lab.sandbox(&["rollback", &operations[1], "--dry-run"])
        .code(0)
        .says("nothing was done");
    assert_eq!(lab.tree(), states[3]);
    let done = lab.sandbox(&["rollback", &operations[1], "--json"]);
    done.code(0);
    let done = done.json();
    assert_eq!(done["undone"].as_array().unwrap().len(), 2);
    assert_eq!(lab.tree(), states[1]);
    // It is itself taken back.
    lab.sandbox(&["rollback", done["safety"].as_str().unwrap()])
        .code(0);
    assert_eq!(lab.tree(), states[3]);
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), states[1]);
    lab.sandbox(&["rollback", &operations[0]]).code(0);
    assert_eq!(lab.tree(), states[0]);

    let report = lab.run("echo 3 > src/a");
    let last = report["operation"]["id"].as_str().unwrap();
    fs::write(lab.workspace().join("src/a"), "mine").unwrap();
    lab.sandbox(&["rollback", last]).code(1).says("src/a");
    assert_eq!(lab.read("src/a").unwrap(), "mine");
    lab.sandbox(&["rollback", last, "--path", "src"]).code(1);
    lab.sandbox(&["rollback", "nothing-like-it"])
        .code(1)
        .says("neither");
}

#[test]
fn what_is_missing_is_said_with_the_way_out() {
    let lab = lab();
    lab.sandbox(&["snapshot", "list"])
        .code(0)
        .says("snapshot create");
    lab.sandbox(&["snapshot", "verify"]).code(0);
    lab.sandbox(&["snapshot", "show", "abc"])
        .code(1)
        .says("snapshot create");
    take(&lab, &[]);
    lab.sandbox(&["snapshot", "show", "zzz"])
        .code(1)
        .says("snapshot list");
    lab.sandbox(&["snapshot", "frobnicate"]).code(2);
    lab.sandbox(&["snapshot", "restore"]).code(2);
    let long = "x".repeat(70_000);
    lab.sandbox(&["snapshot", "create", "-m", &long])
        .code(2)
        .says("message");
}

/// Two programs at the same time: one waits for the other.
#[test]
fn two_snapshots_at_once_are_both_taken() {
    let lab = lab();
    let start = || {
        lab.command(&["snapshot", "create", "--json"])
            .spawn()
            .unwrap()
    };
    let children = [start(), start(), start()];
    for child in children {
        let ended = child.wait_with_output().unwrap();
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
    let list = lab.sandbox(&["snapshot", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 3);
    lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
}

/// `kill -9` of a snapshot and of a restore, at any moment.
#[test]
fn a_killed_snapshot_or_restore_is_before_or_after() {
    let lab = (0..40).fold(lab(), |lab, i| {
        lab.file(&format!("f{i}"), &format!("{i}\n").repeat(2000))
    });
    let before = lab.tree();
    // Pinned: more snapshots than are kept may follow.
    let taken = take(&lab, &["--tag", "start"]);
    lab.run("for i in $(seq 0 39); do echo new > f$i; done; rm -r src; mkdir src2");
    let edited = lab.tree();
    let (mut restored, mut not) = (0, 0);
    for moment in 0..24_u64 {
        let args = ["snapshot", "restore", id(&taken)];
        let mut child = lab.command(&args).spawn().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_millis(moment * 7);
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().ok();
        child.wait().unwrap();
        lab.sandbox(&["status"]).code(0);
        if lab.tree() == before {
            restored += 1;
            lab.sandbox(&["undo"]).code(0);
        } else {
            not += 1;
        }
        assert_eq!(
            lab.tree(),
            edited,
            "moment {moment}: neither before nor after"
        );

        let mut child = lab.command(&["snapshot", "create", "-q"]).spawn().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_millis(moment * 5);
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().ok();
        child.wait().unwrap();
        lab.sandbox(&["snapshot", "verify", "--read-data"]).code(0);
    }
    println!("{restored} restored, {not} not");
    assert!(not > 0);
    lab.sandbox(&["snapshot", "restore", id(&taken)]).code(0);
    assert_eq!(lab.tree(), before);
}
