//! What must not stand in the way: stuck trash, failed begins, attributes that others own.

use super::*;
use crate::{Gate, GateOutcome, OpenError, UpkeepError};

#[test]
fn a_file_that_cannot_be_deleted_blocks_nothing_else() {
    let lab = Lab::new();
    lab.file("a", "1");
    let kept = lab.begin("kept");
    write(&kept.upper().join("a"), "2");
    commit(kept);
    let tx = lab.begin("op");
    for name in ["first", "stuck", "zero"] {
        write(&tx.upper().join("dir").join(name), "x");
    }
    tx.discard().unwrap();
    let stuck = lab.layers().join("trash/op.0/upper/dir/stuck");
    let tested = thread::scope(|scope| {
        let run = scope.spawn(|| {
            private_mounts()?;
            // A mount point cannot be deleted.
            rustix::mount::mount_bind(lab.ws().join("a"), &stuck).unwrap();
            let recovery = lab.manager.recover().unwrap();
            assert!(!recovery.trash_is_empty && recovery.failed.is_empty());
            lab.begin("next").discard().unwrap();
            names_the_stuck(lab.manager.empty_trash());
            names_the_stuck(lab.manager.clone().remove_all());
            Some(())
        });
        run.join().unwrap()
    });
    if tested.is_none() {
        return;
    }
    let left = manifest(&lab.layers()).into_keys();
    let files: Vec<_> = left
        .filter(|path| lab.layers().join(path).is_file())
        .collect();
    assert_eq!(files.len(), 2, "the lock and the stuck file: {files:?}");
    let manager = RollbackManager::open(&lab.ws(), &lab.layers()).unwrap();
    // One set is left to the next operation.
    assert!(!manager.recover().unwrap().trash_is_empty);
    manager.sweep();
    assert!(manager.recover().unwrap().trash_is_empty);
    manager.remove_all().unwrap();
    assert!(!lab.layers().exists());
}

#[track_caller]
/// What stands in the place of our directories was put there by somebody else.
#[test]
fn links_in_the_place_of_our_directories_are_not_followed() {
    for name in ["trash", "undo", "tx", "undone"] {
        let lab = Lab::new();
        let precious = lab.layers().with_file_name("precious");
        write(&precious.join("file"), "x");
        let part = lab.layers().join(name);
        fs::remove_dir(&part).unwrap();
        std::os::unix::fs::symlink(&precious, &part).unwrap();
        let opened = RollbackManager::open(&lab.ws(), &lab.layers());
        assert!(
            matches!(&opened, Err(OpenError::Exposed { layers }) if *layers == part),
            "{opened:?}"
        );
        // One that was opened before.
        drop(lab.manager.empty_trash());
        assert!(precious.join("file").exists());
    }
}

fn names_the_stuck(result: Result<(), UpkeepError>) {
    match result {
        Err(UpkeepError::File { source }) => assert!(source.path.ends_with("stuck"), "{source}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_begin_leaves_nothing() {
    let lab = Lab::new();
    let away = lab.root.path().join("away");
    fs::rename(lab.ws(), &away).unwrap();
    lab.manager.begin(&id("op")).unwrap_err();
    fs::rename(&away, lab.ws()).unwrap();
    assert_eq!(lab.manager.recover().unwrap().interrupted, []);
    lab.begin("op").discard().unwrap();
}

/// A user who may not give files to the group of the workspace's root, nor set all its attributes.
#[test]
fn what_the_upper_root_cannot_get_is_no_change() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let ws = root.path().join("ws");
    write(&ws.join("a"), "1");
    chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    chown(&ws, Some(NOBODY), Some(0)).unwrap();
    set_xattr(&ws, "security.test", "1");
    let as_nobody = || {
        let (uid, gid) = (
            rustix::process::Uid::from_raw(NOBODY),
            rustix::process::Gid::from_raw(NOBODY),
        );
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        let manager = RollbackManager::open(&ws, &root.path().join("layers")).unwrap();
        let before = manifest(&ws);
        let tx = manager.begin(&id("first")).unwrap();
        assert_eq!(fs::metadata(tx.upper()).unwrap().gid(), NOBODY);
        assert_eq!(listed(&tx), [""; 0]);
        write(&tx.upper().join("b"), "2");
        tx.hold().unwrap();
        let tx = manager.resume(&id("first")).unwrap();
        assert_eq!(listed(&tx), ["A b"]);
        commit(tx);
        let tx = manager.begin(&id("second")).unwrap();
        fs::set_permissions(tx.upper(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(listed(&tx), ["m ."]);
        commit(tx);
        let now = fs::metadata(&ws).unwrap();
        assert_eq!((now.mode() & 0o7777, now.gid()), (0o700, 0));
        for name in ["second", "first"] {
            manager.undo(&id(name), OnConflict::Refuse).unwrap();
        }
        assert_same(&before, &manifest(&ws), "after both undos");
    };
    thread::scope(|scope| scope.spawn(as_nobody).join().unwrap());
}

#[test]
fn a_directory_whose_time_moved_needs_no_declaration() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    lab.file("dir/a", "1").file("other/a", "1");
    let tx = lab.begin("op");
    let mode = fs::metadata(lab.ws().join("dir")).unwrap().permissions();
    for name in ["dir", "other"] {
        fs::create_dir(tx.upper().join(name)).unwrap();
        fs::set_permissions(tx.upper().join(name), mode.clone()).unwrap();
    }
    let gate = Gate {
        declared: Some(vec!["nothing".to_owned()]),
        ..Gate::open()
    };
    assert_eq!(listed(&tx), ["m .", "m dir", "m other"]);
    let decision = gate.examine(&tx.survey().unwrap(), &tx).unwrap();
    assert_eq!(decision.outcome, GateOutcome::Commit);
    assert!(decision.violations.is_empty(), "{decision:?}");
    let narrow = fs::Permissions::from_mode(0o700);
    fs::set_permissions(tx.upper().join("dir"), narrow).unwrap();
    let decision = gate.examine(&tx.survey().unwrap(), &tx).unwrap();
    assert_eq!(decision.outcome, GateOutcome::Discard);
    assert_eq!(decision.violations.len(), 1, "{decision:?}");
}
