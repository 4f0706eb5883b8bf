//! Random sequences of everything that can be done, with the store closed between, against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const KEPT: u64 = 3;
const NAMESPACES: [&str; 2] = ["n0", "n1"];
const KEYS: [&str; 3] = ["k0", "k1", "k2"];

#[derive(Clone, Debug)]
enum Act {
    Put(usize, usize, Vec<u8>, bool),
    Delete(usize, usize),
    Rollback(usize, usize, prop::sample::Index),
    RollbackTo(usize, prop::sample::Index),
    Pin(u8),
    Unpin(u8),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 4000_usize..9000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0..2_usize, 0..3_usize, value, prop::bool::weighted(0.3))
            .prop_map(|(n, k, v, secret)| Act::Put(n, k, v, secret)),
        2 => (0..2_usize, 0..3_usize).prop_map(|(n, k)| Act::Delete(n, k)),
        2 => (0..2_usize, 0..3_usize, index()).prop_map(|(n, k, i)| Act::Rollback(n, k, i)),
        1 => (0..2_usize, index()).prop_map(|(n, i)| Act::RollbackTo(n, i)),
        2 => (0..3_u8).prop_map(Act::Pin),
        1 => (0..3_u8).prop_map(Act::Unpin),
        1 => Just(Act::Reopen),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    sequence: u64,
    value: Option<Vec<u8>>,
    secret: bool,
    origin: Option<usize>,
    kept: bool,
}

type Id = (&'static str, &'static str);

#[derive(Default)]
struct Model {
    versions: BTreeMap<Id, Vec<Known>>,
    pins: BTreeMap<u8, u64>,
    sequence: u64,
}

impl Model {
    fn of(&self, id: Id) -> &[Known] {
        self.versions.get(&id).map_or(&[], Vec::as_slice)
    }

    fn live(&self, id: Id) -> Option<&Known> {
        self.of(id).last().filter(|it| it.value.is_some())
    }

    /// The place of the version that a key had at a sequence.
    fn at(&self, id: Id, sequence: u64) -> Option<usize> {
        self.of(id).iter().rposition(|it| it.sequence <= sequence)
    }

    /// Adds a version in the commit `sequence`, and removes what is not kept.
    fn add(&mut self, id: Id, sequence: u64, value: Option<Vec<u8>>, from: (bool, Option<usize>)) {
        let pinned: Vec<_> = self.pins.values().map(|pin| self.at(id, *pin)).collect();
        let versions = self.versions.entry(id).or_default();
        versions.push(Known {
            sequence,
            secret: from.0 && value.is_some(),
            value,
            origin: from.1,
            kept: true,
        });
        let old = versions
            .len()
            .saturating_sub(usize::try_from(KEPT).unwrap());
        for (place, version) in versions.iter_mut().enumerate().take(old) {
            version.kept &= pinned.contains(&Some(place));
        }
    }

    /// Whether rolling back to a version would change nothing.
    fn same(&self, id: Id, then: Option<usize>) -> bool {
        let now = self.live(id);
        let old = then
            .map(|place| &self.of(id)[place])
            .filter(|it| it.value.is_some());
        match (now, old) {
            (None, None) => true,
            (Some(now), Some(old)) => {
                now.origin == then || (!now.secret && !old.secret && now.value == old.value)
            }
            _ => false,
        }
    }

    fn apply(&mut self, store: &Store, act: &Act) {
        let next = self.sequence + 1;
        match act {
            Act::Put(n, k, value, secret) => {
                let id = (NAMESPACES[*n], KEYS[*k]);
                let put = if *secret { secret_put() } else { open_put() };
                let done = store.put(id.0, id.1, value, put);
                if self.live(id).is_some_and(|it| it.secret) && !secret {
                    assert!(matches!(done, Err(StoreWriteError::StaysSecret { .. })));
                    return;
                }
                assert_eq!(done.unwrap().sequence, next);
                self.add(id, next, Some(value.clone()), (*secret, None));
            }
            Act::Delete(n, k) => {
                let id = (NAMESPACES[*n], KEYS[*k]);
                let done = store.delete(id.0, id.1, at(1)).unwrap();
                assert_eq!(done.is_some(), self.live(id).is_some());
                if done.is_none() {
                    return;
                }
                self.add(id, next, None, (false, None));
            }
            Act::Rollback(n, k, index) => {
                let id = (NAMESPACES[*n], KEYS[*k]);
                let place = index.index(self.of(id).len() + 1);
                let done = store.rollback(id.0, id.1, place as u64 + 1, at(1));
                let Some(old) = self.of(id).get(place).filter(|it| it.kept).cloned() else {
                    assert!(matches!(done, Err(StoreWriteError::Lookup(_))), "{done:?}");
                    return;
                };
                assert_eq!(done.unwrap().sequence, next);
                self.add(id, next, old.value, (old.secret, Some(place)));
            }
            Act::RollbackTo(n, index) => return self.rollback_to(store, NAMESPACES[*n], *index),
            Act::Pin(name) => {
                let pin = store.pin(&name.to_string(), at(1)).unwrap();
                let held = *self.pins.entry(*name).or_insert(self.sequence);
                assert_eq!(pin.sequence, held);
                return;
            }
            Act::Unpin(name) => {
                let was_there = store.unpin(&name.to_string()).unwrap();
                assert_eq!(was_there, self.pins.remove(name).is_some());
                return;
            }
            Act::Reopen => return,
        }
        self.sequence = next;
    }

