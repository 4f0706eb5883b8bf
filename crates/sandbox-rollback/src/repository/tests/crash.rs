//! A restore is stopped before each of its changes on disk; so are a snapshot, a deletion and a
//! prune.

use super::*;
use crate::{step::with_steps, tests::crash::recover_with_crashes};

/// More steps than any of the scenarios has.
const STEPS_MAX: u64 = 2_000;

fn edit(lab: &Lab) {
    lab.file("a", "edited").file("dir/new/x", "new");
    fs::remove_dir_all(lab.ws().join("dir/sub")).unwrap();
    fs::remove_file(lab.ws().join("nothing")).unwrap();
    fs::create_dir(lab.ws().join("nothing")).unwrap();
    set_xattr(&lab.ws().join("dir/b"), "user.note", "changed");
}

#[test]
fn a_restore_stopped_anywhere_is_before_or_after() {
    let mut endings = [0, 0];
    for steps in 0..STEPS_MAX {
        let lab = rich();
        let wanted = lab.manifest();
        let taken = lab.take();
        edit(&lab);
        let edited = lab.manifest();
        let repository = lab.repository();
        let (_, ran_out) = with_steps(steps, || {
            repository
                .restore(&taken.snapshot.id, &options("back"))
                .is_ok()
        });
        recover_with_crashes(&lab, steps);
        let now = lab.manifest();
        if lab.manager.undoable().unwrap().is_empty() {
            endings[0] += 1;
            assert_same(&edited, &now, &format!("not restored at step {steps}"));
            lab.restore(&taken, "back");
            assert_same(
                &wanted,
                &lab.manifest(),
                &format!("restored after step {steps}"),
            );
        } else {
            endings[1] += 1;
            assert_same(&wanted, &now, &format!("restored at step {steps}"));
        }
        lab.undo("back");
        assert_same(
            &edited,
            &lab.manifest(),
            &format!("undone after step {steps}"),
        );
        if !ran_out {
            assert!(endings[0] > 10 && endings[1] > 10, "{endings:?}");
            println!("restore: stopped at {steps} steps, {endings:?} before/after");
            return;
        }
    }
    panic!("the restore takes more than {STEPS_MAX} steps");
}

#[test]
fn a_repository_change_stopped_anywhere_is_done_or_not() {
    for steps in 0..STEPS_MAX {
        let lab = rich();
        let first = lab.take();
        lab.file("dir/b", &"changed ".repeat(1000));
        let second = lab.take();
        lab.file("a", "third");
        let wanted = lab.manifest();
        let repository = lab.repository();
        let (_, ran_out) = with_steps(steps, || {
            let third = repository.snapshot(&new()).is_ok();
            let deleted = third && repository.delete(&second.snapshot.id).is_ok();
            deleted && repository.prune().is_ok()
        });
        let checked = repository.verify(VerifyDepth::Data).unwrap();
        assert!(checked.ok, "step {steps}: {checked:?}");
        let snapshots = repository.snapshots().unwrap();
        assert!(
            snapshots.iter().any(|it| it.id == first.snapshot.id),
            "step {steps}"
        );
        let newest = lab.take();
        lab.file("a", "other");
        lab.restore(&newest, "back");
        assert_same(&wanted, &lab.manifest(), &format!("step {steps}"));
        repository.rebuild_index().unwrap();
        let again = repository.snapshots().unwrap();
        assert_eq!(again.len(), snapshots.len() + 1, "step {steps}");
        if !ran_out {
            assert_eq!(snapshots.len(), 2);
            println!("a snapshot, a deletion and a prune: stopped at {steps} steps");
            return;
        }
    }
    panic!("they take more than {STEPS_MAX} steps");
}
