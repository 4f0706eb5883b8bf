//! The store: what it promises, against a model, with old versions removed, and with damage.

mod batch;
mod crash;
mod damage;
mod keys;
mod model;
mod readers;
mod retention;
mod secrets;

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::StateManager;

/// A state directory of its own, with a key file beside it.
struct Lab {
    home: TempDir,
    state: StateManager,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = StateManager::open(&home.path().join("box"))
            .with_keys(KeySource::File(home.path().join("keys/state.key")));
        Self { home, state }
    }

    fn keeping(versions: u64) -> Self {
        let lab = Self::new();
        let state = lab.state.clone().with_versions_kept(versions);
        Self { state, ..lab }
    }

    fn store(&self) -> Store {
        self.state.store().unwrap()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("box/state.redb")
    }
}

/// A time that tells the tests apart.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn open_put() -> Put {
    Put {
        at: at(0),
        secrecy: Secrecy::Open,
        expected: None,
    }
}

fn secret_put() -> Put {
    Put {
        secrecy: Secrecy::Secret,
        ..open_put()
    }
}

impl Store {
    fn set(&self, key: &str, value: &[u8]) -> Version {
        self.put("a", key, value, open_put()).unwrap()
    }

    fn value(&self, key: &str, when: &When) -> Option<Vec<u8>> {
        let entry = self.get("a", key, when).unwrap();
        entry.map(|entry| entry.value.to_vec())
    }
}

#[test]
fn a_number_names_the_state_at_one_time() {
    let lab = Lab::new();
    let store = lab.store();
    assert_eq!(store.sequence().unwrap(), 0);
    assert_eq!(store.value("k", &When::Newest), None);
    let first = store.set("k", b"one");
    let other = store.put("b", "k", b"elsewhere", open_put()).unwrap();
    let second = store.put(
        "a",
        "k",
        b"two",
        Put {
            at: at(7),
            ..open_put()
        },
    );
    let second = second.unwrap();
    let gone = store.delete("a", "k", at(9)).unwrap().unwrap();
    assert_eq!(store.delete("a", "k", at(9)).unwrap(), None);
    let sequences = [&first, &other, &second, &gone].map(|it| it.sequence);
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert_eq!([first.version, second.version, gone.version], [1, 2, 3]);
    drop(store);

    let store = lab.store();
    assert_eq!(store.value("k", &When::Newest), None);
    assert_eq!(store.value("k", &When::Sequence(0)), None);
    assert_eq!(store.value("k", &When::Sequence(2)), Some(b"one".to_vec()));
    assert_eq!(store.value("k", &When::Version(1)), Some(b"one".to_vec()));
    assert_eq!(store.value("k", &When::Sequence(3)), Some(b"two".to_vec()));
    assert_eq!(store.value("k", &When::Version(3)), None);
    let history = store.history("a", "k").unwrap();
    assert_eq!(history, [first, second, gone]);
    assert_eq!((history[1].at, history[1].bytes), (at(7), 3));
    assert!(history[2].deleted);
    let changes = store.changes(1).unwrap();
    let changes: Vec<_> = changes
        .iter()
        .map(|it| (it.namespace.as_str(), it.version.sequence))
        .collect();
    assert_eq!(changes, [("b", 2), ("a", 3), ("a", 4)]);
    let found = store.verify().unwrap();
    assert_eq!((found.sequence, found.keys, found.versions), (4, 2, 4));
}

