//! An encrypted repository: what it shows, who opens it, what becomes of it after damage and a kill.

use zeroize::Zeroizing;

use super::{damage::files, node::Hash, *};
use crate::step::with_steps;

/// What must not be found in a repository: a name, a target, content, an attribute, words of a record.
const SECRETS: &[&str] = &[
    "confidential-name",
    "elsewhere-target",
    "the quick brown",
    "wordless",
    "telltale-tag",
];

fn key(byte: u8) -> RepositoryKey {
    RepositoryKey::of(Zeroizing::new([byte; 32]))
}

fn place(lab: &Lab) -> PathBuf {
    lab.root.path().join("repo")
}

fn sealed(lab: &Lab, byte: u8) -> Repository {
    lab.repository().with_key(key(byte)).encrypted()
}

fn secretive() -> Lab {
    let lab = rich();
    fs::create_dir(lab.ws().join("confidential-name-dir")).unwrap();
    lab.file(
        "confidential-name-dir/confidential-name",
        &"the quick brown fox\n".repeat(400),
    );
    fs::write(lab.ws().join("random"), noise(20_000)).unwrap();
    symlink("elsewhere-target", lab.ws().join("link2")).unwrap();
    set_xattr(&lab.ws().join("a"), "user.note", "wordless");
    lab
}

fn take(repository: &Repository) -> Taken {
    let words = NewSnapshot {
        tags: vec!["telltale-tag".to_owned()],
        // Compression would hide words, not keep them.
        compression: Compression::None,
        ..new()
    };
    repository.snapshot(&words).unwrap()
}

/// Lets the file system's clock move: what changed in the tick of a snapshot is read again by the next.
fn later(lab: &Lab) {
    let file = fs::File::create(lab.root.path().join("tick")).unwrap();
    crate::clock::stamp(&file.into()).unwrap();
}

