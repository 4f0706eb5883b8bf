//! Secrets: sealed on disk, bound to their place, and refused without their key.

use zeroize::Zeroizing;

use super::{
    super::tables::{Tables, VersionId},
    *,
};
use crate::{KeyError, StateError};

const PLAINTEXT: &[u8] = b"correct horse battery staple";

fn with_text(lab: &Lab, digits: &str) -> StateManager {
    lab.state.clone().with_keys(KeySource::Text {
        text: Zeroizing::new(digits.to_owned()),
        origin: "SANDBOX_STATE_KEY".to_owned(),
    })
}

fn key_error(state: &StateManager) -> KeyError {
    match state.get("a", "token", &When::Newest) {
        Err(StateError::Read(StoreReadError::Key(error))) => error,
        other => panic!("{other:?}"),
    }
}

/// Every file of the lab but the key's.
fn on_disk(lab: &Lab) -> Vec<u8> {
    fs::read(lab.file()).unwrap()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|it| it == part)
}

#[test]
fn a_secret_is_nowhere_in_the_file() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("open", PLAINTEXT);
    drop(store);
    assert!(contains(&on_disk(&lab), PLAINTEXT), "the control");

    let lab = Lab::new();
    let store = lab.store();
    let long: Vec<u8> = PLAINTEXT.iter().copied().cycle().take(50_000).collect();
    for (key, value) in [("token", PLAINTEXT), ("long", &long)] {
        let stored = store.put("a", key, value, secret_put()).unwrap();
        assert!(stored.secret);
        assert_eq!(store.value(key, &When::Newest).as_deref(), Some(value));
        store.delete("a", key, at(0)).unwrap();
        let back = store.rollback("a", key, 1, at(0)).unwrap();
        assert!(back.secret, "what was brought back is sealed too");
        assert_eq!(store.value(key, &When::Newest).as_deref(), Some(value));
    }
    let done = store.rollback_to("a", 1, at(0)).unwrap();
    assert_eq!(done.changed.len(), 1);
    assert_eq!(
        format!(
            "{:?}",
            store
                .get("a", "token", &When::Newest)
                .unwrap()
                .unwrap()
                .value
        ),
        "Value(28 bytes)"
    );
    drop(store);
    assert!(!contains(&on_disk(&lab), PLAINTEXT));
}

#[test]
fn a_secret_stays_one_until_it_is_deleted() {
    let lab = Lab::new();
    let store = lab.store();
    store.put("a", "token", PLAINTEXT, secret_put()).unwrap();
    let refused = store.put("a", "token", b"open", open_put());
    assert!(matches!(refused, Err(StoreWriteError::StaysSecret { .. })));
    store.delete("a", "token", at(0)).unwrap();
    store.set("token", b"open");
    assert!(!store.list("a", "").unwrap()[0].newest.secret);
}

#[test]
fn a_missing_or_wrong_key_is_an_error_and_nothing_else() {
    let lab = Lab::new();
    lab.store()
        .put("a", "token", PLAINTEXT, secret_put())
        .unwrap();
    let file = lab.home.path().join("keys/state.key");
    let aside = lab.home.path().join("keys/aside");
    fs::rename(&file, &aside).unwrap();
    assert!(matches!(key_error(&lab.state), KeyError::Missing { path } if path == file));
    // No new key is made as long as a secret needs the old one.
    let refused = lab.state.set("a", "other", b"x", secret_put());
    assert!(matches!(
        refused,
        Err(StateError::Write(StoreWriteError::Key(
            KeyError::Missing { .. }
        )))
    ));
    assert!(!file.exists());
    // What is not secret needs no key.
    lab.store().set("open", b"x");
    assert_eq!(lab.store().list("a", "").unwrap().len(), 2);
    assert_eq!(lab.store().history("a", "token").unwrap().len(), 1);

    let wrong = with_text(&lab, &"5a".repeat(32));
    let error = key_error(&wrong);
    assert!(matches!(&error, KeyError::Wrong { origin, .. } if origin == "SANDBOX_STATE_KEY"));
    assert!(!error.to_string().contains("5a5a"));
    let refused = wrong.set("a", "other", b"x", secret_put());
    assert!(matches!(
        refused,
        Err(StateError::Write(StoreWriteError::Key(
            KeyError::Wrong { .. }
        )))
    ));
    for text in ["", "5a", &"5a".repeat(33), &"zz".repeat(32)] {
        assert!(matches!(
            key_error(&with_text(&lab, text)),
            KeyError::Malformed { .. }
        ));
    }
    let without = lab.state.clone().with_keys(KeySource::None);
    assert!(matches!(key_error(&without), KeyError::NoSource));

    // The text of the file is a key, too.
    let right = with_text(&lab, &fs::read_to_string(&aside).unwrap());
    let entry = right.get("a", "token", &When::Newest).unwrap().unwrap();
    assert_eq!(&*entry.value, PLAINTEXT);

    // The way out: give the secrets up.
    lab.state.delete("a", "token", at(0)).unwrap();
    lab.state.set("a", "token", b"new", secret_put()).unwrap();
    assert!(file.exists());
    lab.store().verify().unwrap();
}

/// Writes the bytes of one version over another place with all tags made anew, as somebody could who
/// may write the file and has no key.
fn forge(lab: &Lab, from: VersionId, to: VersionId) {
    let store = lab.store();
    let database = store.database.as_ref().unwrap();
    let transaction = begin_durable_write(database).unwrap();
    let mut tables = Tables::open_to_write(&transaction).unwrap();
    let read = |tables: &Tables<_>, id: VersionId| {
        let bytes = tables.versions_bytes(id);
        envelope::read(tables.place((id.0, id.1), id.2), &bytes).unwrap()
    };
    let (source, mut facts) = (read(&tables, from), read(&tables, to).facts);
    facts.form = source.facts.form;
    facts.size = source.facts.size;
    let place = tables.place((to.0, to.1), to.2);
    let (row, tag) = envelope::write(place, facts, &source.inline);
    tables.overwrite(to, &row, tag);
    drop(tables);
    transaction.commit().unwrap();
}

#[test]
fn a_sealed_value_that_was_moved_is_refused() {
    for to in [("a", "token", 2), ("a", "other", 3), ("b", "token", 4)] {
        let lab = Lab::new();
        let store = lab.store();
        for (namespace, key) in [
            ("a", "token"),
            ("a", "token"),
            ("a", "other"),
            ("b", "token"),
        ] {
            store.put(namespace, key, PLAINTEXT, secret_put()).unwrap();
        }
        drop(store);
        forge(&lab, ("a", "token", 1), to);
        let moved = lab.store().get(to.0, to.1, &When::Newest);
        assert!(
            matches!(
                moved,
                Err(StoreReadError::Damaged {
                    source: Corruption::Sealed { .. },
                    ..
                })
            ),
            "{to:?}: {moved:?}"
        );
    }
    // The control: where it belongs, it is read.
    let lab = Lab::new();
    lab.store()
        .put("a", "token", PLAINTEXT, secret_put())
        .unwrap();
    forge(&lab, ("a", "token", 1), ("a", "token", 1));
    assert_eq!(
        lab.store().value("token", &When::Newest).as_deref(),
        Some(PLAINTEXT)
    );
}