#[test]
fn what_is_not_there_is_said() {
    let lab = Lab::new();
    let missing = |when: When| match lab.state.get("a", "k", &when) {
        Err(crate::StateError::Read(StoreReadError::Lookup(error))) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let pin = When::Pin("p".to_owned());
    let before = [
        missing(When::Version(1)),
        missing(When::Sequence(1)),
        missing(pin.clone()),
    ];
    assert!(!lab.file().exists(), "reading creates nothing");
    assert_eq!(lab.state.get("a", "k", &When::Newest).unwrap(), None);
    drop(lab.store());
    let after = [
        missing(When::Version(1)),
        missing(When::Sequence(1)),
        missing(pin),
    ];
    assert_eq!(before, after);
    lab.store().set("k", b"1");
    assert_eq!(
        missing(When::Version(2)),
        "there is no version 2 of 'k': the newest is 1"
    );
    missing(When::Version(0));
}

#[test]
fn a_change_that_somebody_else_made_is_not_lost() {
    let lab = Lab::new();
    let store = lab.store();
    let expecting = |version| Put {
        expected: Some(version),
        ..open_put()
    };
    store.put("a", "k", b"1", expecting(0)).unwrap();
    store.put("a", "k", b"2", expecting(1)).unwrap();
    for wrong in [0, 1, 3] {
        let refused = store.put("a", "k", b"3", expecting(wrong));
        assert!(matches!(
            refused,
            Err(StoreWriteError::Conflict { found: 2, .. })
        ));
    }
    store.delete("a", "k", at(0)).unwrap();
    store.put("a", "k", b"4", expecting(0)).unwrap();
    assert_eq!(store.sequence().unwrap(), 4);
}

#[test]
fn rollback_of_a_key_and_of_everything() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("x", b"1");
    store.set("y", b"1");
    let then = store.set("z", b"1").sequence;
    store.set("x", b"2");
    store.delete("a", "y", at(0)).unwrap();
    store.set("new", b"1");
    store.put("other", "x", b"stays", open_put()).unwrap();

    let back = store.rollback("a", "x", 1, at(0)).unwrap();
    assert_eq!((back.version, back.restores), (3, Some(1)));
    store.set("x", b"3");

    let done = store.rollback_to("a", then, at(0)).unwrap();
    let keys: Vec<&str> = done.changed.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(keys, ["new", "x", "y"]);
    assert!(done.changed.iter().all(|it| it.1.sequence == done.sequence));
    assert_eq!(store.value("x", &When::Newest), Some(b"1".to_vec()));
    assert_eq!(store.value("y", &When::Newest), Some(b"1".to_vec()));
    assert_eq!(store.value("new", &When::Newest), None);
    let other = store.get("other", "x", &When::Newest).unwrap().unwrap();
    assert_eq!(&*other.value, b"stays");

    // Again: there is nothing left to do, and a rollback can be rolled back.
    let again = store.rollback_to("a", then, at(0)).unwrap();
    assert_eq!((again.sequence, again.changed.len()), (done.sequence, 0));
    store.rollback_to("a", done.sequence - 1, at(0)).unwrap();
    assert_eq!(store.value("x", &When::Newest), Some(b"3".to_vec()));
    assert!(store.rollback_to("a", 1000, at(0)).is_err());
    assert!(store.rollback("a", "x", 99, at(0)).is_err());
    store.verify().unwrap();
}

#[test]
fn values_have_any_content_and_limits_hold() {
    let lab = Lab::new();
    let store = lab.store();
    for size in [0, 1, 1024, 1025, 4096, 4097, 100_000] {
        let noise: Vec<u8> = (0..size)
            .map(|it: u32| (it.wrapping_mul(it) >> 3).to_le_bytes()[0])
            .collect();
        for value in [&noise, &vec![7; size as usize]] {
            let stored = store.set("k", value);
            assert_eq!(stored.bytes, u64::from(size));
            assert_eq!(store.value("k", &When::Newest).as_ref(), Some(value));
        }
    }
    let zeros = vec![0; VALUE_BYTES_MAX + 1];
    store.set("largest", &zeros[1..]);
    let found = store.value("largest", &When::Newest).unwrap();
    assert!(found == zeros[1..]);
    // A secret is not compressed, so this one is written in several parts.
    let long: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    store.put("a", "long", &long, secret_put()).unwrap();
    assert!(store.value("long", &When::Newest).unwrap() == long);
    let file_bytes = fs::metadata(lab.file()).unwrap().len();
    assert!(file_bytes < 8 * 1024 * 1024, "{file_bytes}");
    store.verify().unwrap();
    let refused = store.put("a", "k", &zeros, open_put());
    assert!(matches!(refused, Err(StoreWriteError::TooLarge { .. })));
    for (namespace, key) in [("", "k"), ("a", ""), ("a", &"k".repeat(KEY_BYTES_MAX + 1))] {
        let refused = store.put(namespace, key, b"", open_put());
        assert!(matches!(refused, Err(StoreWriteError::Name { .. })));
    }
}

#[test]
fn a_second_opener_waits_and_then_names_the_holder() {
    let lab = Lab::new();
    let held = lab.store();
    let impatient = lab.state.clone().with_busy_wait(Duration::from_millis(30));
    match impatient.store() {
        Err(StoreError::Busy { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| lab.state.store().map(drop));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn many_openers_create_one_store() {
    let lab = Lab::new();
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let lab = &lab;
            scope.spawn(move || lab.store().set(&format!("k{writer}"), b"v"));
        }
    });
    assert_eq!(lab.store().list("a", "k").unwrap().len(), 6);
    assert_eq!(lab.store().sequence().unwrap(), 6);
    let names = fs::read_dir(lab.home.path().join("box")).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside the store");
}

#[test]
fn who_opens_again_and_again_does_not_keep_others_out() {
    let lab = Lab::new();
    lab.store().set("k", b"v");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    drop(lab.store());
                }
            });
        }
        for _ in 0..20 {
            drop(lab.store());
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn what_a_crash_left_while_creating_is_replaced() {
    let lab = Lab::new();
    drop(lab.store());
    fs::rename(lab.file(), lab.file().with_extension("redb.new")).unwrap();
    lab.store().set("k", b"v");
    assert!(!lab.file().with_extension("redb.new").exists());
}
