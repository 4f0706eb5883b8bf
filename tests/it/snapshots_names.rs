//! What a person calls a snapshot, and where one is restored to.

use std::fs;

use crate::lab::Lab;

#[test]
fn a_tag_is_taken_wherever_an_id_is() {
    let lab = Lab::new().file("a", "1");
    let taken = lab.sandbox(&["create"]);
    taken.code(0);
    let id = lab.sandbox(&["snapshot", "create", "--tag", "before", "--json"]);
    let id = id.json()["id"].as_str().unwrap().to_owned();
    fs::write(lab.workspace().join("a"), "2").unwrap();
    let shown = lab.sandbox(&["snapshot", "show", "before"]);
    shown.code(0).prints(&id);
    lab.sandbox(&["snapshot", "diff", "before"])
        .code(0)
        .prints("M a");
    let file = lab.root().join("exported");
    lab.sandbox(&["snapshot", "export", "before", file.to_str().unwrap()])
        .code(0);
    lab.sandbox(&["snapshot", "restore", "before"]).code(0);
    assert_eq!(lab.read("a").as_deref(), Some("1"));
    fs::write(lab.workspace().join("a"), "3").unwrap();
    lab.sandbox(&["rollback", "before"]).code(0);
    assert_eq!(lab.read("a").as_deref(), Some("1"));
    lab.sandbox(&["state", "set", "k", "v"]).code(0);
    lab.sandbox(&["state", "get", "k", "--at", "before"])
        .code(1);
    // Of two with the tag, none is chosen.
    let other = lab.sandbox(&["snapshot", "create", "--tag", "before", "--json"]);
    let other = other.json()["id"].as_str().unwrap().to_owned();
    for args in [
        &["rollback", "before"][..],
        &["snapshot", "delete", "before"],
    ] {
        lab.sandbox(args)
            .code(1)
            .says("'before' is the tag of 2 snapshots")
            .says(&id[..12])
            .says(&other[..12]);
    }
    lab.sandbox(&["snapshot", "delete", &other]).code(0);
    lab.sandbox(&["snapshot", "delete", "before"]).code(0);
    lab.sandbox(&["snapshot", "show", "before"]).code(1);
}

#[test]
fn no_restore_goes_into_a_workspace_without_a_transaction() {
    let lab = Lab::new().file("a", "1").file("inner/b", "2");
    lab.sandbox(&["create"]).code(0);
    lab.sandbox(&["snapshot", "create", "--tag", "t"]).code(0);
    let before = lab.tree();
    for to in ["new", "inner/deeper/new", "."] {
        lab.sandbox(&["snapshot", "restore", "t", "--to", to])
            .code(1)
            .says("lies in the workspace of 'workspace'")
            .says("without --to");
    }
    assert_eq!(lab.tree(), before);
    let outside = lab.root().join("outside/new");
    lab.sandbox(&[
        "snapshot",
        "restore",
        "t",
        "--to",
        outside.to_str().unwrap(),
    ])
    .code(0);
    assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "1");
}
