//! The store against a model, after reopening, and with flipped bits.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::StateManager;

struct Lab {
    home: TempDir,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    fn store(&self) -> Store {
        StateManager::open(&self.home.path().join("box"))
            .store()
            .unwrap()
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("box/state.redb")
    }
}

#[test]
fn a_number_names_the_state_at_one_time() {
    let lab = Lab::new();
    let store = lab.store();
    assert_eq!(store.sequence().unwrap(), 0);
    assert_eq!(store.get("a", "k").unwrap(), None);
    let first = store.put("a", "k", b"one").unwrap();
    let other = store.put("b", "k", b"elsewhere").unwrap();
    let second = store.put("a", "k", b"two").unwrap();
    let gone = store.delete("a", "k").unwrap().unwrap();
    assert_eq!(store.delete("a", "k").unwrap(), None);
    assert_eq!([first, other, second, gone], [1, 2, 3, 4]);
    drop(store);

    let store = lab.store();
    assert_eq!(store.get("a", "k").unwrap(), None);
    assert_eq!(store.get_at("a", "k", 0).unwrap(), None);
    assert_eq!(
        store.get_at("a", "k", other).unwrap(),
        Some(b"one".to_vec())
    );
    assert_eq!(
        store.get_at("a", "k", second).unwrap(),
        Some(b"two".to_vec())
    );
    let history = store.history("a", "k").unwrap();
    assert_eq!(
        history.iter().map(|it| it.sequence).collect::<Vec<_>>(),
        [1, 3, 4]
    );
    assert_eq!(history[2].value, None);
    let found = store.verify().unwrap();
    assert_eq!((found.sequence, found.keys), (4, 2));
}

#[test]
fn large_values_are_compressed_and_limits_hold() {
    let lab = Lab::new();
    let store = lab.store();
    let large = vec![7; 1024 * 1024];
    store.put("a", "large", &large).unwrap();
    assert_eq!(store.get("a", "large").unwrap(), Some(large));
    assert!(fs::metadata(lab.file()).unwrap().len() < 512 * 1024);
    for (namespace, key) in [("", "k"), ("a", ""), ("a", &"k".repeat(KEY_BYTES_MAX + 1))] {
        let refused = store.put(namespace, key, b"");
        assert!(matches!(refused, Err(StoreWriteError::Name { .. })));
    }
    store.put("a", "empty", b"").unwrap();
    assert_eq!(store.get("a", "empty").unwrap(), Some(Vec::new()));
}

#[test]
fn a_second_opener_waits_and_then_names_the_holder() {
    let lab = Lab::new();
    let held = lab.store();
    let state = StateManager::open(&lab.home.path().join("box"));
    match state.store() {
        Err(StoreError::Busy { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| state.store().map(drop));
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
            scope.spawn(move || lab.store().put("a", &format!("k{writer}"), b"v").unwrap());
        }
    });
    assert_eq!(lab.store().list("a", "k").unwrap().len(), 6);
    assert_eq!(lab.store().sequence().unwrap(), 6);
    let names = fs::read_dir(lab.home.path().join("box")).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside the store");
}

#[test]
fn what_a_crash_left_while_creating_is_replaced() {
    let lab = Lab::new();
    drop(lab.store());
    fs::rename(lab.file(), lab.file().with_extension("redb.new")).unwrap();
    lab.store().put("a", "k", b"v").unwrap();
    assert!(!lab.file().with_extension("redb.new").exists());
}

#[test]
fn a_file_that_is_no_store_is_damaged_and_stays() {
    let lab = Lab::new();
    drop(lab.store());
    let state = StateManager::open(&lab.home.path().join("box"));
    for content in [Vec::new(), b"not a database".to_vec(), vec![0; 80_000]] {
        fs::write(lab.file(), &content).unwrap();
        assert!(
            matches!(state.store(), Err(StoreError::Damaged { .. })),
            "{}",
            content.len()
        );
        assert_eq!(fs::read(lab.file()).unwrap(), content);
    }
}

#[test]
fn values_are_bound_to_their_place() {
    let place = |key, sequence| envelope::Place {
        namespace: "a",
        key,
        sequence,
    };
    let (sealed, _) = envelope::seal(place("k", 3), 1, Some(b"value"));
    let opened = envelope::open(place("k", 3), &sealed).unwrap();
    assert_eq!(
        opened.value(place("k", 3)).unwrap(),
        Some(b"value".to_vec())
    );
    assert!(envelope::open(place("k", 4), &sealed).is_err());
    assert!(envelope::open(place("j", 3), &sealed).is_err());
    for byte in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[byte] ^= 1 << bit;
            assert!(envelope::open(place("k", 3), &changed).is_err());
        }
        assert!(envelope::open(place("k", 3), &sealed[..byte]).is_err());
    }
}

