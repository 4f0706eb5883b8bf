//! Another key: from a passphrase, and in the place of the one that was, at every moment of the change.

use std::thread;

use zeroize::Zeroizing;

use super::{super::tables::Tables, *};
use crate::{KeyError, StateError};

const SECRET: &[u8] = b"correct horse battery staple";

fn passphrase(lab: &Lab, text: &str) -> StateManager {
    lab.state.clone().with_keys(KeySource::Passphrase {
        text: Zeroizing::new(text.to_owned()),
        origin: "SANDBOX_STATE_PASSPHRASE".to_owned(),
    })
}

fn secret(state: &StateManager) -> Result<Vec<u8>, StateError> {
    let entry = state.get("a", "token", &When::Newest)?;
    Ok(entry.expect("it was stored").value.to_vec())
}

fn key_file(lab: &Lab) -> PathBuf {
    lab.home.path().join("keys/state.key")
}

/// A store with versions of secrets of every form: two that are kept, a large one, a removed one, a deleted one.
fn filled(lab: &Lab) -> Vec<(String, Vec<Version>)> {
    let store = lab.store();
    store.set("open", b"value");
    store.put("a", "token", b"the first", secret_put()).unwrap();
    store.put("a", "token", SECRET, secret_put()).unwrap();
    store.put("a", "large", &[7; 5000], secret_put()).unwrap();
    for _ in 0..5 {
        store.put("a", "often", SECRET, secret_put()).unwrap();
    }
    store.put("a", "gone", SECRET, secret_put()).unwrap();
    store.delete("a", "gone", at(1)).unwrap();
    store.pin("kept", at(2)).unwrap();
    histories(&store)
}

fn histories(store: &Store) -> Vec<(String, Vec<Version>)> {
    let keys = ["gone", "large", "often", "open", "token"].into_iter();
    keys.map(|key| (key.to_owned(), store.history("a", key).unwrap()))
        .collect()
}

#[test]
fn a_passphrase_makes_a_key_of_its_own_in_each_store() {
    let lab = Lab::new();
    let state = passphrase(&lab, "four random words");
    state.set("a", "token", SECRET, secret_put()).unwrap();
    assert!(!key_file(&lab).exists(), "no file is made");
    assert_eq!(secret(&state).unwrap(), SECRET);
    let wrong = secret(&passphrase(&lab, "four other words")).unwrap_err();
    assert!(
        matches!(
            wrong,
            StateError::Read(StoreReadError::Key(KeyError::Wrong { .. }))
        ),
        "{wrong:?}"
    );
    let short = passphrase(&lab, "short").set("a", "token", SECRET, secret_put());
    assert!(matches!(
        short,
        Err(StateError::Write(StoreWriteError::Key(
            KeyError::ShortPassphrase { .. }
        )))
    ));
    let other = Lab::new();
    let same = passphrase(&other, "four random words");
    same.set("a", "token", SECRET, secret_put()).unwrap();
    let name = |lab: &Lab| {
        let bytes = fs::read(lab.file()).unwrap();
        bytes.windows(8).any(|it| it == SECRET)
    };
    assert!(!name(&lab) && !name(&other));
    assert_ne!(salt(&lab), salt(&other));
}

fn salt(lab: &Lab) -> Option<u128> {
    lab.store().read(Tables::salt).unwrap()
}

#[test]
fn every_secret_is_sealed_anew_and_nothing_else_changes() {
    let lab = Lab::keeping(3);
    let before = filled(&lab);
    let old = fs::read(key_file(&lab)).unwrap();
    let to = KeySource::begin_rotation(&key_file(&lab)).unwrap();
    let store = lab.store();
    let rekeyed = store.rekey(&to).unwrap();
    assert_eq!(rekeyed.versions, 7);
    assert_eq!(histories(&store), before);
    let verified = store.verify().unwrap();
    assert_eq!(
        (verified.sequence, &verified.head),
        (rekeyed.sequence, &rekeyed.head)
    );
    assert_eq!(
        store.value("token", &When::Version(1)).unwrap(),
        b"the first"
    );
    assert_eq!(
        store.value("large", &When::Pin("kept".to_owned())).unwrap(),
        [7; 5000]
    );
    assert_eq!(store.rekey(&to).unwrap().versions, 0, "it is done already");
    drop(store);
    KeySource::finish_rotation(&key_file(&lab)).unwrap();
    assert_eq!(secret(&lab.state).unwrap(), SECRET);
    assert_eq!(
        fs::read_dir(key_file(&lab).parent().unwrap())
            .unwrap()
            .count(),
        1
    );
    lab.state.set("a", "token", b"after", secret_put()).unwrap();
    // The old key opens nothing any more.
    fs::write(key_file(&lab), old).unwrap();
    for key in ["token", "large", "often"] {
        for version in lab.state.history("a", key).unwrap() {
            lab.state
                .get("a", key, &When::Version(version.version))
                .unwrap_err();
        }
    }
}

