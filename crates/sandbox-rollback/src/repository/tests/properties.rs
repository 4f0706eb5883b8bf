//! Arbitrary trees, arbitrary edits: the restore is the tree, and the undo is the edits.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::tests::{
    cases,
    properties::{Edit, edit},
};

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_restore_is_the_tree(
        start in vec(edit(), 0..30),
        between in vec(edit(), 0..20),
        after in vec(edit(), 0..20),
    ) {
        if !crate::apply::is_privileged() {
            println!("skipped: closed modes need root here");
            return Ok(());
        }
        let lab = Lab::new();
        make(&start, &lab);
        let first = (lab.manifest(), lab.take());
        make(&between, &lab);
        let second = (lab.manifest(), lab.take());
        make(&after, &lab);
        let edited = lab.manifest();
        let repository = lab.repository();
        for (name, (wanted, taken)) in [("one", &first), ("two", &second), ("three", &first)] {
            let diff = repository.diff(&taken.snapshot.id, None).unwrap();
            let restored = lab.restore(taken, name);
            prop_assert_eq!(diff.is_empty(), restored.changes.is_empty(), "{:?} {:?}", diff, restored);
            assert_same(wanted, &lab.manifest(), name);
            let left = repository.diff(&taken.snapshot.id, None).unwrap();
            prop_assert!(left.is_empty(), "{:?}", left);
        }
        let undoable = lab.manager.undoable().unwrap();
        for id in undoable.iter().rev() {
            lab.undo(id.as_str());
        }
        assert_same(&edited, &lab.manifest(), "all undone");
        let away = lab.root.path().join("away");
        let to = RestoreOptions { to: Destination::Directory(away.clone()), ..options("away") };
        repository.restore(&second.1.snapshot.id, &to).unwrap();
        assert_same(&second.0, &manifest(&away), "elsewhere");
        prop_assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    }
}

fn make(edits: &[Edit], lab: &Lab) {
    for edit in edits {
        edit.make(&lab.ws());
    }
}
