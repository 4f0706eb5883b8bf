//! What is left out on purpose, and what a restore does with it.

use super::*;

fn leaving_out(patterns: &[&str], larger_than: Option<u64>) -> NewSnapshot {
    NewSnapshot {
        excludes: Excludes {
            patterns: patterns.iter().map(|it| (*it).to_owned()).collect(),
            larger_than,
        },
        ..new()
    }
}

#[test]
fn what_is_left_out_is_left_alone() {
    let lab = rich();
    lab.file("build/out.o", "object")
        .file("dir/x.o", "object")
        .file("big", &"x".repeat(5000));
    let new = leaving_out(&["*.o", "/build/"], Some(4000));
    let taken = lab.repository().snapshot(&new).unwrap();
    assert_eq!((taken.excluded, taken.snapshot.files), (3, 6));
    assert!(taken.omitted.is_empty());
    lab.file("build/out.o", "newer")
        .file("dir/x.o", "newer")
        .file("big", "small")
        .file("a", "edited");
    let diff = lab.repository().diff(&taken.snapshot.id, None).unwrap();
    assert_eq!(listed(&diff), ["Modified a", "Modified dir/a2"]);
    lab.restore(&taken, "back");
    let read = |path: &str| fs::read_to_string(lab.ws().join(path)).unwrap();
    assert_eq!([read("a"), read("big")], ["one", "small"]);
    assert_eq!([read("build/out.o"), read("dir/x.o")], ["newer", "newer"]);
    assert!(lab.repository().verify(VerifyDepth::Data).unwrap().ok);
    assert_eq!(
        lab.repository().snapshots().unwrap()[0].excludes,
        new.excludes
    );
}

#[test]
fn other_patterns_read_what_was_left_out_and_forget_what_is() {
    let lab = rich();
    lab.take();
    let new = leaving_out(&["dir"], None);
    let without = lab.repository().snapshot(&new).unwrap();
    assert_eq!((without.excluded, without.snapshot.dirs), (1, 1));
    let again = lab.repository().snapshot(&new).unwrap();
    assert_eq!((again.excluded, again.stored_bytes > 2000), (1, false));
    let with = lab.take();
    assert_eq!((with.excluded, with.snapshot.dirs), (0, 3));
    let bad = lab.repository().snapshot(&leaving_out(&["[z-a]"], None));
    assert!(matches!(bad, Err(RepositoryError::Excludes(_))));
}
