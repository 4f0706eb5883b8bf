//! The life of one transaction.

use std::{os::unix::fs::MetadataExt as _, time::UNIX_EPOCH};

use super::*;
use crate::{
    CommitError, ResumeError, UndoLimits,
    apply::Sides,
    layout::Layout,
    plan::{Identity, Move, Plan},
};

/// A workspace with a bit of everything, and an upper layer that changes all of it.
pub(crate) fn rich(name: &str) -> (Lab, Transaction) {
    let lab = Lab::new();
    lab.file("keep", "same")
        .file("edit", "old")
        .file("gone", "deleted")
        .file("dir/inner", "one")
        .file("dir/other", "two")
        .file("replaced/old", "old")
        .file("replaced/both", "old")
        .file("tree/a/b/c", "deep")
        .file("becomes-dir", "file");
    std::os::unix::fs::symlink("keep", lab.ws().join("link")).unwrap();
    fs::hard_link(lab.ws().join("keep"), lab.ws().join("keep2")).unwrap();
    let tx = lab.begin(name);
    fill(&lab, &tx);
    (lab, tx)
}

pub(crate) fn fill(lab: &Lab, tx: &Transaction) {
    let up = tx.upper().to_owned();
    write(&up.join("edit"), "new");
    set_xattr(&up.join("edit"), "user.overlay.origin", "");
    whiteout(&up.join("gone"));
    whiteout(&up.join("never-was"));
    write(&up.join("dir/new"), "three");
    whiteout(&up.join("dir/other"));
    write(&up.join("fresh/x/y"), "nested");
    whiteout(&up.join("fresh/x/forged"));
    set_xattr(&up.join("fresh/x/y"), "user.overlay.overlay.opaque", "y");
    opaque(&up.join("replaced"));
    write(&up.join("replaced/both"), "new");
    whiteout(&up.join("tree"));
    opaque(&up.join("becomes-dir"));
    write(&up.join("becomes-dir/file"), "inside");
    std::os::unix::fs::symlink("edit", up.join("link")).unwrap();
    fs::write(up.join("twin1"), "twin").unwrap();
    fs::hard_link(up.join("twin1"), up.join("twin2")).unwrap();
    assert!(lab.ws().join("gone").exists());
}

#[test]
fn changes_are_listed_exactly() {
    let (_lab, tx) = rich("op");
    let expected = "M becomes-dir|A becomes-dir/file|A dir/new|D dir/other|M edit|A fresh|A fresh/x\
        |A fresh/x/y|D gone|M link|m replaced|M replaced/both|D replaced/old|D tree|D tree/a\
        |D tree/a/b|D tree/a/b/c|A twin1|A twin2";
    let listed = listed(&tx);
    let listed: Vec<_> = listed.iter().filter(|line| *line != "m dir").collect();
    assert_eq!(listed, expected.split('|').collect::<Vec<_>>());
}

#[test]
fn commit_brings_all_and_undo_takes_all() {
    let (lab, tx) = rich("op");
    let before = lab.manifest();
    let committed = commit(tx);
    assert!(committed.undoable && committed.left_alone.is_empty());
    let ws = lab.ws();
    let text = |path: &str| fs::read_to_string(ws.join(path)).unwrap();
    assert_eq!(text("edit"), "new");
    assert_eq!(text("fresh/x/y"), "nested");
    assert_eq!(text("becomes-dir/file"), "inside");
    assert_eq!(text("replaced/both"), "new");
    assert_eq!(text("dir/inner"), "one");
    for gone in [
        "gone",
        "never-was",
        "dir/other",
        "replaced/old",
        "tree",
        "fresh/x/forged",
    ] {
        assert!(fs::symlink_metadata(ws.join(gone)).is_err(), "{gone}");
    }
    let after = lab.manifest();
    let marks = |item: &Item| item.xattrs.keys().cloned().collect::<Vec<_>>();
    assert!(marks(&after[Path::new("edit")]).is_empty());
    assert!(marks(&after[Path::new("fresh/x/y")]).is_empty());
    assert_eq!(after[Path::new("twin2")].hard_link, Some("twin1".into()));
    assert_eq!(lab.manager.undoable().unwrap(), [id("op")]);
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
    assert!(lab.manager.undoable().unwrap().is_empty());
}

