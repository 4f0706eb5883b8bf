//! What goes with a sandbox is said, and a person is asked before.

use crate::{lab::Lab, terminal::Sitting};

fn with_things() -> Lab {
    let lab = Lab::new();
    lab.run("echo 1 > a");
    lab.run("echo 2 > b");
    lab.sandbox(&["snapshot", "create"]).code(0);
    lab.sandbox(&["state", "set", "--secret", "token", "sesame-open"])
        .code(0);
    lab.sandbox(&["state", "set", "plain", "value"]).code(0);
    lab
}

const LOST: &str = "1 snapshot, 1 secret, 2 undoable operations";

#[test]
fn what_goes_with_it_is_said() {
    let lab = with_things();
    lab.sandbox(&["destroy"])
        .code(0)
        .says(&format!("destroyed 'workspace' with {LOST}; "));
    lab.sandbox(&["create"]).code(0);
    lab.sandbox(&["destroy"])
        .code(0)
        .says("destroyed 'workspace'; ");
    let lab = with_things();
    let destroyed = lab.sandbox(&["destroy", "--json"]).code(0).json();
    let lost = serde_json::json!({ "snapshots": 1, "secrets": 1, "undoable": 2 });
    assert_eq!(destroyed["lost"], lost);
}

#[test]
fn a_person_is_asked_before_it_goes() {
    let lab = with_things();
    let mut sitting = Sitting::start(&lab, &["destroy"]);
    sitting.sees(LOST).sees("[N]o: ").types("\n");
    let (status, shown) = sitting.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("nothing was destroyed"), "{shown}");
    lab.sandbox(&["undo", "--dry-run"]).code(0);
    // Somebody who says it before is not asked.
    let (status, shown) = Sitting::start(&lab, &["destroy", "--yes"]).end();
    assert_eq!(status.code(), Some(0), "{shown}");
    // Nothing is lost, so nobody is asked.
    lab.sandbox(&["create"]).code(0);
    let (status, shown) = Sitting::start(&lab, &["destroy"]).end();
    assert_eq!(status.code(), Some(0), "{shown}");
    // A yes is one.
    let lab = with_things();
    let mut sitting = Sitting::start(&lab, &["destroy"]);
    sitting.sees("[N]o: ").types("y\n");
    let (status, shown) = sitting.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    lab.sandbox(&["status"]).code(1);
}
