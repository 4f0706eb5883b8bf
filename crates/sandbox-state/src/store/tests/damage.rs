//! A damaged file is an error; never another value, never a panic.

use std::os::unix::fs::PermissionsExt as _;

use redb::ReadableTable as _;

use super::{
    super::{
        envelope::{Facts, Form, Kind, Place},
        tables::{Tables, VersionId, Writing},
    },
    *,
};
use crate::Hash;

impl Tables<Writing<'_>> {
    /// The bytes of a row.
    pub(super) fn versions_bytes(&self, id: VersionId) -> Vec<u8> {
        self.versions.get(id).unwrap().unwrap().value().to_vec()
    }

    /// Puts another row in the place of the newest version of a key.
    pub(super) fn overwrite(&mut self, id: VersionId, row: &[u8], tag: Hash) {
        self.versions.insert(id, row).unwrap();
        self.newest.insert((id.0, id.1), (id.2, &tag)).unwrap();
    }
}

#[test]
fn rows_are_bound_to_their_place() {
    let place = |store, key, sequence| Place {
        store,
        namespace: "a",
        key,
        sequence,
    };
    let facts = Facts {
        kind: Kind::Value,
        form: Form::default(),
        number: 2,
        previous: 1,
        at: -5,
        origin: 0,
        size: 5,
    };
    let here = place(7, "k", 3);
    let (row, tag) = envelope::write(here, facts, b"value");
    let read = envelope::read(here, &row).unwrap();
    assert_eq!((read.facts, read.tag), (facts, tag));
    assert_eq!(read.inline, b"value");
    for elsewhere in [place(8, "k", 3), place(7, "j", 3), place(7, "k", 4)] {
        assert!(envelope::read(elsewhere, &row).is_err());
    }
    for byte in 0..row.len() {
        for bit in 0..8 {
            let mut changed = row.clone();
            changed[byte] ^= 1 << bit;
            assert!(envelope::read(here, &changed).is_err());
        }
        assert!(envelope::read(here, &row[..byte]).is_err());
    }
}

#[test]
fn a_file_that_is_no_store_is_damaged_and_stays() {
    let lab = Lab::new();
    drop(lab.store());
    for content in [Vec::new(), b"not a database".to_vec(), vec![0; 80_000]] {
        fs::write(lab.file(), &content).unwrap();
        assert!(
            matches!(lab.state.store(), Err(StoreError::Damaged { .. })),
            "{}",
            content.len()
        );
        assert_eq!(fs::read(lab.file()).unwrap(), content);
    }
}