#[test]
fn an_interrupted_change_of_the_key_loses_nothing_and_goes_on() {
    let path = |lab: &Lab| key_file(lab);
    // Two stores with one key, one of which is sealed anew when the process dies.
    let lab = Lab::new();
    let state =
        StateManager::open(&lab.home.path().join("other")).with_keys(KeySource::File(path(&lab)));
    filled(&lab);
    state.set("a", "token", SECRET, secret_put()).unwrap();
    let to = KeySource::begin_rotation(&path(&lab)).unwrap();
    lab.store().rekey(&to).unwrap();
    for manager in [&lab.state, &state] {
        assert_eq!(secret(manager).unwrap(), SECRET);
        manager.set("a", "meanwhile", SECRET, secret_put()).unwrap();
    }
    // A store that gets its first secret now gets the new key.
    let third =
        StateManager::open(&lab.home.path().join("third")).with_keys(KeySource::File(path(&lab)));
    third.set("a", "token", SECRET, secret_put()).unwrap();
    let again = KeySource::begin_rotation(&path(&lab)).unwrap();
    let done: Vec<u64> = [&lab.state, &state, &third]
        .map(|it| it.store().unwrap().rekey(&again).unwrap().versions)
        .into();
    assert_eq!(done, [0, 2, 0]);
    KeySource::finish_rotation(&path(&lab)).unwrap();
    for manager in [&lab.state, &state, &third] {
        assert_eq!(secret(manager).unwrap(), SECRET);
        manager.verify().unwrap();
    }
}

#[test]
fn others_read_and_write_while_the_key_changes() {
    let lab = Lab::new();
    let state = lab.state.clone().with_busy_wait(Duration::from_secs(120));
    let lab = Lab { state, ..lab };
    lab.state.set("a", "token", SECRET, secret_put()).unwrap();
    let path = key_file(&lab);
    thread::scope(|scope| {
        let others: Vec<_> = (0..3)
            .map(|number| {
                let state = lab.state.clone();
                scope.spawn(move || {
                    for round in 0..5 {
                        assert_eq!(secret(&state).unwrap(), SECRET);
                        let key = format!("{number}-{round}");
                        state.set("a", &key, SECRET, secret_put()).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            rotate(&lab.state, &path);
        }
        for other in others {
            other.join().unwrap();
        }
    });
    rotate(&lab.state, &path);
    let store = lab.store();
    for listed in store.list("a", "").unwrap() {
        store.get("a", &listed.key, &When::Newest).unwrap();
    }
    store.verify().unwrap();
}

fn rotate(state: &StateManager, path: &Path) {
    let to = KeySource::begin_rotation(path).unwrap();
    state.store().unwrap().rekey(&to).unwrap();
    KeySource::finish_rotation(path).unwrap();
}

#[test]
fn a_key_file_becomes_a_passphrase_and_back() {
    let lab = Lab::new();
    filled(&lab);
    let worded = passphrase(&lab, "four random words");
    let to = KeySource::Passphrase {
        text: Zeroizing::new("four random words".to_owned()),
        origin: "NEW".to_owned(),
    };
    assert!(lab.store().rekey(&to).unwrap().versions > 0);
    assert_eq!(secret(&worded).unwrap(), SECRET);
    secret(&lab.state).unwrap_err();
    assert_eq!(worded.store().unwrap().rekey(&to).unwrap().versions, 0);
    let back = KeySource::File(key_file(&lab));
    assert!(worded.store().unwrap().rekey(&back).unwrap().versions > 0);
    assert_eq!(secret(&lab.state).unwrap(), SECRET);
}
