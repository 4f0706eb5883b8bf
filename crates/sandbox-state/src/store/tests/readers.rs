//! Who opens the store to read: with others, without a change of the file, and after a kill.

use super::*;

#[test]
fn readers_share_the_store_and_change_nothing() {
    let lab = Lab::new();
    assert!(lab.state.store_to_read().unwrap().is_none());
    lab.store().set("k", b"1");
    let before = fs::read(lab.file()).unwrap();
    let state = lab.state.clone().with_busy_wait(Duration::ZERO);
    let first = state.store_to_read().unwrap().unwrap();
    let second = state.store_to_read().unwrap().unwrap();
    for reader in [&first, &second] {
        assert_eq!(reader.value("k", &When::Newest), Some(b"1".to_vec()));
        assert_eq!(reader.verify().unwrap().sequence, 1);
        let refused = reader.put("a", "k", b"2", open_put());
        assert!(matches!(refused, Err(StoreWriteError::ToRead { .. })));
        let refused = reader.pin("p", at(0));
        assert!(matches!(refused, Err(StoreWriteError::ToRead { .. })));
    }
    // Who writes waits for them, and they for who writes.
    assert!(matches!(state.store(), Err(StoreError::Busy { .. })));
    drop((first, second));
    assert_eq!(fs::read(lab.file()).unwrap(), before);
    let writer = state.store().unwrap();
    assert!(matches!(
        state.store_to_read(),
        Err(StoreError::Busy { .. })
    ));
    drop(writer);
    assert!(state.store_to_read().unwrap().is_some());
}

/// The file that a killed process leaves is read, and stays as it is; the control is that it is one.
#[test]
fn what_a_kill_left_is_read_as_it_is() {
    let lab = Lab::new();
    let store = lab.store();
    store.set("k", b"1");
    store.set("k", b"2");
    let left = fs::read(lab.file()).unwrap();
    drop(store);
    let closed = fs::read(lab.file()).unwrap();
    // The byte after redb's magic number: whether it must be recovered.
    assert_eq!((left[9] & 2, closed[9] & 2), (2, 0));
    fs::write(lab.file(), &left).unwrap();
    assert_eq!(
        lab.state
            .get("a", "k", &When::Newest)
            .unwrap()
            .unwrap()
            .value
            .to_vec(),
        b"2"
    );
    assert_eq!(lab.state.history("a", "k").unwrap().len(), 2);
    assert_eq!(fs::read(lab.file()).unwrap(), left);
    lab.store().set("k", b"3");
    assert_eq!(lab.state.list("a", "").unwrap()[0].newest.version, 3);
}
