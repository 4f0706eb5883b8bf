//! Undo meets what happened since.

use super::{basic::rich, *};
use crate::UndoError;

fn change(lab: &Lab, name: &str, edit: impl FnOnce(&Path)) {
    let tx = lab.begin(name);
    edit(tx.upper());
    commit(tx);
}

#[track_caller]
fn conflicts(lab: &Lab, name: &str) -> Vec<PathBuf> {
    match lab.manager.undo(&id(name), OnConflict::Refuse) {
        Err(UndoError::Conflict { paths, .. }) => paths,
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn newest_first_goes_back_to_the_start() {
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
    for number in (0..4).rev() {
        let plan = lab.manager.undo_plan(&id(&format!("op{number}"))).unwrap();
        assert!(plan.conflicts.is_empty() && !plan.changes.is_empty());
        lab.undo(&format!("op{number}"));
        assert_same(&states[number], &lab.manifest(), &format!("op{number}"));
    }
    assert!(!lab.layers().join("ledger").exists());
}

#[test]
fn an_edit_between_two_operations_is_not_forgotten() {
    let lab = Lab::new();
    lab.file("a", "start");
    change(&lab, "op1", |up| write(&up.join("a"), "one"));
    lab.file("a", "mine");
    change(&lab, "op2", |up| write(&up.join("a"), "two"));
    lab.undo("op2");
    assert_eq!(fs::read(lab.ws().join("a")).unwrap(), b"mine");
    assert_eq!(conflicts(&lab, "op1"), [PathBuf::from("a")]);
}

#[test]
fn edits_are_refused_or_moved_aside() {
    let (lab, tx) = rich("op");
    let before = lab.manifest();
    commit(tx);
    lab.file("edit", "mine")
        .file("fresh/x/mine", "mine")
        .file("gone", "mine");
    fs::remove_file(lab.ws().join("link")).unwrap();
    let mine = lab.manifest();
    let expected = ["edit", "fresh/x", "gone", "link"].map(PathBuf::from);
    assert_eq!(conflicts(&lab, "op"), expected);
    assert_same(&mine, &lab.manifest(), "a refused undo");
    let undone = lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
    assert_eq!(undone.overwritten, expected);
    assert!(undone.left_alone.is_empty());
    let mut now = lab.manifest();
    // The root was edited too: its time stays.
    now.get_mut(Path::new("")).unwrap().mtime = before[Path::new("")].mtime;
    assert_same(&before, &now, "a forced undo");
    let set = lab.layers().join("undone/op");
    assert_eq!(fs::read(set.join("upper/edit")).unwrap(), b"mine");
    assert_eq!(fs::read(set.join("upper/fresh/x/mine")).unwrap(), b"mine");
    let kept = fs::read_dir(set.join("kept")).unwrap();
    let mut kept = kept
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    assert!(kept.any(|path| fs::read(path).unwrap() == b"mine"));
}

#[test]
fn a_forced_undo_makes_removed_directories_again() {
    let lab = Lab::new();
    lab.file("a/b/gone", "1").file("a/b/edit", "1");
    let before = lab.manifest();
    change(&lab, "op", |up| {
        whiteout(&up.join("a/b/gone"));
        write(&up.join("a/b/edit"), "2");
    });
    fs::remove_dir_all(lab.ws().join("a")).unwrap();
    conflicts(&lab, "op");
    lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
    let content = |m: &Manifest| {
        m.iter()
            .map(|(p, i)| (p.clone(), i.content.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&before), content(&lab.manifest()));
}

#[test]
fn a_new_file_beside_is_no_conflict() {
    let (lab, tx) = rich("op");
    commit(tx);
    lab.file("dir/mine", "mine");
    lab.undo("op");
    assert_eq!(fs::read(lab.ws().join("dir/mine")).unwrap(), b"mine");
    assert_eq!(fs::read(lab.ws().join("dir/other")).unwrap(), b"two");
}

#[test]
fn unknown_and_damaged_sets_are_errors() {
    let (lab, tx) = rich("op");
    commit(tx);
    let after = lab.manifest();
    let unknown = lab.manager.undo(&id("other"), OnConflict::Refuse);
    assert!(matches!(unknown, Err(UndoError::Unknown { .. })));
    let journal = lab.layers().join("undo/op/journal");
    let good = fs::read(&journal).unwrap();
    for position in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&journal, &bad).unwrap();
        assert!(lab.manager.undo(&id("op"), OnConflict::Force).is_err());
    }
    fs::write(&journal, &good[..good.len() / 2]).unwrap();
    assert!(lab.manager.undo(&id("op"), OnConflict::Force).is_err());
    assert_same(&after, &lab.manifest(), "a damaged journal");
}
