//! A small file system is full at every stage of a commit, an undo and a redo: nothing is lost, and
//! with room again all goes on.

use std::{ffi::CString, fs::File};

use rustix::mount::{MountFlags, mount};

use super::*;
use crate::{CommitError, UndoError};

/// Small enough to be filled quickly.
const BYTES: u64 = 4 << 20;
/// From nothing to more than a commit needs, in pages.
const FREE_PAGES: u64 = 24;
const PAGE: u64 = 4096;
/// The plan of so many changes does not fit into one page.
const FILES: usize = 60;

fn on_small_disk(work: impl FnOnce(&Path) + Send) {
    let root = tempfile::tempdir().unwrap();
    // The mount namespace ends with the thread, and the mount with it.
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            if private_mounts().is_none() {
                return;
            }
            let options = CString::new(format!("size={BYTES}")).unwrap();
            mount(
                "tmpfs",
                root.path(),
                "tmpfs",
                MountFlags::empty(),
                &*options,
            )
            .unwrap();
            work(root.path());
        });
        run.join().unwrap();
    });
}

fn names() -> impl Iterator<Item = String> {
    (0..FILES).map(|number| format!("a/file-{number}"))
}

/// Leaves so many pages free for as long as the file lives.
fn ballast(root: &Path, free: u64) -> PathBuf {
    let path = root.join("ballast");
    let found = rustix::fs::statvfs(root).unwrap();
    let bytes = (found.f_bavail * found.f_frsize).saturating_sub(free * PAGE);
    let file = File::create(&path).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    path
}

fn begun(root: &Path) -> (RollbackManager, Manifest, Transaction) {
    for part in ["ws", "layers", "ballast"] {
        let path = root.join(part);
        drop(fs::remove_dir_all(&path));
        drop(fs::remove_file(&path));
    }
    fs::create_dir(root.join("ws")).unwrap();
    for name in names() {
        write(&root.join("ws").join(name), "old");
    }
    let manager = RollbackManager::open(&root.join("ws"), &root.join("layers")).unwrap();
    let tx = manager.begin(&id("op")).unwrap();
    for name in names() {
        write(&tx.upper().join(name), "new");
    }
    (manager, manifest(&root.join("ws")), tx)
}

#[test]
fn a_commit_on_a_full_disk_is_done_or_held() {
    on_small_disk(|root| {
        let mut endings = [0, 0];
        for free in 0..FREE_PAGES {
            let (manager, before, tx) = begun(root);
            let survey = tx.survey().unwrap();
            let ballast = ballast(root, free);
            let committed = tx.commit(survey);
            if let Err(error) = &committed {
                endings[0] += 1;
                assert_same(
                    &before,
                    &manifest(&root.join("ws")),
                    &format!("{free}: {error:?}"),
                );
                fs::remove_file(&ballast).unwrap();
                let lost = matches!(error, CommitError::Hold { .. });
                manager.recover().unwrap();
                if !lost {
                    let tx = manager.resume(&id("op")).unwrap();
                    commit(tx);
                }
            } else {
                endings[1] += 1;
                drop(fs::remove_file(&ballast));
            }
            if manager.undoable().unwrap() == [id("op")] {
                assert_eq!(fs::read(root.join("ws/a/file-7")).unwrap(), b"new");
                manager.undo(&id("op"), OnConflict::Refuse).unwrap();
            }
            assert_same(&before, &manifest(&root.join("ws")), &format!("{free}"));
        }
        println!("commit: {endings:?} refused/done");
        assert!(endings[0] > 3 && endings[1] > 3, "{endings:?}");
    });
}

#[test]
fn an_undo_and_a_redo_on_a_full_disk_are_done_or_refused() {
    on_small_disk(|root| {
        let mut endings = [0, 0];
        for free in 0..FREE_PAGES {
            let (manager, before, tx) = begun(root);
            commit(tx);
            let after = manifest(&root.join("ws"));
            let file = ballast(root, free);
            let undone = manager.undo(&id("op"), OnConflict::Refuse);
            drop(fs::remove_file(&file));
            let interrupted = matches!(undone, Err(UndoError::Interrupted { .. }));
            manager.recover().unwrap();
            if undone.is_err() && !interrupted {
                endings[0] += 1;
                assert_same(&after, &manifest(&root.join("ws")), &format!("undo {free}"));
                manager.undo(&id("op"), OnConflict::Refuse).unwrap();
            } else {
                endings[1] += 1;
            }
            assert_same(
                &before,
                &manifest(&root.join("ws")),
                &format!("undo {free}"),
            );

            let file = ballast(root, free);
            let redone = manager.redo(&id("op"), OnConflict::Refuse);
            drop(fs::remove_file(&file));
            let interrupted = matches!(redone, Err(UndoError::Interrupted { .. }));
            manager.recover().unwrap();
            if redone.is_err() && !interrupted {
                assert_same(
                    &before,
                    &manifest(&root.join("ws")),
                    &format!("redo {free}"),
                );
                manager.redo(&id("op"), OnConflict::Refuse).unwrap();
            }
            assert_same(&after, &manifest(&root.join("ws")), &format!("redo {free}"));
        }
        println!("undo: {endings:?} refused/done");
        assert!(endings[0] > 3 && endings[1] > 3, "{endings:?}");
    });
}
