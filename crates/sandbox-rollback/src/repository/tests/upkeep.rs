//! Retention, deletion, prune, and several processes at once.

use super::*;

fn packed_bytes(lab: &Lab) -> u64 {
    let packs = fs::read_dir(lab.root.path().join("repo/packs")).unwrap();
    packs
        .map(|pack| pack.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn the_oldest_go_first_and_tags_pin() {
    let lab = rich();
    let mut tagged = new();
    tagged.tags = vec!["release".to_owned()];
    tagged.retention = Retention::Newest(2);
    let pinned = lab.repository().snapshot(&tagged).unwrap();
    let keep = NewSnapshot {
        retention: Retention::Newest(2),
        ..new()
    };
    let mut taken = Vec::new();
    for number in 0..5 {
        lab.file("number", &number.to_string());
        taken.push(lab.repository().snapshot(&keep).unwrap());
    }
    assert_eq!(taken[2].dropped, [taken[0].snapshot.id]);
    let left: Vec<_> = lab
        .repository()
        .snapshots()
        .unwrap()
        .iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(
        left,
        [
            pinned.snapshot.id,
            taken[3].snapshot.id,
            taken[4].snapshot.id
        ]
    );
    assert!(lab.repository().verify(VerifyDepth::Data).unwrap().ok);
}

#[test]
fn what_nobody_needs_is_freed_and_the_rest_stays() {
    let lab = rich();
    fs::write(lab.ws().join("big"), noise(300_000)).unwrap();
    let first = lab.take();
    fs::remove_file(lab.ws().join("big")).unwrap();
    let wanted = lab.manifest();
    let second = lab.take();
    let repository = lab.repository();
    assert_eq!(repository.prune().unwrap().freed_bytes, 0, "all is needed");
    repository.delete(&first.snapshot.id).unwrap();
    assert!(matches!(
        repository.delete(&first.snapshot.id),
        Err(RepositoryError::Unknown { .. })
    ));
    let before = packed_bytes(&lab);
    let planned = repository.prune_plan().unwrap();
    assert_eq!(packed_bytes(&lab), before);
    let pruned = repository.prune().unwrap();
    assert_eq!(planned.rewritten_packs, pruned.rewritten_packs);
    assert!(pruned.freed_bytes > 250_000, "{pruned:?}");
    assert_eq!(before - packed_bytes(&lab), pruned.freed_bytes);
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    lab.file("a", "edited");
    lab.restore(&second, "back");
    assert_same(&wanted, &lab.manifest(), "restored");
    // The newest goes too: what was seen names chunks that are gone.
    repository.delete(&second.snapshot.id).unwrap();
    repository.prune().unwrap();
    let third = lab.take();
    assert!(third.files_read > 0);
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    repository.rebuild_index().unwrap();
    assert_eq!(repository.snapshots().unwrap().len(), 1);
}

#[test]
fn many_small_packs_are_put_together() {
    let lab = Lab::new();
    for number in 0..20 {
        lab.file("number", &number.to_string());
        lab.take();
    }
    let pruned = lab.repository().prune().unwrap();
    assert_eq!(pruned.rewritten_packs, 20);
    let packs = fs::read_dir(lab.root.path().join("repo/packs"))
        .unwrap()
        .count();
    assert_eq!(packs, 1);
    let snapshots = lab.repository().snapshots().unwrap();
    assert_eq!(snapshots.len(), 20);
    lab.repository()
        .restore(&snapshots[3].id, &options("back"))
        .unwrap();
    assert_eq!(fs::read(lab.ws().join("number")).unwrap(), b"3");
}

#[test]
fn two_at_once_wait_for_each_other() {
    let lab = rich();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    lab.repository().snapshot(&new()).unwrap();
                    lab.repository().snapshots().unwrap();
                    assert!(lab.repository().verify(VerifyDepth::Structure).unwrap().ok);
                }
            });
        }
    });
    let snapshots = lab.repository().snapshots().unwrap();
    assert_eq!(snapshots.len(), 12);
    for pair in snapshots.windows(2) {
        assert_eq!(pair[1].parent, Some(pair[0].id), "one after the other");
    }
}

#[test]
fn stored_uncompressed_on_request() {
    let lab = Lab::new();
    lab.file("text", &"the same words again ".repeat(1000));
    let plain = NewSnapshot {
        compression: Compression::None,
        ..new()
    };
    let taken = lab.repository().snapshot(&plain).unwrap();
    assert!(taken.stored_bytes > 21_000);
    lab.file("text", &"the other words again ".repeat(1000));
    let taken = lab.take();
    assert!(taken.stored_bytes < 3_000, "{}", taken.stored_bytes);
    assert!(lab.repository().verify(VerifyDepth::Data).unwrap().ok);
}

#[test]
fn what_is_not_there_is_said() {
    let lab = rich();
    let repository = lab.repository();
    assert!(repository.snapshots().unwrap().is_empty());
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    assert!(matches!(
        repository.show("abc"),
        Err(RepositoryError::Empty)
    ));
    lab.take();
    lab.take();
    assert!(matches!(
        repository.show("zz"),
        Err(RepositoryError::Unknown { .. })
    ));
    assert!(matches!(
        repository.show(""),
        Err(RepositoryError::Unknown { .. })
    ));
    let format = lab.root.path().join("repo/format.json");
    let newer = fs::read_to_string(&format)
        .unwrap()
        .replace("\"version\":1", "\"version\":3");
    fs::write(&format, newer).unwrap();
    assert!(matches!(
        repository.snapshots(),
        Err(RepositoryError::Newer { .. })
    ));
}
