//! Renames are found by what both ends are, and an exact copy is stored once.

use sandbox_types::told_changes;

use super::{crash::recover_with_crashes, *};
use crate::step::with_steps;

/// Copies a tree of the workspace into the upper layer, with all attributes, as mv does.
pub(super) fn copy(lab: &Lab, tx: &Transaction, from: &str, to: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "cp -a is the reference for a copy"
    )]
    let mut cp = std::process::Command::new("cp");
    let (from, to) = (lab.ws().join(from), tx.upper().join(to));
    let status = cp.arg("-a").arg("--").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

fn told(tx: &Transaction) -> Vec<String> {
    let changes = tx.changes().unwrap();
    let line = |it: &sandbox_types::Change| match &it.from {
        Some(from) => format!("{:?} {} -> {}", it.kind, from.display(), it.path.display()),
        None => format!("{:?} {}", it.kind, it.path.display()),
    };
    told_changes(&changes).iter().map(line).collect()
}

/// A directory of three levels that was moved to `new` by copying it.
fn moved_to(new: &str) -> (Lab, Transaction) {
    let lab = Lab::new();
    lab.file("old/a", "text a")
        .file("old/in/b", "text b")
        .file("old/in/c", "");
    set_xattr(&lab.ws().join("old/in"), "user.kept", "yes");
    std::os::unix::fs::symlink("a", lab.ws().join("old/link")).unwrap();
    let tx = lab.begin("op");
    fs::create_dir_all(tx.upper().join(new).parent().unwrap()).unwrap();
    copy(&lab, &tx, "old", new);
    whiteout(&tx.upper().join("old"));
    (lab, tx)
}

fn moved() -> (Lab, Transaction) {
    moved_to("new")
}

#[test]
fn a_moved_directory_is_told_as_renamed_and_stored_once() {
    let (lab, tx) = moved();
    let before = lab.manifest();
    let expected = [
        "Renamed old -> new",
        "Renamed old/a -> new/a",
        "Renamed old/in -> new/in",
        "Renamed old/in/b -> new/in/b",
        "Renamed old/in/c -> new/in/c",
        "Renamed old/link -> new/link",
    ];
    let told = told(&tx);
    for line in expected {
        assert!(told.contains(&line.to_owned()), "{line} in {told:?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:?}");
    let inode = |path: &str| Stat::at(rustix::fs::CWD, lab.ws().join(path)).unwrap().ino;
    let old = inode("old/in/b");
    let committed = commit(tx);
    assert!(committed.left_alone.is_empty());
    assert_eq!(inode("new/in/b"), old, "the file itself was renamed");
    let set = lab.layers().join("undo/op");
    assert!(!set.join("upper/new").exists(), "the copy is gone");
    assert_eq!(fs::read_dir(set.join("kept")).unwrap().count(), 0);
    let after = lab.manifest();
    for _ in 0..2 {
        lab.undo("op");
        assert_same(&before, &lab.manifest(), "undone");
        lab.manager.redo(&id("op"), OnConflict::Refuse).unwrap();
        assert_same(&after, &lab.manifest(), "redone");
    }
}

/// Into a directory that is new itself: stored twice, and exact all the same.
#[test]
fn what_moves_into_a_new_directory_goes_back_and_forth() {
    let (lab, tx) = moved_to("lib/deep/new");
    let before = lab.manifest();
    assert!(told(&tx).contains(&"Renamed old/a -> lib/deep/new/a".to_owned()));
    commit(tx);
    let after = lab.manifest();
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "undone");
    lab.manager.redo(&id("op"), OnConflict::Refuse).unwrap();
    assert_same(&after, &lab.manifest(), "redone");
}

#[test]
fn a_rename_stopped_anywhere_is_before_or_after() {
    for new in ["new", "lib/deep/new"] {
        stop_everywhere(new);
    }
}

fn stop_everywhere(new: &str) {
    let mut endings = [0, 0];
    for steps in 0..500 {
        let (lab, tx) = moved_to(new);
        let before = lab.manifest();
        let survey = tx.survey().unwrap();
        let (_, ran_out) = with_steps(steps, || tx.commit(survey).is_ok());
        recover_with_crashes(&lab, steps);
        if lab.manager.undoable().unwrap().is_empty() {
            endings[0] += 1;
        } else {
            endings[1] += 1;
            assert!(lab.ws().join(new).join("in/b").exists() && !lab.ws().join("old").exists());
            lab.undo("op");
        }
        assert_same(&before, &lab.manifest(), &format!("at {steps}"));
        if !ran_out {
            assert!(endings[0] > 3 && endings[1] > 3, "{endings:?}");
            return;
        }
    }
    panic!("it takes more than 500 steps");
}

