//! Several operations are undone as one, a part is undone at once, and edits stay beside.

use super::{crash::recover_with_crashes, *};
use crate::{Direction, PortionError, UndoError, step::with_steps};

fn chain(lab: &Lab) -> [Manifest; 2] {
    lab.file("a", "a0").file("b", "b0").file("dir/c", "c0");
    let before = lab.manifest();
    for (name, path) in [("op1", "a"), ("op2", "dir/c"), ("op3", "a")] {
        let tx = lab.begin(name);
        write(&tx.upper().join(path), name);
        write(&tx.upper().join(format!("new-{name}/x")), name);
        commit(tx);
    }
    [before, lab.manifest()]
}

fn newest_first() -> [OperationId; 3] {
    ["op3", "op2", "op1"].map(id)
}

#[test]
fn all_are_undone_and_redone() {
    let lab = Lab::new();
    let [before, after] = chain(&lab);
    let (undo, refuse) = (Direction::Undo, OnConflict::Refuse);
    let plan = lab
        .manager
        .plan_together(undo, &newest_first(), refuse)
        .unwrap();
    assert_eq!(plan.conflicts, Vec::<PathBuf>::new());
    let of = |path: &str| {
        plan.changes
            .iter()
            .filter(|it| it.path == Path::new(path))
            .count()
    };
    assert_eq!([of("a"), of("dir/c"), of("new-op2")], [1, 1, 1]);
    lab.manager
        .go_together(undo, &newest_first(), refuse)
        .unwrap();
    assert_same(&before, &lab.manifest(), "undone");
    let oldest_first = ["op1", "op2", "op3"].map(id);
    lab.manager
        .go_together(Direction::Redo, &oldest_first, refuse)
        .unwrap();
    assert_same(&after, &lab.manifest(), "redone");
}

#[test]
fn an_edit_refuses_all_of_them() {
    let lab = Lab::new();
    chain(&lab);
    lab.file("dir/c", "mine");
    let now = lab.manifest();
    let refused = lab
        .manager
        .go_together(Direction::Undo, &newest_first(), OnConflict::Refuse);
    assert!(
        matches!(refused, Err(UndoError::Conflict { paths, .. }) if paths == [Path::new("dir/c")])
    );
    assert_same(&now, &lab.manifest(), "refused");
    assert_eq!(lab.manager.undoable().unwrap().len(), 3);
}

/// Stopped at any step, all are undone or none.
#[test]
fn stopped_anywhere_it_is_all_or_nothing() {
    let mut endings = [0, 0];
    for steps in 0..1_000 {
        let lab = Lab::new();
        let [before, after] = chain(&lab);
        let (_, ran_out) = with_steps(steps, || {
            let ids = newest_first();
            lab.manager
                .go_together(Direction::Undo, &ids, OnConflict::Refuse)
                .is_ok()
        });
        recover_with_crashes(&lab, steps);
        assert!(!lab.layers().join("together").exists(), "{steps}");
        match lab.manager.undoable().unwrap().len() {
            3 => {
                endings[0] += 1;
                assert_same(&after, &lab.manifest(), &format!("nothing at {steps}"));
            }
            0 => {
                endings[1] += 1;
                assert_same(&before, &lab.manifest(), &format!("all at {steps}"));
            }
            some => panic!("{some} of 3 are undone at step {steps}"),
        }
        if !ran_out {
            assert!(endings[0] > 2 && endings[1] > 20, "{endings:?}");
            println!("together: stopped at {steps} steps, {endings:?} before/after");
            return;
        }
    }
    panic!("it takes more than 1000 steps");
}

/// What cannot be finished goes all the way back.
#[test]
fn what_cannot_go_on_is_reversed() {
    let lab = Lab::new();
    let [_, after] = chain(&lab);
    let journal = lab.layers().join("undo/op1/journal");
    let whole = fs::read(&journal).unwrap();
    for steps in 0..400 {
        let ((), ran_out) = with_steps(steps, || {
            let ids = newest_first();
            drop(
                lab.manager
                    .go_together(Direction::Undo, &ids, OnConflict::Refuse),
            );
        });
        if lab.manager.undoable().unwrap().len() < 3 {
            // The last one of them is damaged after the crash.
            fs::write(&journal, b"damaged").unwrap();
            let recovery = lab.manager.recover().unwrap();
            assert_eq!(recovery.reversed, newest_first(), "{recovery:?}");
            assert!(recovery.undone.is_empty());
            assert_same(&after, &lab.manifest(), "reversed");
            fs::write(&journal, &whole).unwrap();
            return;
        }
        assert!(ran_out, "it was never stopped between two of them");
        lab.manager.recover().unwrap();
        let oldest_first = ["op1", "op2", "op3"].map(id);
        if lab.manager.undoable().unwrap().is_empty() {
            lab.manager
                .go_together(Direction::Redo, &oldest_first, OnConflict::Refuse)
                .unwrap();
        }
    }
    panic!("no step is between two of them");
}

