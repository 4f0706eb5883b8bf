//! Upper layers that were made to harm.

use super::*;

mod closed;
mod swapped;
use crate::{Gate, GateAction, GateOutcome, Stripped};

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
    let mut dir = OwnedFd::from(fs::File::open(tx.upper()).unwrap());
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
        protected: GateAction::Hold,
        ..Gate::open()
    });
    assert_eq!(held.outcome, GateOutcome::Hold);
    let small = examine(Gate {
        bytes_max: Some(10),
        ..Gate::open()
    });
    assert_eq!(small.outcome, GateOutcome::Discard);
}

/// Marks that the guest set would hide files from the next operation, or make them unreadable.
#[test]
fn overlay_marks_of_the_guest_stay_out() {
    let lab = Lab::new();
    lab.file("dir/a", "1").file("edit", "1");
    let before = lab.manifest();
    let tx = lab.begin("op");
    let up = tx.upper().to_owned();
    write(&up.join("edit"), "2");
    write(&up.join("dir/b"), "2");
    write(&up.join("new/b"), "2");
    for path in ["", "edit", "dir", "new", "new/b"] {
        for name in ["metacopy", "whiteout", "opaque", "overlay.opaque"] {
            let name = format!("user.overlay.overlay.{name}");
            set_xattr(&up.join(path), &name, "x");
        }
        set_xattr(&up.join(path), "user.kept", "y");
    }
    let survey = tx.survey().unwrap();
    let decision = Gate::open().examine(&survey, &tx).unwrap();
    let marked = |strip: &&crate::Strip| strip.what == Stripped::OverlayMarks;
    let mut stripped: Vec<_> = survey.strips.iter().filter(marked).collect();
    stripped.sort();
    let paths: Vec<_> = stripped.iter().map(|strip| strip.path.clone()).collect();
    assert_eq!(
        paths,
        [".", "dir", "edit", "new", "new/b"].map(PathBuf::from)
    );
    assert_eq!(decision.violations.len(), 5, "{:?}", decision.violations);
    tx.commit(survey).unwrap();
    let after = lab.manifest();
    for path in ["", "edit", "dir", "new", "new/b"] {
        let names: Vec<_> = after[Path::new(path)].xattrs.keys().collect();
        assert_eq!(names, [b"user.kept"], "{path}");
    }
    lab.undo("op");
    assert_same(&before, &lab.manifest(), "after undo");
}