/// Returns which of the secrets are in which files.
fn found(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(directory) {
        let bytes = fs::read(&path).unwrap();
        for secret in SECRETS {
            let secret = secret.as_bytes();
            if bytes.windows(secret.len()).any(|window| window == secret) {
                found.push(String::from_utf8_lossy(secret).into_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn all() -> Vec<String> {
    let mut all: Vec<_> = SECRETS.iter().map(|it| (*it).to_owned()).collect();
    all.sort();
    all
}

/// Returns the addresses of everything that a repository with this index has.
fn addresses(repository: &Repository) -> Vec<Hash> {
    let session = Session::read(repository).unwrap();
    let read = session.index.read(|transaction| {
        use redb::ReadableTable as _;
        let mut found = Vec::new();
        for row in transaction.open_table(index::CHUNKS)?.iter()? {
            found.push(Hash(*row?.0.value()));
        }
        Ok(found)
    });
    read.unwrap()
}

fn contains(directory: &Path, needle: &[u8]) -> bool {
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    files(directory).iter().any(has)
}

#[test]
fn no_content_name_or_address_is_readable() {
    let lab = secretive();
    let plain = lab.repository();
    let taken = take(&plain);
    assert_eq!(found(&place(&lab)), all(), "the control shows all of them");
    let chunk = addresses(&plain)[0];
    assert!(contains(&place(&lab), &chunk.0), "and their addresses");

    let lab = secretive();
    fs::write(lab.ws().join("large"), noise(2 << 20)).unwrap();
    let repository = sealed(&lab, 1);
    let again = take(&repository);
    assert_ne!(
        taken.snapshot.id, again.snapshot.id,
        "its name says nothing of it"
    );
    lab.file("confidential-name", "other");
    let second = take(&repository);
    repository.delete(&again.snapshot.id).unwrap();
    repository.prune().unwrap();
    repository
        .export(&second.snapshot.id, &place(&lab).join("export"))
        .unwrap();
    assert_eq!(found(&place(&lab)), Vec::<String>::new());
    for address in addresses(&repository) {
        assert!(!contains(&place(&lab), &address.0));
    }
    assert!(!place(&lab).join("packs").exists() && !place(&lab).join("index.redb").exists());
}

#[test]
fn it_does_all_that_a_repository_does() {
    let lab = secretive();
    let before = lab.manifest();
    let repository = sealed(&lab, 1);
    let first = take(&repository);
    lab.file("dir/b", "second");
    let second = take(&repository);
    assert_eq!(second.files_read, 1, "the stat cache holds");
    let changes = repository.diff(&first.snapshot.id, Some(&second.snapshot.id));
    assert_eq!(listed(&changes.unwrap()), ["Modified dir/b"]);
    assert!(repository.verify(VerifyDepth::Structure).unwrap().ok);
    fs::remove_file(place(&lab).join("index.sealed")).unwrap();
    fs::remove_file(place(&lab).join("format.json")).unwrap();
    let refused = repository.snapshots();
    assert!(
        matches!(refused, Err(RepositoryError::Damaged { .. })),
        "{refused:?}"
    );
    let rebuilt = repository.rebuild_index().unwrap();
    assert!(rebuilt.problems.is_empty(), "{rebuilt:?}");
    assert_eq!(repository.snapshots().unwrap().len(), 2);
    let checked = repository.verify(VerifyDepth::Data).unwrap();
    assert!(checked.ok, "{checked:?}");
    repository.delete(&second.snapshot.id).unwrap();
    repository.prune().unwrap();
    let restored = repository.restore(&first.snapshot.id, &options("back"));
    restored.unwrap();
    assert_same(&before, &lab.manifest(), "restored");
}

#[test]
fn only_the_key_opens_it() {
    let lab = secretive();
    take(&sealed(&lab, 1));
    let wrong = sealed(&lab, 2);
    let none = lab.repository();
    assert!(matches!(
        none.snapshots(),
        Err(RepositoryError::Locked { .. })
    ));
    assert!(matches!(
        none.verify(VerifyDepth::Data),
        Err(RepositoryError::Locked { .. })
    ));
    assert!(matches!(
        none.rebuild_index(),
        Err(RepositoryError::Locked { .. })
    ));
    assert!(matches!(
        wrong.snapshots(),
        Err(RepositoryError::WrongKey { .. })
    ));
    assert!(matches!(
        wrong.snapshot(&new()),
        Err(RepositoryError::WrongKey { .. })
    ));
    assert!(matches!(
        wrong.verify(VerifyDepth::Data),
        Err(RepositoryError::WrongKey { .. })
    ));
    assert!(matches!(
        wrong.rebuild_index(),
        Err(RepositoryError::WrongKey { .. })
    ));
    assert!(matches!(
        wrong.rekey(&key(3)),
        Err(RepositoryError::WrongKey { .. })
    ));
    let checked = sealed(&lab, 1).verify(VerifyDepth::Data).unwrap();
    assert!(checked.ok, "they changed nothing: {checked:?}");
}

#[test]
fn every_changed_byte_is_found() {
    let lab = rich();
    let repository = sealed(&lab, 1);
    take(&repository);
    lab.file("a", "second");
    take(&repository);
    assert!(repository.verify(VerifyDepth::Data).unwrap().ok);
    let mut flips = 0;
    for path in files(&place(&lab)) {
        let good = fs::read(&path).unwrap();
        let stride = if path.ends_with("index.sealed") {
            9973
        } else {
            3
        };
        for at in (0..good.len()).step_by(stride) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let checked = repository.verify(VerifyDepth::Data);
            assert!(
                checked.is_ok_and(|it| !it.ok),
                "byte {at} of {}",
                path.display()
            );
            flips += 1;
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            let checked = repository.verify(VerifyDepth::Data);
            assert!(checked.is_ok_and(|it| !it.ok), "cut {}", path.display());
        }
        fs::write(&path, &good).unwrap();
    }
    let checked = repository.verify(VerifyDepth::Data).unwrap();
    assert!(checked.ok, "{checked:?}");
    println!("{flips} flipped bits, all found");
}

#[test]
fn nothing_opens_at_another_place() {
    let lab = secretive();
    let repository = sealed(&lab, 1);
    take(&repository);
    // The same content once more, with the same key, in a pack of another number.
    let first = fs::read(place(&lab).join("sealed/00000001.pack")).unwrap();
    lab.file("more", "x");
    take(&repository);
    let second = place(&lab).join("sealed/00000002.pack");
    let mut bytes = fs::read(&second).unwrap();
    // Its own head, and the frames of the other one.
    bytes.truncate(112);
    bytes.extend_from_slice(&first[112..]);
    fs::write(&second, &bytes).unwrap();
    let checked = repository.verify(VerifyDepth::Data).unwrap();
    assert!(!checked.ok);
    let rebuilt = repository.rebuild_index().unwrap();
    assert!(
        rebuilt
            .problems
            .iter()
            .any(|it| it.contains("00000002.pack"))
    );
    assert_eq!(
        repository.snapshots().unwrap().len(),
        1,
        "no frame of it counts"
    );
}

#[test]
fn a_snapshot_moves_between_repositories_that_are_encrypted_or_not() {
    let lab = secretive();
    let before = lab.manifest();
    let repository = sealed(&lab, 1);
    let taken = take(&repository);
    let file = lab.root.path().join("export");
    repository.export(&taken.snapshot.id, &file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let key_of = |bytes: &[u8]| bytes[16..112].to_vec();
    let pack = fs::read(place(&lab).join("sealed/00000001.pack")).unwrap();
    assert_ne!(
        key_of(&bytes),
        key_of(&pack),
        "the file has a key of its own"
    );
    let other = Lab::new();
    let refused = other.repository().take_in(&file);
    assert!(matches!(
        refused,
        Err(ImportError::Repository(RepositoryError::Locked { .. }))
    ));
    let refused = sealed(&other, 9).take_in(&file);
    assert!(matches!(
        refused,
        Err(ImportError::Repository(RepositoryError::WrongKey { .. }))
    ));
    let plain = other.repository().with_key(key(1));
    let imported = plain.take_in(&file).unwrap();
    let out = other.root.path().join("out");
    let elsewhere = |name: &str| RestoreOptions {
        to: Destination::Directory(out.join(name)),
        ..options(name)
    };
    fs::create_dir(&out).unwrap();
    plain
        .restore(&imported.snapshot.id, &elsewhere("plain"))
        .unwrap();
    assert_same(
        &manifest(&out.join("plain")),
        &before,
        "from encrypted to plain",
    );
    let open = other.root.path().join("open");
    plain.export(&imported.snapshot.id, &open).unwrap();
    let third = Lab::new();
    let closed = sealed(&third, 5);
    let imported = closed.take_in(&open).unwrap();
    closed
        .restore(&imported.snapshot.id, &elsewhere("closed"))
        .unwrap();
    assert_same(
        &manifest(&out.join("closed")),
        &before,
        "from plain to encrypted",
    );
    assert_eq!(found(&place(&third)), Vec::<String>::new());
    // A bit of the file.
    for at in (0..bytes.len()).step_by(997) {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        fs::write(&file, &bad).unwrap();
        assert!(plain.take_in(&file).is_err(), "byte {at}");
    }
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one_at_every_kill() {
    for steps in (0_u64..).step_by(3) {
        let lab = secretive();
        let before = lab.manifest();
        let taken = take(&sealed(&lab, 1));
        lab.file("a", "changed");
        take(&sealed(&lab, 1));
        let (done, ran_out) = with_steps(steps, || sealed(&lab, 1).rekey(&key(2)));
        let (old, new) = (sealed(&lab, 1), sealed(&lab, 2));
        let usable = if old.snapshots().is_ok() { &old } else { &new };
        assert_eq!(usable.snapshots().unwrap().len(), 2, "step {steps}");
        let checked = usable.verify(VerifyDepth::Data).unwrap();
        assert!(checked.ok, "step {steps}: {checked:?}");
        if !ran_out {
            assert_eq!(
                done.unwrap(),
                Rekeyed {
                    encrypted: false,
                    packs: 2
                }
            );
            assert!(matches!(
                old.snapshots(),
                Err(RepositoryError::WrongKey { .. })
            ));
            // Nor do the packs open with it.
            fs::remove_file(place(&lab).join("format.json")).unwrap();
            assert!(matches!(
                old.rebuild_index(),
                Err(RepositoryError::WrongKey { .. })
            ));
            new.rebuild_index().unwrap();
            new.restore(&taken.snapshot.id, &options("back")).unwrap();
            assert_same(&before, &lab.manifest(), "restored");
            return;
        }
    }
}

#[test]
fn a_plain_repository_is_encrypted_at_every_kill() {
    for steps in (0_u64..).step_by(3) {
        let lab = secretive();
        let before = lab.manifest();
        let taken = take(&lab.repository());
        lab.file("a", "changed");
        later(&lab);
        take(&lab.repository());
        let repository = sealed(&lab, 1);
        let refused = repository.snapshot(&new());
        assert!(matches!(refused, Err(RepositoryError::NotEncrypted { .. })));
        let (done, ran_out) = with_steps(steps, || repository.rekey(&key(1)));
        assert_eq!(repository.snapshots().unwrap().len(), 2, "step {steps}");
        let checked = repository.verify(VerifyDepth::Data).unwrap();
        assert!(checked.ok, "step {steps}: {checked:?}");
        if ran_out {
            // Again, to the end.
            repository.rekey(&key(1)).unwrap();
        } else {
            assert_eq!(
                done.unwrap(),
                Rekeyed {
                    encrypted: true,
                    packs: 2
                }
            );
        }
        assert_eq!(found(&place(&lab)), Vec::<String>::new(), "step {steps}");
        let names: Vec<_> = fs::read_dir(place(&lab))
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 4, "{names:?}");
        let unchanged = repository.snapshot(&new()).unwrap();
        assert_eq!(
            unchanged.files_read, 0,
            "step {steps}: what was seen moved too"
        );
        repository
            .restore(&taken.snapshot.id, &options("back"))
            .unwrap();
        assert_same(&before, &lab.manifest(), "restored");
        if !ran_out {
            return;
        }
    }
}
