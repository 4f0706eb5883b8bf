//! The key file: made once, whole, for its owner alone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn source() -> (tempfile::TempDir, PathBuf, KeySource) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("keys/state.key");
    let source = KeySource::File(path.clone());
    (home, path, source)
}

#[test]
fn the_file_is_made_at_first_use_and_for_its_owner_alone() {
    let (_home, path, source) = source();
    assert!(SecretKey::load(&source).unwrap().is_none());
    assert!(!path.exists(), "reading makes nothing");
    let key = SecretKey::load_or_make(&source).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let again = SecretKey::load_or_make(&source).unwrap();
    assert_eq!(again.bytes.bytes(), key.bytes.bytes());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn what_a_crash_left_is_replaced_and_many_make_one_key() {
    let (home, path, source) = source();
    fs::create_dir(home.path().join("keys")).unwrap();
    fs::set_permissions(home.path().join("keys"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path.with_file_name("state.key.new"), "half").unwrap();
    let ids: Vec<u64> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| SecretKey::load_or_make(&source).unwrap().id()))
            .collect();
        makers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert!(!path.with_file_name("state.key.new").exists());
}

#[test]
fn a_file_that_others_may_read_or_that_is_no_key_is_refused() {
    let (_home, path, source) = source();
    SecretKey::load_or_make(&source).unwrap();
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(
            SecretKey::load(&source),
            Err(KeyError::Open { .. })
        ));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read(&path).unwrap();
    for bad in [&b""[..], b"short", &[0xff; 65], &good[..63], &[b'a'; 1000]] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(
            SecretKey::load(&source),
            Err(KeyError::Malformed { .. })
        ));
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(matches!(
        SecretKey::load(&source),
        Err(KeyError::Open { .. })
    ));
    assert!(SecretKey::load_or_make(&source).is_err());
}

#[test]
fn a_sealed_value_opens_with_its_key_at_its_place_only() {
    let (_home, _path, source) = source();
    let key = SecretKey::load_or_make(&source).unwrap();
    let sealed = key.seal(b"place", b"value").unwrap();
    assert_eq!(sealed.len(), b"value".len() + SEALED_EXTRA_BYTES);
    let opened = key.open(b"place", &sealed).unwrap();
    assert_eq!(opened.unwrap().as_slice(), b"value");
    assert!(key.open(b"elsewhere", &sealed).unwrap().is_none());
    assert_ne!(
        key.seal(b"place", b"value").unwrap(),
        sealed,
        "nonces differ"
    );
    for byte in ID_BYTES..sealed.len() {
        let mut changed = sealed.clone();
        changed[byte] ^= 1;
        assert!(key.open(b"place", &changed).unwrap().is_none());
        assert!(key.open(b"place", &sealed[..byte]).unwrap().is_none());
    }
    let mut other = sealed;
    other[0] ^= 1;
    assert!(matches!(
        key.open(b"place", &other),
        Err(KeyError::Wrong { .. })
    ));
    let shown = format!("{source:?}");
    assert!(shown.contains("state.key"));
}
