//! An undo is taken back, and again undone.

use super::{basic::rich, crash::recover_with_crashes, *};
use crate::{UndoError, step::with_steps};

fn redo(lab: &Lab, name: &str) {
    lab.manager.redo(&id(name), OnConflict::Refuse).unwrap();
}

fn change(lab: &Lab, name: &str, edit: impl FnOnce(&Path)) {
    let tx = lab.begin(name);
    edit(tx.upper());
    commit(tx);
}

#[test]
fn back_and_forth_changes_nothing() {
    let (lab, tx) = rich("op");
    let before = lab.manifest();
    commit(tx);
    let after = lab.manifest();
    for _ in 0..3 {
        lab.undo("op");
        assert_same(&before, &lab.manifest(), "undone");
        assert_eq!(lab.manager.redoable().unwrap(), [id("op")]);
        let plan = lab.manager.redo_plan(&id("op")).unwrap();
        assert!(plan.conflicts.is_empty() && !plan.changes.is_empty());
        redo(&lab, "op");
        assert_same(&after, &lab.manifest(), "redone");
        assert_eq!(lab.manager.undoable().unwrap(), [id("op")]);
        assert!(lab.manager.redoable().unwrap().is_empty());
        assert!(!lab.layers().join("redo").exists());
    }
}

#[test]
fn a_chain_goes_back_and_forth() {
    let (lab, tx) = rich("op0");
    let mut states = vec![lab.manifest()];
    commit(tx);
    for number in 1..4 {
        states.push(lab.manifest());
        change(&lab, &format!("op{number}"), |up| {
            write(&up.join("edit"), &format!("text {number}"));
            write(&up.join("fresh/x/y"), &format!("text {number}"));
            write(&up.join(format!("fresh/new{number}")), "");
        });
    }
    states.push(lab.manifest());
    for round in 0..2 {
        for number in (0..4).rev() {
            lab.undo(&format!("op{number}"));
            assert_same(&states[number], &lab.manifest(), &format!("undo {number}"));
        }
        let newest = lab.manager.redoable().unwrap();
        assert_eq!(newest.last(), Some(&id("op0")));
        for number in 0..4 {
            redo(&lab, &format!("op{number}"));
            let now = lab.manifest();
            assert_same(
                &states[number + 1],
                &now,
                &format!("{round}: redo {number}"),
            );
        }
    }
}

#[test]
fn an_operation_in_the_middle_is_undone_and_redone() {
    let lab = Lab::new();
    lab.file("a", "a0").file("b", "b0").file("c", "c0");
    for (name, path) in [("op1", "a"), ("op2", "b"), ("op3", "c")] {
        change(&lab, name, |up| write(&up.join(path), name));
    }
    let text = |path: &str| fs::read_to_string(lab.ws().join(path)).unwrap();
    lab.undo("op2");
    assert_eq!([text("a"), text("b"), text("c")], ["op1", "b0", "op3"]);
    redo(&lab, "op2");
    assert_eq!([text("a"), text("b"), text("c")], ["op1", "op2", "op3"]);
    lab.undo("op1");
    lab.undo("op3");
    lab.undo("op2");
    assert_eq!([text("a"), text("b"), text("c")], ["a0", "b0", "c0"]);
}

#[test]
fn edits_since_the_undo_are_refused_or_moved_aside() {
    let (lab, tx) = rich("op");
    commit(tx);
    let after = lab.manifest();
    lab.undo("op");
    lab.file("edit", "mine").file("fresh", "mine");
    let mine = lab.manifest();
    let Err(UndoError::Conflict { paths, .. }) = lab.manager.redo(&id("op"), OnConflict::Refuse)
    else {
        panic!("no conflict");
    };
    assert_eq!(paths, ["edit", "fresh"].map(PathBuf::from));
    assert_same(&mine, &lab.manifest(), "a refused redo");
    lab.manager.redo(&id("op"), OnConflict::Force).unwrap();
    let mut now = lab.manifest();
    // The root was edited too: its time stays.
    now.get_mut(Path::new("")).unwrap().mtime = after[Path::new("")].mtime;
    assert_same(&after, &now, "a forced redo");
}

/// A forced undo moves edits aside; its redo brings them back, and nothing is lost.
#[test]
fn the_redo_of_a_forced_undo_brings_the_edits_back() {
    let (lab, tx) = rich("op");
    commit(tx);
    lab.file("edit", "mine").file("gone", "mine");
    lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
    redo(&lab, "op");
    let text = |path: &str| fs::read_to_string(lab.ws().join(path)).unwrap();
    assert_eq!([text("edit"), text("gone")], ["mine", "mine"]);
}

#[test]
fn a_redo_stopped_anywhere_is_before_or_after() {
    let mut endings = [0, 0];
    for steps in 0..2_000 {
        let (lab, tx) = rich("op");
        let initial = lab.manifest();
        commit(tx);
        let committed = lab.manifest();
        lab.undo("op");
        let (_, ran_out) = with_steps(steps, || {
            lab.manager.redo(&id("op"), OnConflict::Refuse).is_ok()
        });
        recover_with_crashes(&lab, steps);
        let now = lab.manifest();
        if lab.manager.undoable().unwrap().is_empty() {
            endings[0] += 1;
            assert_same(&initial, &now, &format!("not redone at step {steps}"));
            redo(&lab, "op");
        } else {
            endings[1] += 1;
        }
        assert_same(
            &committed,
            &lab.manifest(),
            &format!("redone at step {steps}"),
        );
        lab.undo("op");
        assert_same(&initial, &lab.manifest(), &format!("undone at {steps}"));
        if !ran_out {
            assert!(endings[0] > 2 && endings[1] > 10, "{endings:?}");
            println!("redo: stopped at {steps} steps, {endings:?} before/after");
            return;
        }
    }
    panic!("the redo takes more than 2000 steps");
}
