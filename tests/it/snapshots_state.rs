//! Snapshots and the versioned state together: pins, values at a snapshot, and the way back of both.

use std::fs;

use serde_json::Value;

use crate::lab::Lab;

fn take(lab: &Lab, options: &[&str]) -> Value {
    let mut args = vec!["snapshot", "create", "--json"];
    args.extend(options);
    lab.sandbox(&args).code(0).json()
}

fn id(document: &Value) -> &str {
    document["id"].as_str().unwrap()
}

fn set(lab: &Lab, key: &str, value: &str) {
    lab.sandbox(&["state", "set", key, value]).code(0);
}

#[track_caller]
fn has(lab: &Lab, key: &str, value: Option<&str>) {
    let got = lab.sandbox(&["state", "get", key]);
    match value {
        Some(value) => assert_eq!(got.code(0).stdout.trim_end(), value),
        None => drop(got.code(1)),
    }
}

fn lab() -> Lab {
    let lab = Lab::new().file("a", "one\n");
    lab.sandbox(&["create"]).code(0);
    lab
}

#[test]
fn a_snapshot_keeps_the_state_until_it_is_deleted() {
    let lab = lab();
    let none = take(&lab, &[]);
    assert_eq!(none["state_sequence"], Value::Null);
    assert!(
        !lab.data().join("sandboxes/workspace/state.redb").exists(),
        "a snapshot makes no store"
    );
    set(&lab, "k", "first");
    let first = take(&lab, &[]);
    assert_eq!(first["state_sequence"], 1);
    lab.sandbox(&["snapshot", "show", id(&first)])
        .code(0)
        .prints("state     1");
    // More than the versions that are kept of a key that no snapshot needs.
    for number in 0..102 {
        set(&lab, "k", &number.to_string());
    }
    let at = |snapshot: &str| lab.sandbox(&["state", "get", "k", "--at", snapshot]);
    assert_eq!(at(&id(&first)[..10]).code(0).stdout.trim_end(), "first");
    at(id(&none)).code(1).says("no key 'k' at that time");
    at("zzz").code(1).says("snapshot list");
    lab.sandbox(&["snapshot", "delete", id(&first)]).code(0);
    at(id(&first)).code(1).says("snapshot list");
    set(&lab, "k", "last");
    lab.sandbox(&["state", "get", "k", "--version", "1"])
        .code(1)
        .says("no longer kept");
    let second = take(&lab, &[]);
    assert_eq!(at(id(&second)).code(0).stdout.trim_end(), "last");
}

#[test]
fn both_go_back_to_a_snapshot_and_forth() {
    let lab = lab();
    let empty = take(&lab, &[]);
    set(&lab, "k", "v1");
    lab.sandbox(&["state", "set", "token", "--secret", "geheim"])
        .code(0);
    let taken = take(&lab, &[]);
    set(&lab, "k", "v2");
    set(&lab, "new", "x");
    lab.sandbox(&["state", "set", "token", "--secret", "anders"])
        .code(0);
    lab.run("echo two > a");
    let plan = lab.sandbox(&["rollback", id(&taken), "--state", "--dry-run"]);
    plan.code(0)
        .prints("M a")
        .prints("state: k (back to version 1)")
        .prints("state: new (deleted)")
        .says("nothing was done");
    assert!(!plan.stdout.contains("geheim"));
    has(&lab, "k", Some("v2"));
    let done = lab.sandbox(&["rollback", id(&taken), "--state", "--json"]);
    let done = done.code(0).json();
    assert_eq!(done["state"]["keys"].as_array().unwrap().len(), 3);
    assert_eq!(lab.read("a").unwrap(), "one\n");
    has(&lab, "k", Some("v1"));
    has(&lab, "new", None);
    has(&lab, "token", Some("geheim"));
    let listed = lab.sandbox(&["state", "list", "--json"]).code(0).json();
    let token = listed.as_array().unwrap().iter();
    let mut token = token.filter(|it| it["key"] == "token");
    assert_eq!(token.next().unwrap()["secret"], true, "it stays sealed");
    let store = fs::read(lab.data().join("sandboxes/workspace/state.redb")).unwrap();
    assert!(!store.windows(6).any(|it| it == b"geheim"));
    // The second time there is nothing to do.
    lab.sandbox(&["rollback", id(&taken), "--state"])
        .code(0)
        .says("state: 0 keys");

    lab.sandbox(&["rollback", done["safety"].as_str().unwrap(), "--state"])
        .code(0)
        .says("3 keys");
    assert_eq!(lab.read("a").unwrap(), "two\n");
    has(&lab, "k", Some("v2"));
    has(&lab, "new", Some("x"));
    has(&lab, "token", Some("anders"));

    // Before there was any state.
    lab.sandbox(&["rollback", id(&empty), "--state"]).code(0);
    has(&lab, "k", None);
    has(&lab, "token", None);
    lab.sandbox(&["audit", "verify"]).code(0);
}