/// Removes or swaps rows behind the store's back, with all checksums of the database right.
fn tamper(lab: &Lab, change: impl FnOnce(&mut Tables<Writing<'_>>)) {
    let store = lab.store();
    let transaction = begin_durable_write(store.database.as_ref().unwrap()).unwrap();
    let mut tables = Tables::open_to_write(&transaction).unwrap();
    change(&mut tables);
    drop(tables);
    transaction.commit().unwrap();
}

type Change = fn(&mut Tables<Writing<'_>>);

#[test]
fn rows_that_are_missing_or_swapped_are_found() {
    let large = vec![9; 5000]
        .into_iter()
        .zip(0_u32..)
        .flat_map(|(_, it)| it.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect::<Vec<u8>>();
    let changes: [(&str, Change); 7] = [
        ("the newest version", |it| {
            it.versions.remove(("a", "k", 3)).unwrap();
        }),
        ("a version between", |it| {
            it.versions.remove(("a", "k", 2)).unwrap();
        }),
        ("a version before the newest", |it| {
            it.versions.remove(("a", "k", 1)).unwrap();
        }),
        ("the pointer", |it| {
            it.newest.remove(("a", "k")).unwrap();
        }),
        ("the value", |it| {
            it.values.remove(("a", "k", 3, 0)).unwrap();
        }),
        ("another value", |it| {
            it.values
                .insert(("a", "k", 3, 0), [1; 3000].as_slice())
                .unwrap();
        }),
        ("an old row in the place of the newest", |it| {
            let old = it.versions_bytes(("a", "k", 1));
            it.versions.insert(("a", "k", 3), old.as_slice()).unwrap();
        }),
    ];
    for (what, change) in changes {
        let lab = Lab::new();
        let store = lab.store();
        store.set("k", b"1");
        store.set("k", b"2");
        store.set("k", &large);
        drop(store);
        tamper(&lab, change);
        let store = lab.store();
        assert!(store.verify().is_err(), "{what}");
        let answers = [
            store.get("a", "k", &When::Newest).map(drop),
            store.get("a", "k", &When::Sequence(2)).map(drop),
            store.get("a", "k", &When::Version(1)).map(drop),
            store.list("a", "").map(drop),
        ];
        assert!(answers.iter().any(Result::is_err), "{what}");
        let newest = store.get("a", "k", &When::Newest);
        let wrong = newest.is_ok_and(|it| it.is_none_or(|it| *it.value != *large));
        assert!(!wrong, "{what}: another value");
    }
}

#[test]
fn a_changed_pin_is_found() {
    let lab = Lab::new();
    lab.store().set("k", b"1");
    lab.store().pin("p", at(0)).unwrap();
    tamper(&lab, |it| {
        let tag = *it.pins.get("p").unwrap().unwrap().value().2;
        it.pins
            .insert("p", (0, at(0).as_microsecond(), &tag))
            .unwrap();
    });
    let store = lab.store();
    assert!(store.get("a", "k", &When::Pin("p".to_owned())).is_err());
    assert!(store.pins().is_err() && store.verify().is_err());
}

/// The answers to all questions, or that one failed.
fn answers(state: &StateManager, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
    answers_of(&state.store().ok()?, keys)
}

fn answers_of(store: &Store, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut answers = Vec::new();
    let mut get = |key: &str, when: &When| {
        let entry = store.get("a", key, when).ok()?;
        answers.push(entry.map(|it| it.value.to_vec()));
        Some(())
    };
    for key in keys {
        for when in [When::Sequence(5), When::Pin("pin".to_owned()), When::Newest] {
            get(key, &when)?;
        }
        for version in store.history("a", key).ok()? {
            get(key, &When::Version(version.version))?;
        }
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
    let lab = Lab::keeping(4);
    let keys: Vec<String> = (0..12).map(|number| format!("k{number}")).collect();
    let store = lab.store();
    for key in &keys {
        store.set(key, key.repeat(20).as_bytes());
    }
    store.pin("pin", at(0)).unwrap();
    let sealed = store.put("a", "k3", &[3; 6000], secret_put());
    sealed.unwrap();
    store.delete("a", "k4", at(0)).unwrap();
    for value in 0..6 {
        store.set("k5", &[value; 2000]);
    }
    drop(store);
    let good = fs::read(lab.file()).unwrap();
    let expected = answers(&lab.state, &keys).unwrap();
    let good_after_reading = fs::read(lab.file()).unwrap();
    let mut refused = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    // Few, unless `PROPTEST_CASES` asks for more.
    let asked = proptest::test_runner::Config::default().cases;
    let flips = if asked == 256 { 120 } else { asked };
    for _ in 0..flips {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut bytes = good_after_reading.clone();
        let bits = bytes.len() as u64 * 8;
        let bit = usize::try_from(random % bits).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(lab.file(), &bytes).unwrap();
        let read = lab.state.store_to_read();
        let read = read.map(|it| it.and_then(|it| answers_of(&it, &keys)));
        if let Ok(Some(answers)) = read {
            assert_eq!(answers, expected, "bit {bit}, read only");
        }
        match answers(&lab.state, &keys) {
            None => refused += 1,
            Some(answers) => assert_eq!(answers, expected, "bit {bit}"),
        }
    }
    assert!(refused > 0, "no flip of {flips} hit anything");
    fs::write(lab.file(), &good).unwrap();
    assert_eq!(answers(&lab.state, &keys).as_ref(), Some(&expected));
    // The control: one bit of a value, with everything that depends on it, is another answer.
    lab.store().set("k0", "j0".repeat(20).as_bytes());
    assert_ne!(answers(&lab.state, &keys).unwrap(), expected);
}

/// A power cut while a store is made leaves a part of the file under another name, which the next one replaces.
#[test]
fn a_creation_that_was_cut_anywhere_is_begun_anew() {
    let lab = Lab::new();
    drop(lab.store());
    let whole = fs::read(lab.file()).unwrap();
    let unfinished = lab.file().with_extension("redb.new");
    let asked = proptest::test_runner::Config::default().cases;
    let cuts = if asked == 256 { 12 } else { asked };
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut refused = 0;
    for cut in 0..cuts {
        // What had no time to reach storage is a hole, in sectors; the end may be missing, too.
        let mut left = whole.clone();
        for sector in left.chunks_mut(512) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random % 4 < u64::from(cut % 4) {
                sector.fill(0);
            }
        }
        if cut % 3 > 0 {
            left.truncate(usize::try_from(random % (whole.len() as u64 + 1)).unwrap());
        }
        fs::remove_file(lab.file()).unwrap();
        fs::write(&unfinished, &left).unwrap();
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).unwrap();
        lab.store().set("k", b"1");
        assert_eq!(lab.store().value("k", &When::Newest), Some(b"1".to_vec()));
        lab.store().verify().unwrap();
        assert!(!unfinished.exists());
        // The control: under its own name such a file is refused, for ever.
        fs::write(lab.file(), &left).unwrap();
        refused += u32::from(lab.state.store().is_err());
    }
    assert!(refused > cuts / 2, "{refused} of {cuts}");
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_as_it_is() {
    let lab = Lab::new();
    lab.store().set("k", b"1");
    tamper(&lab, |it| {
        let newer = u128::from(STORE_FORMAT + 1);
        it.meta.insert("format", newer).unwrap();
    });
    let refused = lab.state.store().unwrap_err();
    assert!(matches!(
        refused,
        StoreError::Newer {
            format: 2,
            known: 1,
            ..
        }
    ));
    let said = refused.to_string();
    assert!(
        said.contains("format 2, and this program knows up to 1"),
        "{said}"
    );
    lab.state.set("a", "k", b"2", open_put()).unwrap_err();
    // The newer program finds what it left.
    let database = Database::open(lab.file()).unwrap();
    let transaction = begin_durable_write(&database).unwrap();
    let mut tables = Tables::open_to_write(&transaction).unwrap();
    tables
        .meta
        .insert("format", u128::from(STORE_FORMAT))
        .unwrap();
    drop(tables);
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(lab.store().value("k", &When::Newest), Some(b"1".to_vec()));
    assert_eq!(lab.store().verify().unwrap().sequence, 1);
}