/// A part is undone, or nothing is: never two operations that can be undone.
#[test]
fn a_part_stopped_anywhere_is_undone_or_whole() {
    let mut endings = [0, 0];
    let globs = ["a".to_owned(), "new".to_owned()];
    for steps in 0..400 {
        let lab = Lab::new();
        lab.file("a", "a0").file("b", "b0");
        let before = lab.manifest();
        let tx = lab.begin("op");
        for path in ["a", "b", "new/x"] {
            write(&tx.upper().join(path), "new");
        }
        commit(tx);
        let after = lab.manifest();
        let part = id("part");
        let ((), ran_out) = with_steps(steps, || {
            let what = (&globs[..], &part);
            drop(
                lab.manager
                    .go_part((Direction::Undo, &id("op")), what, OnConflict::Refuse),
            );
        });
        recover_with_crashes(&lab, steps);
        assert_eq!(lab.manager.undoable().unwrap(), [id("op")], "{steps}");
        if lab.manager.redoable().unwrap().is_empty() {
            endings[0] += 1;
            assert_same(&after, &lab.manifest(), &format!("at {steps}"));
        } else {
            endings[1] += 1;
            assert_eq!(fs::read_to_string(lab.ws().join("a")).unwrap(), "a0");
            assert!(!lab.ws().join("new").exists());
        }
        lab.undo("op");
        assert_same(&before, &lab.manifest(), &format!("all undone at {steps}"));
        if !ran_out {
            assert!(endings[0] > 3 && endings[1] > 10, "{endings:?}");
            return;
        }
    }
    panic!("it takes more than 400 steps");
}

#[test]
fn both_are_kept() {
    let lab = Lab::new();
    lab.file("edit", "old")
        .file("gone", "gone")
        .file("sub/deep", "old");
    let tx = lab.begin("op");
    write(&tx.upper().join("edit"), "new");
    write(&tx.upper().join("made/x"), "new");
    write(&tx.upper().join("sub/deep"), "new");
    whiteout(&tx.upper().join("gone"));
    commit(tx);
    for path in ["edit", "made/x", "gone"] {
        lab.file(path, "mine");
    }
    lab.file("edit.edited", "another");
    let both = OnConflict::KeepBoth;
    let plan = lab
        .manager
        .plan_of(Direction::Undo, &id("op"), both)
        .unwrap();
    let pair = |path: &str, aside: &str| (PathBuf::from(path), PathBuf::from(aside));
    let mut kept = plan.kept.clone();
    kept.sort();
    let expected = [
        pair("edit", "edit.edited-2"),
        pair("gone", "gone.edited"),
        pair("made", "made.edited"),
    ];
    assert_eq!(kept, expected);
    let committed = lab.manifest();
    let done = lab.manager.undo(&id("op"), both).unwrap();
    assert_eq!(done.kept, plan.kept);
    let text = |path: &str| fs::read_to_string(lab.ws().join(path)).unwrap_or_default();
    assert_eq!(
        [text("edit"), text("gone"), text("sub/deep")],
        ["old", "gone", "old"]
    );
    assert_eq!(
        [
            text("edit.edited-2"),
            text("gone.edited"),
            text("made.edited/x")
        ],
        ["mine"; 3]
    );
    assert_eq!(text("edit.edited"), "another");
    assert!(!lab.ws().join("made").exists());
    // And back: the edits are where they were.
    lab.manager.redo(&id("op"), OnConflict::Refuse).unwrap();
    let contents = |it: &Manifest| {
        let pair = |(path, item): (&PathBuf, &Item)| (path.clone(), item.content.clone());
        it.iter().map(pair).collect::<Vec<_>>()
    };
    assert_eq!(contents(&committed), contents(&lab.manifest()));
}

#[test]
fn the_longest_names_are_kept_too() {
    let lab = Lab::new();
    let long = "ä".repeat(127);
    lab.file(&long, "old");
    let tx = lab.begin("op");
    write(&tx.upper().join(&long), "new");
    commit(tx);
    lab.file(&long, "mine");
    let done = lab.manager.undo(&id("op"), OnConflict::KeepBoth).unwrap();
    let (_, aside) = &done.kept[0];
    assert!(aside.to_str().unwrap().ends_with("ä.edited"), "{aside:?}");
    assert_eq!(fs::read_to_string(lab.ws().join(aside)).unwrap(), "mine");
}

#[test]
fn the_ends_of_a_rename_are_not_parted() {
    let lab = Lab::new();
    lab.file("old/x", "text").file("other", "0");
    let tx = lab.begin("op");
    renames::copy(&lab, &tx, "old", "new");
    whiteout(&tx.upper().join("old"));
    write(&tx.upper().join("other"), "1");
    commit(tx);
    let portion = |globs: &[&str]| {
        let globs: Vec<String> = globs.iter().map(|&it| it.to_owned()).collect();
        lab.manager
            .portion_plan(Direction::Undo, &id("op"), (&globs, OnConflict::Refuse))
    };
    assert!(matches!(
        portion(&["old"]),
        Err(PortionError::Renamed { .. })
    ));
    assert!(portion(&["old", "new"]).unwrap().is_some());
    assert!(portion(&["other"]).unwrap().is_some());
}