#[test]
fn both_go_back_to_before_an_operation() {
    let lab = lab();
    set(&lab, "k", "before");
    let report = lab.run("echo two > a");
    let operation = report["operation"]["id"].as_str().unwrap();
    set(&lab, "k", "after");
    let done = lab.sandbox(&["rollback", operation, "--state", "--json"]);
    done.code(0);
    let done = done.json();
    assert_eq!(done["state"]["sequence"], 1);
    assert_eq!(lab.read("a").unwrap(), "one\n");
    has(&lab, "k", Some("before"));
    lab.sandbox(&["rollback", done["safety"].as_str().unwrap(), "--state"])
        .code(0);
    assert_eq!(lab.read("a").unwrap(), "two\n");
    has(&lab, "k", Some("after"));
    lab.sandbox(&["rollback", operation, "--state"])
        .code(1)
        .says("nothing is kept for it");

    let report = lab.run("echo three > a");
    let last = report["operation"]["id"].as_str().unwrap();
    set(&lab, "k", "later");
    fs::write(lab.workspace().join("a"), "mine\n").unwrap();
    lab.sandbox(&["rollback", last, "--state"])
        .code(1)
        .says("nothing was done");
    has(&lab, "k", Some("later"));
}

/// Another store in the place of the first is never taken for it.
#[test]
fn a_replaced_store_is_said() {
    let lab = lab();
    set(&lab, "k", "v1");
    set(&lab, "k", "v2");
    let taken = take(&lab, &[]);
    let operation = lab.run("echo two > a")["operation"]["id"].clone();
    fs::remove_file(lab.data().join("sandboxes/workspace/state.redb")).unwrap();
    let back = |target: &str| lab.sandbox(&["rollback", target, "--state"]);
    for target in [id(&taken), operation.as_str().unwrap()] {
        back(target)
            .code(1)
            .says("cannot find the store of the state")
            .says("state recover");
    }
    lab.sandbox(&["state", "recover"]).code(0);
    set(&lab, "k", "v3");
    back(id(&taken)).code(1).says("another one than then");
    back(operation.as_str().unwrap()).code(1).says("replaced");
    assert_eq!(lab.read("a").unwrap(), "two\n");
    has(&lab, "k", Some("v3"));
}

/// A snapshot that says that there was no state would delete all keys in a rollback.
#[test]
fn no_snapshot_is_taken_while_the_store_is_lost_or_older() {
    let lab = lab();
    let store = lab.data().join("sandboxes/workspace/state.redb");
    set(&lab, "k", "v1");
    let old = fs::read(&store).unwrap();
    set(&lab, "k", "v2");
    let newest = fs::read(&store).unwrap();
    let refused = |why: &str| {
        lab.sandbox(&["snapshot", "create"])
            .code(1)
            .says(why)
            .says("put the newest copy of the file back")
            .says("state recover");
        lab.sandbox(&["snapshot", "list", "--json"])
            .code(0)
            .prints("[]");
    };
    fs::remove_file(&store).unwrap();
    refused("cannot find the store of the state");
    assert!(!store.exists());
    fs::write(&store, &old).unwrap();
    refused("an older copy is in its place");

    fs::write(&store, &newest).unwrap();
    let taken = take(&lab, &[]);
    assert_eq!(taken["state_sequence"], 2);
    set(&lab, "k", "v3");
    lab.sandbox(&["rollback", id(&taken), "--state"]).code(0);
    has(&lab, "k", Some("v2"));
    // Who gives it up can take one.
    fs::remove_file(&store).unwrap();
    lab.sandbox(&["state", "recover"]).code(0);
    assert_eq!(take(&lab, &[])["state_sequence"], Value::Null);
}

#[test]
fn health_names_damaged_snapshots() {
    let lab = lab();
    let check = |name: &str| {
        let health = lab.sandbox(&["health", "--json"]).json();
        let checks = health["checks"].as_array().unwrap().iter();
        let mut checks = checks.filter(|it| it["name"] == name);
        checks.next().unwrap().clone()
    };
    assert_eq!(check("repository")["state"], "healthy");
    let taken = take(&lab, &[]);
    assert_eq!(check("repository")["state"], "healthy");
    let packs = lab.data().join("sandboxes/workspace/repository/packs");
    fs::remove_file(packs.join("00000001.pack")).unwrap();
    let found = check("repository");
    assert_eq!(found["state"], "failed");
    let detail = found["detail"].as_str().unwrap();
    assert!(detail.contains(id(&taken)), "{detail}");
    assert!(detail.contains("snapshot repair"), "{detail}");
}