/// What differs by one byte, attribute or name is no exact copy: both are stored, and told apart.
#[test]
fn what_is_no_exact_copy_is_stored_twice() {
    type Edit = fn(&Path);
    let edits: [(&str, Edit); 4] = [
        ("content", |new| write(&new.join("a"), "text x")),
        ("a name more", |new| write(&new.join("more"), "")),
        ("mode", |new| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(new.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("attribute", |new| {
            set_xattr(&new.join("a"), "user.other", "yes");
        }),
    ];
    for (what, edit) in edits {
        let (lab, tx) = moved();
        let before = lab.manifest();
        edit(&tx.upper().join("new"));
        commit(tx);
        let kept = lab.layers().join("undo/op/kept");
        assert_eq!(fs::read_dir(kept).unwrap().count(), 1, "{what}");
        lab.undo("op");
        assert_same(&before, &lab.manifest(), what);
    }
}

#[test]
fn files_are_found_by_time_or_name() {
    let lab = Lab::new();
    lab.file("a/one.txt", "the same text")
        .file("two.txt", "other text")
        .file("x", "xx");
    let tx = lab.begin("op");
    copy(&lab, &tx, "two.txt", "three.txt");
    write(&tx.upper().join("b/one.txt"), "the same text");
    write(&tx.upper().join("y"), "yy");
    for path in ["a/one.txt", "two.txt", "x"] {
        whiteout(&tx.upper().join(path));
    }
    let told = told(&tx);
    for line in [
        "Renamed two.txt -> three.txt",
        "Renamed a/one.txt -> b/one.txt",
        "Created y",
        "Deleted x",
    ] {
        assert!(told.contains(&line.to_owned()), "{line} in {told:?}");
    }
    let mut streamed = Vec::new();
    tx.each_change(&mut |change| streamed.push(change)).unwrap();
    assert_eq!(streamed, tx.changes().unwrap());
}

/// More than are remembered: each is told, and a rename by its two ends.
#[test]
fn of_very_many_changes_each_is_told() {
    let lab = Lab::new();
    lab.file("one.txt", "the same text");
    let tx = lab.begin("op");
    copy(&lab, &tx, "one.txt", "two.txt");
    whiteout(&tx.upper().join("one.txt"));
    for number in 0..1_500 {
        write(&tx.upper().join(format!("many/{number}")), "");
    }
    let mut streamed = Vec::new();
    tx.each_change(&mut |change| streamed.push(change)).unwrap();
    streamed.sort();
    let mut listed = tx.changes().unwrap();
    assert_eq!(listed.iter().filter(|it| it.from.is_some()).count(), 1);
    for change in &mut listed {
        change.from = None;
    }
    assert_eq!(streamed, listed);
}

/// An edit of what was renamed is a conflict; the file goes back with its edit.
#[test]
fn an_edit_goes_back_with_the_file() {
    let (lab, tx) = moved();
    commit(tx);
    lab.file("new/a", "mine");
    let refused = lab.manager.undo(&id("op"), OnConflict::Refuse);
    assert!(matches!(refused, Err(crate::UndoError::Conflict { .. })));
    lab.file("old", "in the way");
    let done = lab.manager.undo(&id("op"), OnConflict::KeepBoth).unwrap();
    assert_eq!(
        done.kept,
        [(PathBuf::from("old"), PathBuf::from("old.edited"))]
    );
    assert_eq!(fs::read_to_string(lab.ws().join("old/a")).unwrap(), "mine");
    assert_eq!(
        fs::read_to_string(lab.ws().join("old.edited")).unwrap(),
        "in the way"
    );
    assert!(!lab.ws().join("new").exists());
}

/// A renamed file is stored once. So a forced undo brings what stands under the new name back to the old one, whether it
/// was edited in its place or replaced; what stood in the way there can be had by a redo.
#[test]
fn a_forced_undo_brings_an_edited_file_back_under_its_old_name() {
    for is_replaced in [false, true] {
        let lab = Lab::new();
        lab.file("old", "as it was");
        let times = fs::metadata(lab.ws().join("old")).unwrap();
        let tx = lab.begin("op");
        whiteout(&tx.upper().join("old"));
        write(&tx.upper().join("new"), "as it was");
        let copy = fs::File::options().write(true).open(tx.upper().join("new"));
        copy.unwrap()
            .set_modified(times.modified().unwrap())
            .unwrap();
        assert!(told(&tx).contains(&"Renamed old -> new".to_owned()));
        commit(tx);
        if is_replaced {
            lab.file("draft", "mine");
            fs::rename(lab.ws().join("draft"), lab.ws().join("new")).unwrap();
        } else {
            lab.file("new", "mine");
        }
        lab.file("old", "in the way");
        let refused = lab.manager.undo(&id("op"), OnConflict::Refuse);
        assert!(matches!(refused, Err(crate::UndoError::Conflict { .. })));
        let done = lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
        assert_eq!(done.overwritten, ["new", "old"].map(PathBuf::from));
        let text = |path: &str| fs::read_to_string(lab.ws().join(path)).ok();
        assert_eq!(text("old").as_deref(), Some("mine"), "{is_replaced}");
        assert_eq!(text("new"), None);
        lab.manager.redo(&id("op"), OnConflict::Refuse).unwrap();
        assert_eq!(text("old").as_deref(), Some("in the way"));
        assert_eq!(text("new").as_deref(), Some("mine"));
    }
}

#[test]
fn five_thousand_levels_are_listed_and_committed() {
    let lab = Lab::new();
    let tx = lab.begin("op");
    let mut dir = OwnedFd::from(fs::File::open(tx.upper()).unwrap());
    for _ in 0..5_000 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        dir = rustix::fs::openat(&dir, "d", flags, rustix::fs::Mode::empty()).unwrap();
    }
    let mut count = 0;
    tx.each_change(&mut |_| count += 1).unwrap();
    assert_eq!(count, 5_000);
    assert_eq!(commit(tx).changes.len(), 5_000);
    lab.undo("op");
    assert_eq!(fs::read_dir(lab.ws()).unwrap().count(), 0);
    lab.manager
        .retain(
            &crate::UndoLimits::newest(0),
            std::time::SystemTime::UNIX_EPOCH,
        )
        .unwrap();
    lab.manager.empty_trash().unwrap();
}
