//! Upper layers that were made to harm.

use super::*;
use crate::{Gate, GateOutcome, ProtectedAction, Stripped};

#[test]
fn links_in_the_place_of_directories_are_not_followed() {
    let lab = Lab::new();
    lab.file("dir/a", "1");
    let outside = lab.root.path().join("outside");
    write(&outside.join("a"), "canary");
    let tx = lab.begin("op");
    write(&tx.upper().join("dir/a"), "2");
    fs::rename(lab.ws().join("dir"), lab.ws().join("moved")).unwrap();
    std::os::unix::fs::symlink(&outside, lab.ws().join("dir")).unwrap();
    let committed = tx.survey().map(|survey| tx.commit(survey));
    assert!(!matches!(committed, Ok(Ok(_))), "{committed:?}");
    assert_eq!(fs::read(outside.join("a")).unwrap(), b"canary");
}

#[test]
fn deep_trees_are_committed_undone_and_deleted() {
    const LEVELS: usize = 2_500;
    let lab = Lab::new();
    let before = lab.manifest();
    let tx = lab.begin("op");
    let mut dir = std::os::fd::OwnedFd::from(fs::File::open(tx.upper()).unwrap());
    for _ in 0..LEVELS {
        use rustix::fs::{Mode, OFlags};
        rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let survey = tx.survey().unwrap();
    assert_eq!(survey.changes.len(), LEVELS);
    assert!(tx.commit(survey).unwrap().undoable);
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
    lab.manager.clone().remove_all().unwrap();
    assert!(!lab.layers().exists());
}

#[test]
fn names_are_bytes_and_pipes_are_not_opened() {
    use rustix::fs::{CWD, FileType, Mode};
    let lab = Lab::new();
    let before = lab.manifest();
    let tx = lab.begin("op");
    let long = [b'x'; 255];
    for name in [&b"\xff\xfe"[..], b"new\nline", b"%41", b" ", &long] {
        fs::write(tx.upper().join(bytes_name(name)), "x").unwrap();
    }
    let pipe = tx.upper().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(commit(tx).changes.len(), 6);
    assert!(lab.ws().join(bytes_name(b"\xff\xfe")).exists());
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
}

#[test]
fn set_id_bits_and_devices_stay_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    lab.file("tool", "old");
    let tx = lab.begin("op");
    for name in ["suid", "tool", "new/inner"] {
        let path = tx.upper().join(name);
        write(&path, "program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    }
    let root = rustix::process::geteuid().is_root();
    if root {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        for name in ["null", "new/null"] {
            let path = tx.upper().join(name);
            mknodat(
                CWD,
                &path,
                FileType::CharacterDevice,
                Mode::RUSR,
                makedev(1, 3),
            )
            .unwrap();
        }
    }
    let survey = tx.survey().unwrap();
    let decision = Gate::open().examine(&survey, &tx).unwrap();
    assert_eq!(decision.outcome, GateOutcome::Commit);
    assert_eq!(decision.violations.len(), if root { 5 } else { 3 });
    let set_id = decision
        .strips
        .iter()
        .filter(|strip| strip.what == Stripped::SetId);
    assert_eq!(set_id.count(), 3);
    tx.commit(survey).unwrap();
    for (path, item) in lab.manifest() {
        assert_eq!(item.mode & 0o6000, 0, "{path:?}");
        assert_eq!(item.rdev, (0, 0), "{path:?}");
    }
    lab.undo("op");
    assert_eq!(lab.manifest().len(), 2);
}

#[test]
fn the_gate_decides_on_declared_and_protected_files() {
    let lab = Lab::new();
    let tx = lab.begin("op");
    write(&tx.upper().join("out/a.txt"), "12345");
    write(&tx.upper().join(".git/hooks/pre-commit"), "#!/bin/sh");
    write(&tx.upper().join(".git/config"), "[core]\n\tbare = false\n");
    std::os::unix::fs::symlink("/etc/passwd", tx.upper().join("out/link")).unwrap();
    let survey = tx.survey().unwrap();
    let examine = |gate: Gate| gate.examine(&survey, &tx).unwrap();
    let open = examine(Gate::open());
    assert_eq!((open.outcome, open.reasons.len()), (GateOutcome::Commit, 0));
    assert_eq!(open.notices.len(), 2, "{:?}", open.notices);
    let declared = |globs: &[&str]| Gate {
        declared: Some(globs.iter().map(|&glob| glob.to_owned()).collect()),
        ..Gate::open()
    };
    assert_eq!(
        examine(declared(&["out/*", ".git"])).outcome,
        GateOutcome::Commit
    );
    let refused = examine(declared(&["out/*"]));
    assert_eq!(refused.outcome, GateOutcome::Discard);
    assert_eq!(refused.violations.len(), 4, "{:?}", refused.violations);
    let held = examine(Gate {
        protected: ProtectedAction::Hold,
        ..Gate::open()
    });
    assert_eq!(held.outcome, GateOutcome::Hold);
    let small = examine(Gate {
        bytes_max: Some(10),
        ..Gate::open()
    });
    assert_eq!(small.outcome, GateOutcome::Discard);
}

/// An unprivileged owner must be able to commit, undo and delete what a guest closed to its owner.
#[test]
fn closed_modes_are_reproduced_and_overcome() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
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
