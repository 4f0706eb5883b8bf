//! Whatever is changed in the repository is found, named, and never restored.

use super::*;

/// Every how many bytes one is changed, in the packs and in the rest.
const PACK_STRIDE: usize = 3;
const INDEX_STRIDE: usize = 9973;

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_changed_byte_is_found() {
    let lab = rich();
    lab.take();
    lab.file("a", "second");
    lab.take();
    let repository = lab.repository();
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    let mut flips = 0;
    for path in files(&lab.root.path().join("repo")) {
        let good = fs::read(&path).unwrap();
        let is_index = path.ends_with("index.redb");
        let stride = if is_index { INDEX_STRIDE } else { PACK_STRIDE };
        for at in (0..good.len()).step_by(stride) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let checked = repository.verify(VerifyDepth::Data).unwrap();
            assert!(!checked.ok, "byte {at} of {}", path.display());
            flips += 1;
        }
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(
            !repository.verify(VerifyDepth::Data).unwrap().ok,
            "cut {}",
            path.display()
        );
        fs::write(&path, &good).unwrap();
        let checked = repository.verify(VerifyDepth::Data).unwrap();
        assert!(checked.ok, "{checked:?}");
    }
    println!("{flips} flipped bits, all found");
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_touched() {
    let lab = Lab::new();
    fs::create_dir(lab.ws().join("d")).unwrap();
    let noise = noise(60_000);
    fs::write(lab.ws().join("d/precious"), &noise).unwrap();
    let first = lab.take();
    lab.file("other", "x");
    let second = lab.take();
    lab.file("d/precious", "gone").file("other", "y");
    let edited = lab.manifest();
    let pack = lab.root.path().join("repo/packs/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[30_000] ^= 4;
    fs::write(&pack, &bytes).unwrap();
    let repository = lab.repository();
    for taken in [&first, &second] {
        let refused = repository.restore(&taken.snapshot.id, &options("back"));
        let Err(RestoreError::Damaged { paths, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(paths, [PathBuf::from("d/precious")]);
    }
    let away = RestoreOptions {
        to: Destination::Directory(lab.root.path().join("away")),
        ..options("away")
    };
    repository.restore(&first.snapshot.id, &away).unwrap_err();
    assert!(!lab.root.path().join("away").exists());
    assert_same(&edited, &lab.manifest(), "nothing is touched");
    assert!(
        repository.verify(VerifyDepth::Structure).unwrap().ok,
        "no header is damaged"
    );
    let checked = repository.verify(VerifyDepth::Data).unwrap();
    let affected: Vec<_> = checked
        .problems
        .iter()
        .flat_map(|it| it.snapshots.clone())
        .collect();
    assert_eq!(affected, [first.snapshot.id, second.snapshot.id]);
    assert!(
        checked
            .problems
            .iter()
            .any(|it| it.paths == [PathBuf::from("d/precious")])
    );
    let other = repository
        .restore(&second.snapshot.id, &selected("part", &["other"]))
        .unwrap();
    assert_eq!(
        listed(&other.changes),
        ["Modified other"],
        "the rest returns"
    );
}

#[test]
fn the_index_is_made_again() {
    let lab = rich();
    let before = lab.manifest();
    let first = lab.take();
    lab.file("a", "second");
    let second = lab.take();
    let third = lab.take();
    let repository = lab.repository();
    repository.delete(&second.snapshot.id).unwrap();
    let index = lab.root.path().join("repo/index.redb");
    for damage in ["missing", "empty", "cut", "noise"] {
        let good = fs::read(&index).unwrap();
        match damage {
            "missing" => fs::remove_file(&index).unwrap(),
            "empty" => fs::write(&index, "").unwrap(),
            "cut" => fs::write(&index, &good[..good.len() / 3]).unwrap(),
            _ => fs::write(&index, vec![0xA5; good.len()]).unwrap(),
        }
        let refused = repository.snapshot(&new());
        assert!(
            matches!(refused, Err(RepositoryError::Index { .. })),
            "{damage}: {refused:?}"
        );
        let checked = repository.verify(VerifyDepth::Data).unwrap();
        assert!(!checked.ok, "{damage}");
        let named = &checked.problems.last().unwrap().snapshots;
        assert!(named.contains(&first.snapshot.id) && !named.contains(&second.snapshot.id));
        let rebuilt = repository.rebuild_index().unwrap();
        assert!(rebuilt.problems.is_empty());
        let ids: Vec<_> = repository
            .snapshots()
            .unwrap()
            .iter()
            .map(|it| it.id)
            .collect();
        assert_eq!(ids, [first.snapshot.id, third.snapshot.id], "{damage}");
        assert!(repository.verify(VerifyDepth::Data).unwrap().ok, "{damage}");
    }
    lab.restore(&first, "back");
    assert_same(&before, &lab.manifest(), "restored");
}

/// What is lost of a snapshot is stored again by the next one, as long as it is in the workspace: then the damaged pack goes.
#[test]
fn a_repository_is_sound_again_after_a_repair() {
    let lab = Lab::new();
    lab.file("a", "first");
    let first = lab.take();
    let before = lab.manifest();
    lab.file("b", "second");
    let second = lab.take();
    let pack = lab.root.path().join("repo/packs/00000002.pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[20] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let repository = lab.repository();
    let sound = || repository.verify(VerifyDepth::Data).unwrap().ok;
    assert!(!sound());
    let planned = |what: &str| {
        let before = all_bytes(&lab);
        let planned = repository.rebuild_plan().unwrap();
        assert_eq!(before, all_bytes(&lab), "{what}: a plan changes nothing");
        format!("{planned:?}")
    };
    let plan = planned("something is missing");
    // Something is missing: nothing is removed.
    let rebuilt = repository.rebuild_index().unwrap();
    assert_eq!(plan, format!("{rebuilt:?}"));
    assert!(!rebuilt.problems.is_empty());
    assert_eq!(rebuilt.removed_packs, 0);
    assert!(pack.exists() && !sound());
    let third = lab.take();
    assert!(!sound());
    let plan = planned("nothing is missing");
    let rebuilt = repository.rebuild_index().unwrap();
    assert_eq!(plan, format!("{rebuilt:?}"));
    assert_eq!(rebuilt.removed_packs, 1);
    assert!(!pack.exists() && sound());
    let ids: Vec<_> = repository
        .snapshots()
        .unwrap()
        .iter()
        .map(|it| it.id)
        .collect();
    let all = [first.snapshot.id, second.snapshot.id, third.snapshot.id];
    assert_eq!(ids, all);
    lab.restore(&first, "back");
    assert_same(&before, &lab.manifest(), "restored");
}

/// Every file of the repository with its content.
fn all_bytes(lab: &Lab) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    let all = files(&lab.root.path().join("repo"));
    all.into_iter().map(read).collect()
}

/// A chunk that could be read when the index was made, and cannot be read when its pack is to go, keeps the pack.
#[test]
fn a_pack_stays_until_all_of_it_is_stored_again() {
    let lab = Lab::new();
    fs::write(lab.ws().join("precious"), noise(60_000)).unwrap();
    lab.take();
    let repository = lab.repository();
    let pack = lab.root.path().join("repo/packs/00000001.pack");
    let retire = || {
        let session = Session::write(&repository).unwrap();
        let removed = prune::retire(&session, &[1].into()).unwrap();
        session.close().unwrap();
        removed
    };
    let good = fs::read(&pack).unwrap();
    let mut bad = good.clone();
    bad[30_000] ^= 1;
    fs::write(&pack, &bad).unwrap();
    assert_eq!(retire(), 0);
    fs::write(&pack, &good).unwrap();
    let packs = files(&lab.root.path().join("repo/packs"));
    assert_eq!(
        packs.as_slice(),
        std::slice::from_ref(&pack),
        "and no new pack"
    );
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    // The same, and all of it can be read.
    assert_eq!(retire(), 1);
    assert!(!pack.exists());
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
}

/// What a large file has in common with the snapshot's is taken from the workspace: no pack is read for it.
#[test]
fn a_large_file_is_brought_back_from_what_is_left_of_it() {
    let lab = Lab::new();
    let large = lab.ws().join("large");
    let whole = noise(20 << 20);
    fs::write(&large, &whole).unwrap();
    let taken = lab.take();
    let wanted = lab.manifest();
    // The first chunk cannot be read any more.
    let pack = lab.root.path().join("repo/packs/00000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[5000] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let spoil = |at: usize| {
        let mut spoilt = whole.clone();
        spoilt[at..at + 4096].fill(7);
        fs::write(&large, spoilt).unwrap();
    };
    spoil(12 << 20);
    lab.restore(&taken, "back");
    assert_same(&wanted, &lab.manifest(), "the rest was still there");
    // And where it is not there any more either, nothing is restored.
    spoil(0);
    let spoilt = lab.manifest();
    let refused = lab
        .repository()
        .restore(&taken.snapshot.id, &options("again"));
    assert!(matches!(refused, Err(RestoreError::Damaged { .. })));
    assert_same(&spoilt, &lab.manifest(), "nothing is touched");
    // Longer, shorter, and empty.
    fs::write(&pack, {
        bytes[5000] ^= 1;
        &bytes
    })
    .unwrap();
    for (name, now) in [
        ("longer", [&whole[..], &whole[..100]].concat()),
        ("shorter", whole[..9 << 20].to_vec()),
        ("empty", Vec::new()),
    ] {
        fs::write(&large, now).unwrap();
        lab.restore(&taken, name);
        assert_same(&wanted, &lab.manifest(), name);
    }
}
