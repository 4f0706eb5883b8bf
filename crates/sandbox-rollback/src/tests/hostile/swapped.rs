//! A link in the place of the workspace, put there while we work by who may write in the directory above.

use std::{
    cell::Cell,
    os::unix::fs::{MetadataExt as _, symlink},
    rc::Rc,
};

use super::*;
use crate::step::{self, Event};

/// What is done with the workspace, after what is not watched.
type Work = fn(&Lab, Option<Transaction>);

fn commit_it(_lab: &Lab, tx: Option<Transaction>) {
    let tx = tx.unwrap();
    // It may be refused: what counts is where it writes.
    let _refused = tx.survey().map(|survey| tx.commit(survey));
}

fn undo_it(lab: &Lab, _done: Option<Transaction>) {
    let _refused = lab.manager.undo(&id("op"), OnConflict::Force);
}

fn redo_it(lab: &Lab, _done: Option<Transaction>) {
    let _refused = lab.manager.redo(&id("op"), OnConflict::Force);
}

/// Does `work` and puts a link to `elsewhere` in the workspace's place before its change number `moment`. Returns
/// whether there were so many.
fn swapped(lab: &Lab, elsewhere: &Path, moment: usize, work: impl FnOnce()) -> bool {
    let (ws, moved) = (lab.ws(), lab.root.path().join("moved"));
    let (to, count) = (elsewhere.to_owned(), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&count);
    let watcher = move |event| {
        if event == Event::Change {
            if counted.get() == moment {
                fs::rename(&ws, &moved).unwrap();
                symlink(&to, &ws).unwrap();
            }
            counted.set(counted.get() + 1);
        }
    };
    step::watched(Rc::new(watcher), work);
    count.get() > moment
}

fn at_each_moment(before: &[Work], work: Work) {
    let mut moment = 0;
    loop {
        let (lab, tx) = basic::rich("op");
        // Files of the same names, as a system's directory might have.
        let elsewhere = lab.root.path().join("elsewhere");
        write(&elsewhere.join("edit"), "canary");
        write(&elsewhere.join("dir/inner"), "canary");
        let was = manifest(&elsewhere);
        let mut tx = Some(tx);
        for work in before {
            work(&lab, tx.take());
        }
        let reached = swapped(&lab, &elsewhere, moment, || work(&lab, tx.take()));
        assert_same(&was, &manifest(&elsewhere), &format!("moment {moment}"));
        if !reached {
            break;
        }
        // The control: who goes by the name arrives there.
        assert_eq!(
            fs::metadata(lab.ws()).unwrap().ino(),
            fs::metadata(&elsewhere).unwrap().ino()
        );
        moment += 1;
    }
    assert!(moment > 5, "only {moment} changes were watched");
}

#[test]
fn a_commit_writes_through_no_link() {
    at_each_moment(&[], commit_it);
}

#[test]
fn an_undo_and_a_redo_write_through_no_link() {
    at_each_moment(&[commit_it], undo_it);
    at_each_moment(&[commit_it, undo_it], redo_it);
}

#[test]
fn a_deletion_deletes_through_no_link_and_nothing_else() {
    let lab = Lab::new();
    lab.file("a/kept", "x");
    let is = fs::metadata(lab.ws()).unwrap();
    let (ws, moved) = (lab.ws(), lab.root.path().join("moved"));
    let remove = |path: &Path| crate::remove_known_tree(path, (is.dev(), is.ino()));
    // A link that leads to the directory itself, in its place and above it.
    fs::rename(&ws, &moved).unwrap();
    symlink(&moved, &ws).unwrap();
    assert!(remove(&ws).is_err());
    symlink(lab.root.path(), lab.root.path().join("above")).unwrap();
    assert!(remove(&lab.root.path().join("above/moved")).is_err());
    // Another directory.
    assert!(!remove(lab.root.path()).unwrap());
    assert!(moved.join("a/kept").exists());
    // The control: the directory itself.
    assert!(remove(&moved).unwrap());
    assert!(!moved.exists());
}

/// What somebody mounted there is theirs.
#[test]
fn a_deletion_leaves_what_is_mounted() {
    use rustix::mount::mount_bind;
    let lab = Lab::new();
    lab.file("mnt/covered", "x")
        .file("plain", "x")
        .file("deep/mnt/covered", "x");
    let kept = lab.root.path().join("kept");
    write(&kept.join("precious"), "y");
    let is = fs::metadata(lab.ws()).unwrap();
    let removed = thread::scope(|scope| {
        let work = || {
            private_mounts()?;
            mount_bind(&kept, lab.ws().join("mnt")).unwrap();
            mount_bind(&kept, lab.ws().join("deep/mnt")).unwrap();
            Some(crate::remove_known_tree(&lab.ws(), (is.dev(), is.ino())).is_err())
        };
        scope.spawn(work).join().unwrap()
    });
    assert_ne!(removed, Some(false), "what is mounted cannot be deleted");
    assert!(kept.join("precious").exists());
}
