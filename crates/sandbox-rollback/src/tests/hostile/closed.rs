//! Directories that a guest closed to their owner, who may be unprivileged.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// An unprivileged owner must be able to commit, undo and delete what a guest closed to its owner.
#[test]
fn closed_modes_are_reproduced_and_overcome() {
    let lab = Lab::new();
    lab.file("narrow/edit", "old")
        .file("narrow/gone", "old")
        .file("sealed/inner", "old")
        .file("doomed/inner", "old");
    mode(&lab.ws().join("narrow"), 0o555);
    mode(&lab.ws().join("doomed"), 0o555);
    mode(&lab.ws().join("sealed"), 0o555);
    let before = lab.manifest();
    let tx = lab.begin("op");
    let up = tx.upper().to_owned();
    write(&up.join("narrow/edit"), "new");
    set_xattr(&up.join("narrow/edit"), "user.overlay.origin", "");
    mode(&up.join("narrow/edit"), 0o444);
    whiteout(&up.join("narrow/gone"));
    mode(&up.join("narrow"), 0o555);
    whiteout(&up.join("doomed"));
    opaque(&up.join("sealed"));
    mode(&up.join("sealed"), 0o500);
    write(&up.join("closed/deep/inner"), "new");
    mode(&up.join("closed/deep"), 0o000);
    mode(&up.join("closed"), 0o000);
    let first = listed(&tx);
    assert_eq!(first, listed(&tx), "looking changes nothing");
    assert!(first.contains(&"D doomed/inner".to_owned()), "{first:?}");
    commit(tx);
    let now = |path: &str| {
        fs::metadata(lab.ws().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (now("narrow"), now("narrow/edit"), now("sealed")),
        (0o555, 0o444, 0o500)
    );
    assert_eq!(now("closed"), 0o000);
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
    lab.manager.clone().remove_all().unwrap();
    assert!(!lab.layers().exists());
    for dir in ["narrow", "doomed", "sealed"] {
        mode(&lab.ws().join(dir), 0o755);
    }
}

/// Without a look at the changes before the commit.
#[test]
fn new_directories_arrive_as_closed_as_they_were_left() {
    let lab = Lab::new();
    let before = lab.manifest();
    let tx = lab.begin("op");
    let up = tx.upper().to_owned();
    write(&up.join("closed/in/deep/file"), "new");
    write(&up.join("listed/file"), "new");
    mode(&up.join("closed/in/deep"), 0o300);
    mode(&up.join("closed/in"), 0o000);
    mode(&up.join("closed"), 0o000);
    mode(&up.join("listed"), 0o600);
    commit(tx);
    let left = lab.manager.undo_plan(&id("op")).unwrap();
    assert!(left.conflicts.is_empty(), "{:?}", left.conflicts);
    let ws = lab.ws();
    assert_eq!(mode_of(&ws.join("listed")), 0o600);
    let mut modes = Vec::new();
    for path in ["closed", "closed/in", "closed/in/deep"] {
        modes.push(mode_of(&ws.join(path)));
        mode(&ws.join(path), 0o700);
    }
    assert_eq!(modes, [0o000, 0o000, 0o300]);
    lab.manager.undo(&id("op"), OnConflict::Force).unwrap();
    let now = lab.manifest();
    assert_eq!(now.len(), before.len());
}

#[test]
fn what_a_guest_closed_is_undone() {
    let lab = Lab::new();
    lab.file("d/e/f", "old").file("d/keep", "old");
    set_xattr(&lab.ws().join("d"), "user.kept", "y");
    let before = lab.manifest();
    let tx = lab.begin("op");
    let up = tx.upper().to_owned();
    write(&up.join("f"), "evil");
    write(&up.join("d/e/f"), "evil");
    set_xattr(&up.join("d"), "user.kept", "y");
    for path in ["d/e", "d"] {
        set_xattr(&up.join(path), "user.overlay.origin", "");
        mode(&up.join(path), 0o000);
    }
    commit(tx);
    let d = lab.ws().join("d");
    assert_eq!(mode_of(&d), 0o000);
    let plan = lab.manager.undo_plan(&id("op")).unwrap();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(mode_of(&d), 0o000, "planning closes it again");
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
}

#[test]
fn the_workspace_itself_may_be_closed() {
    let lab = Lab::new();
    lab.file("a", "old");
    let before = lab.manifest();
    let tx = lab.begin("op");
    write(&tx.upper().join("a"), "new");
    mode(tx.upper(), 0o000);
    assert!(listed(&tx).contains(&"m .".to_owned()));
    commit(tx);
    assert_eq!(mode_of(&lab.ws()), 0o000);
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
    lab.manager.clone().remove_all().unwrap();
    assert!(!lab.layers().exists());
}
