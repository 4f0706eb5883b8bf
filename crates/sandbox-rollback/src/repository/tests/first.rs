//! The first snapshot, which makes the repository: stopped anywhere, and beside what others left.

use std::{cell::Cell, rc::Rc};

use super::{damage::files, *};
use crate::step::{Event, watched, with_steps};

/// More steps than a first snapshot has.
const STEPS_MAX: u64 = 500;

fn names(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.root.path().join("repo")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const WHOLE: [&str; 5] = ["format.json", "index.redb", "index.seal", "lock", "packs"];

#[test]
fn a_first_snapshot_stopped_anywhere_is_there_or_not() {
    let mut endings = [0, 0];
    for steps in 0..STEPS_MAX {
        let lab = rich();
        let repository = lab.repository();
        let (taken, ran_out) = with_steps(steps, || repository.snapshot(&new()).is_ok());
        let found = repository.snapshots().unwrap().len();
        endings[found] += 1;
        assert!(found == 1 || !taken, "step {steps}");
        let checked = repository.verify(VerifyDepth::Data).unwrap();
        assert!(checked.ok, "step {steps}: {checked:?}");
        let next = lab.take();
        assert_eq!(names(&lab), WHOLE, "step {steps}");
        let wanted = lab.manifest();
        lab.file("a", "edited");
        lab.restore(&next, "back");
        assert_same(&wanted, &lab.manifest(), &format!("step {steps}"));
        if !ran_out {
            assert!(taken && endings[0] > 3 && endings[1] > 3, "{endings:?}");
            return;
        }
    }
    panic!("it takes more than {STEPS_MAX} steps");
}

#[test]
fn parts_that_a_kill_left_without_their_names_get_them() {
    let lab = rich();
    let taken = lab.take();
    let repository = lab.repository();
    let directory = lab.root.path().join("repo");
    let parts: Vec<_> = WHOLE.into_iter().filter(|name| *name != "lock").collect();
    // All that one sync made durable, and every choice of names that reached storage.
    for named in 0..1_u32 << parts.len() {
        for (at, part) in parts.iter().enumerate() {
            if named & (1 << at) == 0 {
                let first = directory.join(format!("{part}.first"));
                fs::rename(directory.join(part), first).unwrap();
            }
        }
        let is_there = directory.join("format.json").exists() || directory.join("packs").exists();
        if is_there {
            assert_eq!(
                repository
                    .show(&taken.snapshot.id.to_string())
                    .unwrap()
                    .files,
                6
            );
            assert_eq!(names(&lab), WHOLE, "{named:b}");
            assert!(
                repository.verify(VerifyDepth::Data).unwrap().ok,
                "{named:b}"
            );
        } else {
            assert!(repository.snapshots().unwrap().is_empty(), "{named:b}");
            assert_eq!(repository.is_encrypted().unwrap(), None);
            for part in &parts {
                let first = directory.join(format!("{part}.first"));
                if first.exists() {
                    fs::rename(first, directory.join(part)).unwrap();
                }
            }
        }
    }
}

#[test]
fn what_older_programs_left_is_no_hindrance() {
    // One that was killed before it wrote the format.
    let lab = rich();
    let directory = lab.root.path().join("repo");
    fs::create_dir_all(directory.join("packs")).unwrap();
    fs::write(directory.join("index.redb"), noise(5000)).unwrap();
    let taken = lab.take();
    assert_eq!(names(&lab), WHOLE);
    // One that made a repository beside what we had begun.
    let before: Vec<_> = files(&directory)
        .iter()
        .map(|it| fs::read(it).unwrap())
        .collect();
    fs::create_dir(directory.join("packs.first")).unwrap();
    for part in [
        "packs.first/00000001.pack",
        "index.redb.first",
        "format.json.first",
    ] {
        fs::write(directory.join(part), noise(100)).unwrap();
    }
    assert!(lab.repository().verify(VerifyDepth::Data).unwrap().ok);
    assert_eq!(names(&lab), WHOLE);
    let after: Vec<_> = files(&directory)
        .iter()
        .map(|it| fs::read(it).unwrap())
        .collect();
    assert!(before == after, "the repository that is there counts");
    lab.file("a", "edited");
    lab.restore(&taken, "back");
    // What has packs and no format is damaged, as ever.
    fs::remove_file(directory.join("format.json")).unwrap();
    let refused = lab.repository().snapshot(&new());
    assert!(
        matches!(refused, Err(RepositoryError::Damaged { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_snapshot_waits_for_storage_a_few_times() {
    let lab = rich();
    let waits = |lab: &Lab| {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        let watcher = move |event| {
            let is_sync = matches!(event, Event::Sync(_) | Event::SyncAll);
            counted.set(counted.get() + u32::from(is_sync));
        };
        watched(Rc::new(watcher), || lab.take());
        count.get()
    };
    assert_eq!(waits(&lab), 2, "the first one");
    lab.file("a", "second");
    assert_eq!(waits(&lab), 4, "the next one");
}
