//! What is removed, what a pin keeps, and that what is removed is told from what is lost.

use super::*;

fn kept(store: &Store) -> Vec<u64> {
    let history = store.history("a", "k").unwrap();
    history.into_iter().map(|it| it.version).collect()
}

fn refusal(store: &Store, when: When) -> String {
    store.get("a", "k", &when).unwrap_err().to_string()
}

#[test]
fn the_newest_are_kept_and_the_others_go() {
    let lab = Lab::keeping(3);
    let store = lab.store();
    for value in 1..=10_u8 {
        store.set("k", &vec![value; 2000 * usize::from(value)]);
    }
    assert_eq!(kept(&store), [8, 9, 10]);
    assert_eq!(
        refusal(&store, When::Version(7)),
        "the value of 'k' at version 7 is no longer kept"
    );
    assert_eq!(
        refusal(&store, When::Sequence(1)),
        "the value of 'k' at sequence 1 is no longer kept"
    );
    assert_eq!(store.value("k", &When::Sequence(0)), None);
    assert_eq!(store.value("k", &When::Version(8)).unwrap().len(), 16_000);
    assert!(store.rollback("a", "k", 7, at(0)).is_err());
    assert!(store.rollback_to("a", 5, at(0)).is_err());
    assert_eq!(store.sequence().unwrap(), 10, "a refusal changes nothing");
    assert_eq!(store.verify().unwrap().versions, 3);
}

#[test]
fn a_pin_keeps_what_it_needs_until_it_is_removed() {
    let lab = Lab::keeping(2);
    let store = lab.store();
    store.set("k", b"1");
    store.set("k", b"2");
    let pin = store.pin("snapshot", at(3)).unwrap();
    assert_eq!((pin.sequence, pin.at), (2, at(3)));
    for value in 3..=8_u8 {
        store.set("k", &[value]);
    }
    assert_eq!(
        store.pin("snapshot", at(9)).unwrap(),
        pin,
        "the name is taken"
    );
    assert_eq!(kept(&store), [2, 7, 8]);
    let pinned = When::Pin("snapshot".to_owned());
    assert_eq!(store.value("k", &pinned), Some(b"2".to_vec()));
    let back = store.rollback_to("a", pin.sequence, at(0)).unwrap();
    assert_eq!(back.changed.len(), 1);
    assert_eq!(kept(&store), [2, 8, 9]);

    assert!(store.unpin("snapshot").unwrap());
    assert!(!store.unpin("snapshot").unwrap());
    assert_eq!(store.pins().unwrap(), []);
    store.set("k", b"10");
    assert_eq!(kept(&store), [9, 10]);
    assert!(store.get("a", "k", &pinned).is_err());
    store.verify().unwrap();
}

#[test]
fn at_least_one_is_kept() {
    let lab = Lab::keeping(0);
    let store = lab.store();
    store.set("k", b"1");
    store.set("k", b"2");
    assert_eq!(kept(&store), [2]);
    assert_eq!(store.value("k", &When::Newest), Some(b"2".to_vec()));
}

#[test]
fn what_was_replaced_too_long_ago_goes_unless_a_pin_needs_it() {
    let lab = Lab::new();
    let hour = Duration::from_secs(3600);
    let state = lab.state.clone().with_versions_kept_for(Some(hour));
    let store = state.store().unwrap();
    let set = |second: i64| {
        let put = Put {
            at: at(second),
            ..open_put()
        };
        store.put("a", "k", &[1], put).unwrap();
    };
    set(0);
    store.pin("first", at(0)).unwrap();
    set(10);
    set(5000);
    // Version 2 was replaced just now; version 1 long ago, but a snapshot needs it.
    assert_eq!(kept(&store), [1, 2, 3]);
    set(5010);
    assert_eq!(kept(&store), [1, 2, 3, 4]);
    set(8700);
    assert_eq!(kept(&store), [1, 4, 5], "version 3 was current until 5010");
    // What the key was within the last hour can be asked for.
    let then = store.get("a", "k", &When::Time(at(8700 - 3600 + 1)));
    assert_eq!(then.unwrap().unwrap().version.version, 4);
    assert!(refusal(&store, When::Time(at(4000))).contains("no longer kept"));
    store.unpin("first").unwrap();
    set(100_000);
    assert_eq!(kept(&store), [5, 6]);
    set(200_000);
    assert_eq!(kept(&store), [6, 7]);
    store.verify().unwrap();
    // The control: without an age nothing goes.
    drop(store);
    let store = lab.store();
    let put = Put {
        at: at(900_000),
        ..open_put()
    };
    store.put("a", "k", &[1], put).unwrap();
    assert_eq!(kept(&store), [6, 7, 8]);
}
