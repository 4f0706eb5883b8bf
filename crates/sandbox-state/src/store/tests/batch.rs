//! Several keys in one commit, what differs between two points in time, and what was there at a time.

use super::*;

fn put<'a>(key: &'a str, value: &'a [u8], expected: Option<u64>) -> Edit<'a> {
    Edit::Put {
        key,
        value,
        secrecy: Secrecy::Open,
        expected,
    }
}

#[test]
fn changes_of_a_transaction_are_made_together_or_not_at_all() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("a", b"1");
    store.set("b", b"1");
    let delete = Edit::Delete {
        key: "b",
        expected: Some(1),
    };
    let made = store.apply(
        "a",
        &[
            put("a", b"2", Some(1)),
            delete.clone(),
            put("c", b"1", Some(0)),
        ],
        at(1),
    );
    let made = made.unwrap();
    let sequences: Vec<u64> = made.iter().map(|(_, version)| version.sequence).collect();
    assert_eq!(sequences, [3, 3, 3]);
    assert_eq!(store.list("a", "").unwrap().len(), 2);
    // The last one fails, so the others are not made.
    let refused = store.apply("a", &[put("a", b"3", None), put("c", b"2", Some(7))], at(2));
    assert!(
        matches!(refused, Err(StoreWriteError::Conflict { found: 1, .. })),
        "{refused:?}"
    );
    assert_eq!(store.value("a", &When::Newest).unwrap(), b"2");
    assert_eq!(store.sequence().unwrap(), 3);
    let twice = store.apply("a", &[put("a", b"3", None), put("a", b"4", None)], at(2));
    assert!(matches!(twice, Err(StoreWriteError::Twice { .. })));
    // Deleting what is not there is no change.
    let nothing = Edit::Delete {
        key: "x",
        expected: None,
    };
    assert!(store.apply("a", &[nothing], at(3)).unwrap().is_empty());
    store.verify().unwrap();
}

#[test]
fn what_differs_is_told_with_both_versions() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("same", b"1");
    store.set("changed", b"1");
    store.set("deleted", b"1");
    store.pin("before", at(0)).unwrap();
    store.set("same", b"2");
    store.set("same", b"1");
    store.set("changed", b"2");
    store.delete("a", "deleted", at(1)).unwrap();
    store.set("made", b"1");
    let found = store
        .diff("a", &When::Pin("before".to_owned()), &When::Newest)
        .unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|it| {
            let number = |version: &Option<Version>| version.as_ref().map(|it| it.version);
            (it.key.as_str(), number(&it.before), number(&it.after))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("changed", Some(1), Some(2)),
            ("deleted", Some(1), None),
            ("made", None, Some(1))
        ]
    );
    assert!(
        store
            .diff("a", &When::Newest, &When::Newest)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_secret_that_stayed_does_not_differ() {
    let lab = Lab::new();
    let store = lab.store();
    for key in ["back", "changed", "same"] {
        store.put("a", key, b"1", secret_put()).unwrap();
    }
    store.pin("before", at(0)).unwrap();
    store.put("a", "back", b"2", secret_put()).unwrap();
    store.rollback("a", "back", 1, at(1)).unwrap();
    store.put("a", "changed", b"2", secret_put()).unwrap();
    let points = [When::Pin("before".to_owned()), When::Newest];
    for (from, to) in [(0, 1), (1, 0)] {
        let found = store.diff("a", &points[from], &points[to]).unwrap();
        let keys: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["changed"]);
    }
}

#[test]
fn a_time_means_the_version_that_was_there() {
    let lab = Lab::keeping(2);
    let store = lab.store();
    for second in [10, 20, 30, 40] {
        let put = Put {
            at: at(second),
            ..open_put()
        };
        store
            .put("a", "k", second.to_string().as_bytes(), put)
            .unwrap();
    }
    store.delete("a", "k", at(50)).unwrap();
    let value = |second| store.get("a", "k", &When::Time(at(second)));
    assert_eq!(&*value(45).unwrap().unwrap().value, b"40");
    assert!(value(50).unwrap().is_none(), "it was deleted then");
    // Versions of that time are no longer kept: none of them is taken for another.
    let gone = value(25).unwrap_err();
    assert!(
        matches!(gone, StoreReadError::Lookup(LookupError::NotKept { .. })),
        "{gone:?}"
    );
}

#[test]
fn a_prefix_goes_back_and_nothing_else_does() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("app/a", b"1");
    store.set("b", b"1");
    let then = store.sequence().unwrap();
    for key in ["app/a", "app/new", "b"] {
        store.set(key, b"2");
    }
    let back = store.rollback_prefix(("a", "app/"), then, at(0)).unwrap();
    let keys: Vec<&str> = back.changed.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["app/a", "app/new"]);
    assert_eq!(store.value("app/a", &When::Newest), Some(b"1".to_vec()));
    assert_eq!(store.value("app/new", &When::Newest), None);
    assert_eq!(store.value("b", &When::Newest), Some(b"2".to_vec()));
    assert_eq!(back.sequence, store.sequence().unwrap(), "one commit");
    store.rollback_prefix(("a", ""), then, at(0)).unwrap();
    assert_eq!(store.value("b", &When::Newest), Some(b"1".to_vec()));
    store.verify().unwrap();
}

#[test]
fn a_view_sees_what_was_there_when_it_was_made() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("k", b"1");
    let view = store.view().unwrap();
    store.set("k", b"2");
    store.set("other", b"2");
    let value = |view: &View<'_>| view.get("a", "k", &When::Newest).unwrap().unwrap();
    assert_eq!(&*value(&view).value, b"1");
    assert_eq!(view.history("a", "k").unwrap().len(), 1);
    assert_eq!(view.list("a", "").unwrap().len(), 1);
    assert_eq!(&*value(&store.view().unwrap()).value, b"2");
}
