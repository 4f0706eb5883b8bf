//! What is kept for undoing is limited by number, age and size.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::UndoLimits;

/// A workspace in which each of these operations replaced a file of 64 KiB.
fn replaced(names: &[&str]) -> Lab {
    let lab = Lab::new();
    lab.file("a", &"x".repeat(65_536));
    for name in names {
        let tx = lab.begin(name);
        write(&tx.upper().join("a"), &name.repeat(65_536 / name.len()));
        commit(tx);
    }
    lab
}

fn after(lab: &Lab, by: Duration) -> SystemTime {
    let sealed = fs::metadata(lab.layers().join("undo/op1/sealed")).unwrap();
    sealed.modified().unwrap() + by
}

#[test]
fn old_sets_go_and_the_newest_stays() {
    let hour = Duration::from_secs(3600);
    let limits = UndoLimits {
        age: Some(hour),
        ..UndoLimits::newest(10)
    };
    let lab = replaced(&["op1", "op2", "op3"]);
    let soon = after(&lab, hour / 2);
    assert!(lab.manager.retain(&limits, soon).unwrap().is_empty());
    let late = after(&lab, hour * 2);
    assert_eq!(
        lab.manager.retain(&limits, late).unwrap(),
        [id("op1"), id("op2")]
    );
    lab.undo("op3");
    assert_eq!(fs::read(lab.ws().join("a")).unwrap()[..3], *b"op2");
}

#[test]
fn large_sets_go_and_the_newest_stays() {
    let lab = replaced(&["op1", "op2", "op3"]);
    let limits = |bytes| UndoLimits {
        bytes: Some(bytes),
        ..UndoLimits::newest(10)
    };
    let retain = |bytes| lab.manager.retain(&limits(bytes), UNIX_EPOCH).unwrap();
    assert!(retain(1 << 20).is_empty());
    assert_eq!(retain(160 << 10), [id("op1")]);
    assert_eq!(retain(1), [id("op2")]);
    assert_eq!(lab.manager.undoable().unwrap(), [id("op3")]);
    lab.undo("op3");
    // What an undo took out has other files, and is measured again.
    fs::write(lab.layers().join("undone/op3/upper/a"), vec![1; 1 << 20]).unwrap();
    assert!(retain(1).is_empty());
    assert_eq!(lab.manager.redoable().unwrap(), [id("op3")]);
}