#[test]
fn an_untouched_upper_changes_nothing() {
    let lab = Lab::new();
    lab.file("a", "1");
    let before = lab.manifest();
    let tx = lab.begin("op");
    assert!(tx.changes().unwrap().is_empty());
    assert!(!commit(tx).undoable);
    lab.begin("op").discard().unwrap();
    lab.manager.empty_trash().unwrap();
    assert_same(&before, &lab.manifest(), "after nothing");
    assert_eq!(fs::read_dir(lab.layers().join("tx")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(lab.layers().join("trash")).unwrap().count(), 0);
}

#[test]
fn held_changes_survive_and_can_be_decided_later() {
    let (lab, tx) = rich("first");
    tx.hold().unwrap();
    lab.begin("second").hold().unwrap();
    assert_eq!(lab.manager.pending().unwrap(), [id("first"), id("second")]);
    assert!(lab.manager.recover().unwrap().interrupted.is_empty());
    let tx = lab.manager.resume(&id("first")).unwrap();
    assert!(matches!(
        lab.manager.resume(&id("first")),
        Err(ResumeError::Busy { .. })
    ));
    commit(tx);
    lab.manager
        .resume(&id("second"))
        .unwrap()
        .discard()
        .unwrap();
    assert!(lab.manager.pending().unwrap().is_empty());
    assert_eq!(fs::read(lab.ws().join("edit")).unwrap(), b"new");
}

#[test]
fn an_abandoned_transaction_is_discarded() {
    let (lab, tx) = rich("dead");
    let alive = lab.begin("alive");
    let before = lab.manifest();
    drop(tx);
    let recovery = lab.manager.recover().unwrap();
    assert_eq!(recovery.interrupted, [id("dead")]);
    assert!(recovery.trash_is_empty && recovery.failed.is_empty());
    assert_same(&before, &lab.manifest(), "after recovery");
    assert!(alive.upper().exists());
}

#[test]
fn foreign_changes_are_conflicts() {
    // What is written, and which path the conflict names.
    let edits = [
        ("edit", "edit"),
        ("dir/new", "dir/new"),
        ("tree/a/b/c", "tree/a/b/c"),
        ("tree/a/more", "tree/a"),
        ("replaced/old", "replaced/old"),
    ];
    for (edited, path) in edits {
        let (lab, tx) = rich("op");
        lab.file(edited, "mine");
        let mine = lab.manifest();
        let survey = tx.survey().unwrap();
        let Err(CommitError::Conflict { paths }) = tx.commit(survey) else {
            panic!("no conflict on {path}");
        };
        assert!(paths.contains(&PathBuf::from(path)), "{path}: {paths:?}");
        assert_same(&mine, &lab.manifest(), path);
        assert_eq!(lab.manager.pending().unwrap(), [id("op")], "it is held");
    }
}

#[test]
fn foreign_changes_after_the_survey_are_conflicts() {
    let (lab, tx) = rich("op");
    let survey = tx.survey().unwrap();
    fs::write(lab.ws().join("tree/a/b/c"), "mine").unwrap();
    let error = tx.commit(survey).unwrap_err();
    assert!(matches!(error, CommitError::Conflict { .. }), "{error:?}");
    assert!(lab.ws().join("tree/a/b/c").exists());
}

#[test]
fn two_transactions_on_different_files_both_commit() {
    let lab = Lab::new();
    lab.file("a", "1").file("b", "1");
    let before = lab.manifest();
    let (first, second) = (lab.begin("first"), lab.begin("second"));
    write(&first.upper().join("a"), "2");
    write(&second.upper().join("b"), "2");
    commit(first);
    commit(second);
    lab.undo("first");
    lab.undo("second");
    let content = |m: &Manifest| {
        m.iter()
            .map(|(p, i)| (p.clone(), i.content.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(content(&before), content(&lab.manifest()));
}

#[test]
fn an_id_is_used_once() {
    let (lab, tx) = rich("op");
    assert!(lab.manager.begin(&id("op")).is_err());
    commit(tx);
    assert!(lab.manager.begin(&id("op")).is_err());
}

#[test]
fn the_size_stops_at_the_limit() {
    let (_lab, tx) = rich("op");
    let all = tx.size(u64::MAX, u64::MAX).unwrap();
    assert!(all.complete && all.inodes > 10 && all.bytes > 0);
    assert!(!tx.size(1, u64::MAX).unwrap().complete);
}

#[test]
fn old_undo_sets_are_dropped() {
    let lab = Lab::new();
    for number in 0..4 {
        let tx = lab.begin(&format!("op{number}"));
        write(&tx.upper().join(format!("f{number}")), "x");
        commit(tx);
    }
    let limits = UndoLimits::newest(2);
    let dropped = lab.manager.retain(&limits, UNIX_EPOCH).unwrap();
    assert_eq!(dropped, [id("op0"), id("op1")]);
    assert_eq!(lab.manager.undoable().unwrap(), [id("op2"), id("op3")]);
    lab.manager.clone().remove_all().unwrap();
    assert!(!lab.layers().exists());
    assert!(lab.ws().join("f0").exists());
}

/// xfs gives a directory a new time when an exchange moves it to another parent.
#[test]
fn a_directory_has_its_time_again_after_a_move() {
    let root = tempfile::tempdir().unwrap();
    let (workspace, set) = (root.path().join("workspace"), root.path().join("set"));
    fs::create_dir_all(workspace.join("old")).unwrap();
    fs::create_dir_all(set.join("upper/old")).unwrap();
    let had = |path: &Path, mtime: Time| Identity {
        mtime: Some(mtime),
        ..Identity::to_move(&Stat::of_fd(fs::File::open(path).unwrap()).unwrap())
    };
    let plan = Plan {
        moves: vec![Move::Exchange {
            path: "old".into(),
            leaving: had(&workspace.join("old"), Time(1000, 7)),
            entering: had(&set.join("upper/old"), Time(2000, 8)),
        }],
        ..Plan::default()
    };
    let layout = Layout {
        workspace: workspace.clone(),
        layers: set.clone(),
    };
    let sides = Sides::open(&layout, &set).unwrap();
    let times = || {
        [workspace.join("old"), set.join("upper/old")].map(|path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        })
    };
    assert!(sides.apply(&plan).unwrap().is_empty());
    assert_eq!(times(), [(2000, 8), (1000, 7)]);
    // Cut off after the move, before the time was set: done again, it is set.
    let now = fs::FileTimes::new().set_modified(UNIX_EPOCH);
    let entered = fs::File::open(workspace.join("old")).unwrap();
    entered.set_times(now).unwrap();
    assert!(sides.apply(&plan).unwrap().is_empty());
    assert_eq!(times(), [(2000, 8), (1000, 7)]);
}
