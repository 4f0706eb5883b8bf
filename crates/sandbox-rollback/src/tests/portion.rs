//! A part of an operation is undone and redone, and together it is what it was.

use super::{basic::rich, crash::recover_with_crashes, *};
use crate::{Direction, PortionError, step::with_steps};

fn globs(globs: &[&str]) -> Vec<String> {
    globs.iter().map(|&glob| glob.to_owned()).collect()
}

/// Takes a part out under the id `part`; returns whether there is a rest.
fn portion(lab: &Lab, direction: Direction, selected: &[&str]) -> Result<bool, PortionError> {
    let part = id("part");
    let taken = lab
        .manager
        .portion(direction, &id("op"), (&globs(selected), &part));
    taken.map(|it| it.is_some())
}

fn redo(lab: &Lab, name: &str) {
    lab.manager.redo(&id(name), OnConflict::Refuse).unwrap();
}

#[test]
fn a_part_is_undone_and_the_rest_stays() {
    let lab = Lab::new();
    lab.file("a", "a0").file("b", "b0").file("dir/c", "c0");
    let before = lab.manifest();
    let tx = lab.begin("op");
    write(&tx.upper().join("a"), "a1");
    write(&tx.upper().join("dir/c"), "c1");
    write(&tx.upper().join("new/d"), "d1");
    whiteout(&tx.upper().join("b"));
    commit(tx);
    let after = lab.manifest();
    let text = |path: &str| fs::read_to_string(lab.ws().join(path)).ok();
    let selected = globs(&["b", "dir/*"]);
    let plan = lab
        .manager
        .portion_plan(Direction::Undo, &id("op"), (&selected, OnConflict::Force));
    let plan = plan.unwrap().unwrap();
    let paths: Vec<_> = plan.changes.iter().map(|it| it.path.clone()).collect();
    assert_eq!(paths, ["b", "dir/c"].map(PathBuf::from));
    assert_same(&after, &lab.manifest(), "only planned");

    // An edit of what is not selected is no conflict.
    lab.file("a", "mine");
    assert!(portion(&lab, Direction::Undo, &["b", "dir/*"]).unwrap());
    lab.undo("part");
    assert_eq!(text("b").as_deref(), Some("b0"));
    assert_eq!(text("dir/c").as_deref(), Some("c0"));
    assert_eq!(text("a").as_deref(), Some("mine"));
    assert_eq!(text("new/d").as_deref(), Some("d1"));
    assert_eq!(lab.manager.undoable().unwrap(), [id("op")]);
    assert_eq!(lab.manager.redoable().unwrap(), [id("part")]);
    lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
    assert_same(&before, &lab.manifest(), "all undone");

    let third = (&globs(&["new"])[..], &id("third"));
    let taken = lab.manager.portion(Direction::Redo, &id("op"), third);
    assert_eq!(taken.unwrap().unwrap().len(), 2);
    redo(&lab, "third");
    assert_eq!(text("new/d").as_deref(), Some("d1"));
    assert_eq!(text("a").as_deref(), Some("a0"));
    redo(&lab, "part");
    assert_eq!((text("b"), text("dir/c").as_deref()), (None, Some("c1")));
}

#[test]
fn what_moves_as_a_whole_is_not_cut() {
    let lab = Lab::new();
    lab.file("a", "1");
    let tx = lab.begin("op");
    write(&tx.upper().join("new/in"), "");
    write(&tx.upper().join("new/other"), "");
    write(&tx.upper().join("a"), "2");
    fs::hard_link(tx.upper().join("a"), tx.upper().join("b")).unwrap();
    commit(tx);
    let undo = |glob: &str| portion(&lab, Direction::Undo, &[glob]);
    assert!(
        matches!(undo("new/in"), Err(PortionError::Whole { path }) if path == Path::new("new"))
    );
    assert!(matches!(undo("a"), Err(PortionError::HardLink { .. })));
    assert!(matches!(undo("none"), Err(PortionError::Nothing { .. })));
    assert!(matches!(undo("["), Err(PortionError::Glob(_))));
    assert!(!undo("**").unwrap());
    assert_eq!(lab.manager.undoable().unwrap(), [id("op")]);
    assert!(undo("[ab]").unwrap());
    assert!(lab.ws().join("new").exists());
    // All that is in a new directory is the directory.
    assert!(!undo("new/*").unwrap(), "nothing else is left of it");
    lab.undo("op");
    assert!(!lab.ws().join("new").exists());
}

/// Stopped at any step, the workspace is as it was, and one set or two undo all.
#[test]
fn a_portion_stopped_anywhere_loses_nothing() {
    for direction in [Direction::Undo, Direction::Redo] {
        stop_everywhere(direction);
    }
}

fn stop_everywhere(direction: Direction) {
    let mut endings = [0, 0];
    for steps in 0..300 {
        let (lab, tx) = rich("op");
        let before = lab.manifest();
        commit(tx);
        let after = lab.manifest();
        let (mut from, mut to) = (&after, &before);
        if direction == Direction::Redo {
            lab.undo("op");
            (from, to) = (&before, &after);
        }
        let (_, ran_out) = with_steps(steps, || {
            portion(&lab, direction, &["edit", "gone", "fresh"]).is_ok()
        });
        recover_with_crashes(&lab, steps);
        assert_same(from, &lab.manifest(), &format!("{direction:?} at {steps}"));
        assert!(!lab.layers().join("parting").exists(), "{steps}");
        let sets = match direction {
            Direction::Undo => lab.manager.undoable().unwrap(),
            Direction::Redo => lab.manager.redoable().unwrap(),
        };
        endings[sets.len() - 1] += 1;
        for set in &sets {
            match direction {
                Direction::Undo => lab.undo(set.as_str()),
                Direction::Redo => redo(&lab, set.as_str()),
            }
        }
        assert_same(to, &lab.manifest(), &format!("{direction:?} after {steps}"));
        if !ran_out {
            assert!(endings[0] > 5 && endings[1] > 5, "{endings:?}");
            return;
        }
    }
    panic!("taking a part takes more than 300 steps");
}
