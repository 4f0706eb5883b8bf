//! The engine is stopped before each of its changes on disk, for every one of them; after recovery
//! the workspace is before or after, never between, and nothing else was lost.

use super::{basic::rich, *};
use crate::step::{with_steps, without_flags};

/// More steps than any of the scenarios has.
const STEPS_MAX: u64 = 2_000;

#[test]
fn a_commit_stopped_anywhere_is_before_or_after() {
    let (lab, tx) = rich("op");
    let before = lab.manifest();
    commit(tx);
    let after = contents(&lab.manifest());
    let mut endings = [0, 0];
    for steps in 0..STEPS_MAX {
        let (lab, tx) = rich("op");
        let initial = lab.manifest();
        let survey = tx.survey().unwrap();
        let (result, ran_out) = with_steps(steps, || tx.commit(survey).is_ok());
        let recovery = recover_with_crashes(&lab, steps);
        let now = lab.manifest();
        let committed = lab.manager.undoable().unwrap() == [id("op")];
        if committed {
            endings[1] += 1;
            assert_eq!(contents(&now), after, "after step {steps}: {recovery:?}");
            lab.undo("op");
        } else {
            assert!(!result, "step {steps}");
            endings[0] += 1;
        }
        assert_same(&initial, &lab.manifest(), &format!("before step {steps}"));
        if !ran_out {
            assert!(endings[0] > 3 && endings[1] > 20, "{endings:?}");
            println!("commit: stopped at {steps} steps, {endings:?} before/after");
            assert_eq!(contents(&before), contents(&initial));
            return;
        }
    }
    panic!("the commit takes more than {STEPS_MAX} steps");
}

#[test]
fn an_undo_stopped_anywhere_is_before_or_after() {
    let mut endings = [0, 0];
    for steps in 0..STEPS_MAX {
        let (lab, tx) = rich("op");
        let initial = lab.manifest();
        commit(tx);
        let committed = lab.manifest();
        let (_, ran_out) = with_steps(steps, || {
            lab.manager.undo(&id("op"), OnConflict::Refuse).is_ok()
        });
        recover_with_crashes(&lab, steps);
        let now = lab.manifest();
        if lab.manager.undoable().unwrap().is_empty() {
            endings[1] += 1;
            assert_same(&initial, &now, &format!("undone at step {steps}"));
        } else {
            endings[0] += 1;
            assert_same(&committed, &now, &format!("not undone at step {steps}"));
            lab.undo("op");
            assert_same(
                &initial,
                &lab.manifest(),
                &format!("undone after step {steps}"),
            );
        }
        if !ran_out {
            assert!(endings[0] > 2 && endings[1] > 10, "{endings:?}");
            println!("undo: stopped at {steps} steps, {endings:?} before/after");
            return;
        }
    }
    panic!("the undo takes more than {STEPS_MAX} steps");
}

#[test]
fn a_held_transaction_survives_a_stopped_commit() {
    for steps in 0..STEPS_MAX {
        let (lab, tx) = rich("op");
        let initial = lab.manifest();
        tx.hold().unwrap();
        let tx = lab.manager.resume(&id("op")).unwrap();
        let listed_before = listed(&tx);
        let survey = tx.survey().unwrap();
        let (_, ran_out) = with_steps(steps, || tx.commit(survey).is_ok());
        recover_with_crashes(&lab, steps);
        if lab.manager.undoable().unwrap().is_empty() {
            assert_same(&initial, &lab.manifest(), &format!("step {steps}"));
            let tx = lab.manager.resume(&id("op")).unwrap();
            assert_eq!(listed_before, listed(&tx), "step {steps}");
        } else if steps > 12 || !ran_out {
            return;
        }
    }
}

/// As on NFS and on FUSE: an exchange takes three steps, and may be stopped between them.
#[test]
fn what_cannot_be_exchanged_in_one_step_is_before_or_after_too() {
    without_flags(|| {
        a_commit_stopped_anywhere_is_before_or_after();
        an_undo_stopped_anywhere_is_before_or_after();
        a_held_transaction_survives_a_stopped_commit();
    });
}