/// The answers to all questions, or that one failed.
fn answers(state: &StateManager, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
    let store = state.store().ok()?;
    let mut answers = Vec::new();
    for key in keys {
        for sequence in [5, u64::MAX] {
            answers.push(store.get_at("a", key, sequence).ok()?);
        }
        let history = store.history("a", key).ok()?;
        answers.extend(history.into_iter().map(|version| version.value));
    }
    for listed in store.list("a", "k").ok()? {
        answers.push(Some(listed.key.into_bytes()));
    }
    store.verify().ok()?;
    Some(answers)
}

/// A flipped bit in the file is an error or changes nothing; never another answer, never a panic.
#[test]
fn flipped_bits_never_give_a_wrong_answer() {
    let lab = Lab::new();
    let keys: Vec<String> = (0..12).map(|number| format!("k{number}")).collect();
    let store = lab.store();
    for key in &keys {
        store.put("a", key, key.repeat(20).as_bytes()).unwrap();
    }
    store.put("a", "k3", &[3; 6000]).unwrap();
    store.delete("a", "k4").unwrap();
    drop(store);
    let state = StateManager::open(&lab.home.path().join("box"));
    let good = fs::read(lab.file()).unwrap();
    let expected = answers(&state, &keys).unwrap();
    let good_after_reading = fs::read(lab.file()).unwrap();
    let mut refused = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let flips = 120;
    for _ in 0..flips {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut bytes = good_after_reading.clone();
        let bits = bytes.len() as u64 * 8;
        let bit = usize::try_from(random % bits).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(lab.file(), &bytes).unwrap();
        match answers(&state, &keys) {
            None => refused += 1,
            Some(answers) => assert_eq!(answers, expected, "bit {bit}"),
        }
    }
    assert!(refused > 0, "no flip of {flips} hit anything");
    fs::write(lab.file(), &good).unwrap();
    assert_eq!(answers(&state, &keys), Some(expected));
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8, Vec<u8>),
    Delete(u8, u8),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 4000_usize..9000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop_oneof![
        6 => (0..2_u8, 0..4_u8, value).prop_map(|(n, k, v)| Act::Put(n, k, v)),
        2 => (0..2_u8, 0..4_u8).prop_map(|(n, k)| Act::Delete(n, k)),
        1 => Just(Act::Reopen),
    ]
}

type Model = BTreeMap<(String, String), Vec<Version>>;

fn model_at<'a>(model: &'a Model, id: &(String, String), sequence: u64) -> Option<&'a Vec<u8>> {
    let versions = model.get(id)?;
    let version = versions.iter().rev().find(|it| it.sequence <= sequence)?;
    version.value.as_ref()
}

fn check_against_model(store: &Store, model: &Model, sequence: u64) {
    assert_eq!(store.sequence().unwrap(), sequence);
    for namespace in ["n0", "n1"] {
        let mut live = Vec::new();
        for key in ["k0", "k1", "k2", "k3"] {
            let id = (namespace.to_owned(), key.to_owned());
            assert_eq!(
                store.history(namespace, key).unwrap(),
                model.get(&id).cloned().unwrap_or_default()
            );
            for at in (0..=sequence).chain([u64::MAX]) {
                let value = store.get_at(namespace, key, at).unwrap();
                assert_eq!(value.as_ref(), model_at(model, &id, at));
            }
            if model_at(model, &id, sequence).is_some() {
                live.push(key.to_owned());
            }
        }
        let listed = store.list(namespace, "k").unwrap();
        assert_eq!(
            listed.into_iter().map(|it| it.key).collect::<Vec<_>>(),
            live
        );
    }
    assert_eq!(store.verify().unwrap().sequence, sequence);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_the_model(acts in prop::collection::vec(act(), 1..25)) {
        let lab = Lab::new();
        let mut store = lab.store();
        let mut model = Model::new();
        let mut sequence = 0;
        for act in acts {
            let (namespace, key, value) = match act {
                Act::Reopen => {
                    drop(store);
                    store = lab.store();
                    continue;
                }
                Act::Put(namespace, key, value) => (namespace, key, Some(value)),
                Act::Delete(namespace, key) => (namespace, key, None),
            };
            let id = (format!("n{namespace}"), format!("k{key}"));
            let live = model_at(&model, &id, u64::MAX).is_some();
            let changed = match &value {
                Some(value) => Some(store.put(&id.0, &id.1, value).unwrap()),
                None => store.delete(&id.0, &id.1).unwrap(),
            };
            if value.is_some() || live {
                sequence += 1;
                prop_assert_eq!(changed, Some(sequence));
                model.entry(id).or_default().push(Version { sequence, value });
            } else {
                prop_assert_eq!(changed, None);
            }
        }
        check_against_model(&store, &model, sequence);
    }
}