    fn rollback_to(&mut self, store: &Store, namespace: &'static str, index: prop::sample::Index) {
        let to = index.index(usize::try_from(self.sequence).unwrap() + 1) as u64;
        let done = store.rollback_to(namespace, to, at(1));
        let ids: Vec<Id> = self.versions.keys().copied().collect();
        let changed: Vec<Id> = ids
            .into_iter()
            .filter(|id| id.0 == namespace)
            .filter(|id| self.of(*id).last().is_some_and(|it| it.sequence > to))
            .collect();
        let lost = |id: &Id| self.at(*id, to).is_some_and(|it| !self.of(*id)[it].kept);
        if changed.iter().any(lost) {
            assert!(matches!(done, Err(StoreWriteError::Lookup(_))), "{done:?}");
            return;
        }
        let done = done.unwrap();
        let mut count = 0;
        for id in changed {
            let then = self.at(id, to);
            if self.same(id, then) {
                continue;
            }
            count += 1;
            let old = then.map(|place| self.of(id)[place].clone());
            let secret = old.as_ref().is_some_and(|it| it.secret);
            let value = old.and_then(|it| it.value);
            self.add(id, self.sequence + 1, value, (secret, then));
        }
        assert_eq!(done.changed.len(), count);
        self.sequence += u64::from(count > 0);
        assert_eq!(done.sequence, self.sequence);
    }

    fn check(&self, store: &Store) {
        assert_eq!(store.sequence().unwrap(), self.sequence);
        for namespace in NAMESPACES {
            let mut live = Vec::new();
            for key in KEYS {
                let id = (namespace, key);
                self.check_key(store, id);
                if self.live(id).is_some() {
                    live.push(key.to_owned());
                }
            }
            let listed = store.list(namespace, "k").unwrap();
            let listed: Vec<_> = listed.into_iter().map(|it| it.key).collect();
            assert_eq!(listed, live);
        }
        let kept = self.versions.values().flatten().filter(|it| it.kept);
        let found = store.verify().unwrap();
        assert_eq!(found.versions, kept.count() as u64);
    }

    fn check_key(&self, store: &Store, id: Id) {
        let history = store.history(id.0, id.1).unwrap();
        let found: Vec<_> = history
            .iter()
            .map(|it| (it.sequence, it.secret, it.deleted))
            .collect();
        let kept = self.of(id).iter().filter(|it| it.kept);
        let expected: Vec<_> = kept
            .map(|it| (it.sequence, it.secret, it.value.is_none()))
            .collect();
        assert_eq!(found, expected);
        let matches = |when: &When, place: Option<usize>| {
            let found = store.get(id.0, id.1, when);
            match place.map(|place| &self.of(id)[place]) {
                Some(known) if !known.kept => assert!(
                    matches!(&found, Err(StoreReadError::Lookup(_))),
                    "{when:?}: {found:?}"
                ),
                known => {
                    let value = found.unwrap().map(|it| it.value.to_vec());
                    assert_eq!(value, known.and_then(|it| it.value.clone()), "{when:?}");
                }
            }
        };
        for sequence in 0..=self.sequence {
            matches(&When::Sequence(sequence), self.at(id, sequence));
        }
        for place in 0..self.of(id).len() {
            matches(&When::Version(place as u64 + 1), Some(place));
        }
        for (name, sequence) in &self.pins {
            let place = self.at(id, *sequence);
            assert!(place.is_none_or(|place| self.of(id)[place].kept));
            matches(&When::Pin(name.to_string()), place);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_the_model(acts in prop::collection::vec(act(), 1..40)) {
        let lab = Lab::keeping(KEPT);
        let mut store = lab.store();
        let mut model = Model::default();
        for act in acts {
            if matches!(act, Act::Reopen) {
                model.check(&store);
                drop(store);
                store = lab.store();
            }
            model.apply(&store, &act);
        }
        model.check(&store);
    }
}