/// Whoever edits a directory between a kill and the recovery after it has set its time.
#[test]
fn a_recovery_leaves_the_times_of_edits() {
    let mut edited = [0, 0];
    for steps in 0..STEPS_MAX {
        let (lab, tx) = rich("op");
        let survey = tx.survey().unwrap();
        let (_, ran_out) = with_steps(steps, || tx.commit(survey).is_ok());
        if !ran_out {
            assert!(edited.iter().all(|count| *count > 3), "{edited:?}");
            return;
        }
        // As long as nobody takes for the time of the kill itself.
        #[expect(clippy::disallowed_methods, reason = "nothing happens in this time")]
        thread::sleep(std::time::Duration::from_millis(40));
        let mut times = Vec::new();
        for (number, name) in ["dir", "fresh"].into_iter().enumerate() {
            let directory = lab.ws().join(name);
            if !directory.exists() {
                continue;
            }
            write(&directory.join("mine"), "edit");
            times.push((number, directory.metadata().unwrap().modified().unwrap()));
        }
        let recovery = lab.manager.recover().unwrap();
        assert!(recovery.failed.is_empty(), "{recovery:?}");
        let committed = !lab.manager.undoable().unwrap().is_empty();
        for (number, time) in times {
            let directory = lab.ws().join(["dir", "fresh"][number]);
            let now = directory.metadata().unwrap().modified().unwrap();
            assert_eq!(now, time, "{} at step {steps}", directory.display());
            edited[number] += usize::from(committed);
        }
    }
    panic!("the commit takes more than {STEPS_MAX} steps");
}

/// The original is neither lost nor in the way of the next exchange.
#[test]
fn what_was_set_aside_is_kept_when_its_place_is_taken() {
    without_flags(|| {
        let mut kept = 0;
        for steps in 0..STEPS_MAX {
            let (lab, tx) = rich("op");
            let survey = tx.survey().unwrap();
            let (_, ran_out) = with_steps(steps, || tx.commit(survey).is_ok());
            if !ran_out {
                assert!(kept > 0, "no stop was in the middle of an exchange");
                return;
            }
            let was_aside = lab.layers().join("tx/op/aside").exists();
            write(&lab.ws().join("mine"), "mine");
            fs::rename(lab.ws().join("mine"), lab.ws().join("edit")).unwrap();
            let recovery = lab.manager.recover().unwrap();
            assert!(recovery.failed.is_empty(), "step {steps}: {recovery:?}");
            if lab.manager.undoable().unwrap().is_empty() {
                continue;
            }
            let set = lab.layers().join("undo/op");
            assert!(!set.join("aside").exists(), "step {steps}");
            let originals = fs::read_dir(set.join("kept")).unwrap();
            let is_original = |path: PathBuf| fs::read(path).is_ok_and(|it| it == b"old");
            let mut originals = originals.map(|entry| is_original(entry.unwrap().path()));
            kept += usize::from(was_aside && originals.any(|it| it));
            let undone = lab.manager.undo(&id("op"), OnConflict::Force);
            assert!(undone.is_ok(), "step {steps}: {undone:?}");
        }
        panic!("the commit takes more than {STEPS_MAX} steps");
    });
}

/// Recovers, and is stopped while doing so as well.
pub(crate) fn recover_with_crashes(lab: &Lab, steps: u64) -> Vec<String> {
    let mut found = Vec::new();
    for second in [steps % 3, steps % 17] {
        let (result, _) = with_steps(second, || lab.manager.recover().map(|r| format!("{r:?}")));
        found.push(format!("{result:?}"));
    }
    let recovery = lab.manager.recover().unwrap();
    assert!(recovery.failed.is_empty(), "{recovery:?}");
    assert!(recovery.left_alone.is_empty(), "{recovery:?}");
    found.push(format!("{recovery:?}"));
    found
}

/// Everything but the times of files that were written anew for each run.
fn contents(manifest: &Manifest) -> Vec<(PathBuf, u32, Vec<u8>, Xattrs)> {
    let item = |(path, item): (&PathBuf, &Item)| {
        let Item {
            mode,
            content,
            xattrs,
            ..
        } = item.clone();
        (path.clone(), mode, content, xattrs)
    };
    manifest.iter().map(item).collect()
}
