//! The power is cut, or a write fails, at any moment of any sequence of changes: what was acknowledged is there, what was
//! not is there whole or not at all, and nothing that is read is wrong. A second cut may hit the recovery.
//!
//! The file is a model of storage: what was synced stays; of what was not, any part may be there after a power cut, in
//! sectors. `cargo xtask state` runs 10,000 sequences.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proptest::prelude::*;
use redb::StorageBackend;

use super::*;

const SECTOR: usize = 512;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// The storage of one file.
#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// What was written since the last sync, in sectors.
    unsynced: Vec<(usize, Vec<u8>)>,
    lengths: Vec<usize>,
    /// How many writes and syncs go well; `None`: all.
    left: Option<u32>,
    /// Whether a sync does nothing.
    lies: bool,
}

impl Disk {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Cuts the power: of what was not synced, what `survives` says is there.
    fn cut(&mut self, mut survives: impl FnMut() -> bool) {
        let mut after = self.synced.clone();
        for length in std::mem::take(&mut self.lengths) {
            if survives() {
                after.resize(length, 0);
            }
        }
        for (at, bytes) in std::mem::take(&mut self.unsynced) {
            for (sector, bytes) in bytes.chunks(SECTOR).enumerate() {
                let at = at + sector * SECTOR;
                if at + bytes.len() <= after.len() && survives() {
                    after[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        self.now.clone_from(&after);
        self.synced = after;
        self.left = None;
    }
}

#[derive(Clone, Debug, Default)]
struct File(Arc<Mutex<Disk>>);

impl File {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.disk();
        let at = usize::try_from(offset).unwrap();
        let found = disk.now.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.spend()?;
        let length = usize::try_from(length).unwrap();
        disk.now.resize(length, 0);
        disk.lengths.push(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.spend()?;
        if disk.lies {
            return Ok(());
        }
        disk.synced = disk.now.clone();
        disk.unsynced.clear();
        disk.lengths.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.spend()?;
        let at = usize::try_from(offset).unwrap();
        let place = disk.now.get_mut(at..at + data.len());
        place
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        disk.unsynced.push((at, data.to_vec()));
        Ok(())
    }
}

/// Opens the store of the file as the real one is opened, with the check of every page.
fn open(file: &File) -> Store {
    let mut builder = redb::Builder::new();
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(file.clone()).unwrap();
    Store {
        database: Some(database),
        path: PathBuf::from("state.redb"),
        options: Options {
            keys: KeySource::None,
            kept: Kept {
                versions: 3,
                age: None,
            },
            busy_wait: Duration::ZERO,
        },
        is_copy: false,
        broken: AtomicBool::new(false),
    }
}

fn made() -> File {
    let file = File::default();
    let made = contain(|| {
        let database = redb::Builder::new().create_with_backend(file.clone())?;
        let transaction = begin_durable_write(&database)?;
        tables::create(&transaction, STORE_FORMAT, 7)?;
        transaction.commit()?;
        database.close()?;
        Ok::<_, Trouble>(())
    });
    made.unwrap();
    file
}

type Values = BTreeMap<&'static str, Vec<u8>>;

#[derive(Clone, Debug)]
enum Act {
    Put(usize, u8, usize),
    Delete(usize),
    Both(usize, usize, u8),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_usize, any::<u8>(), prop_oneof![0..100_usize, 1000..9000_usize])
            .prop_map(|(key, byte, length)| Act::Put(key, byte, length)),
        2 => (0..3_usize).prop_map(Act::Delete),
        2 => (0..3_usize, 1..3_usize, any::<u8>()).prop_map(|(a, b, byte)| Act::Both(a, (a + b) % 3, byte)),
        1 => Just(Act::Reopen),
    ]
}

/// Does it, and returns what the keys are then.
fn run(store: &Store, act: &Act, before: &Values) -> (Values, Result<(), StoreWriteError>) {
    let mut after = before.clone();
    let done = match act {
        Act::Put(key, byte, length) => {
            let value: Vec<u8> = (0..=250_u8)
                .map(|it| byte.wrapping_add(it))
                .cycle()
                .take(*length)
                .collect();
            let done = store.put("n", KEYS[*key], &value, open_put()).map(drop);
            after.insert(KEYS[*key], value);
            done
        }
        Act::Delete(key) => {
            after.remove(KEYS[*key]);
            store.delete("n", KEYS[*key], at(1)).map(drop)
        }
        Act::Both(first, second, byte) => {
            let value = vec![*byte; 50];
            after.insert(KEYS[*first], value.clone());
            after.insert(KEYS[*second], value.clone());
            let edit = |key: usize| Edit::Put {
                key: KEYS[key],
                value: &value,
                secrecy: Secrecy::Open,
                expected: None,
            };
            store
                .apply("n", &[edit(*first), edit(*second)], at(1))
                .map(drop)
        }
        Act::Reopen => Ok(()),
    };
    (after, done)
}

fn values(store: &Store) -> Values {
    store.verify().unwrap();
    let keys = KEYS.into_iter();
    keys.filter_map(|key| {
        let entry = store.get("n", key, &When::Newest).unwrap()?;
        Some((key, entry.value.to_vec()))
    })
    .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_cut_or_a_failure_leaves_before_or_after(
        acts in prop::collection::vec(act(), 1..12),
        fails in 0..60_u32,
        again in prop::option::of(0..40_u32),
        seed in any::<u64>(),
    ) {
        let file = made();
        let mut store = Some(open(&file));
        let mut known = Values::new();
        file.disk().left = Some(fails);
        let mut next = None;
        for act in &acts {
            if matches!(act, Act::Reopen) {
                // Closing writes too, and may be what fails.
                drop(store.take());
                let left = file.disk().left.take();
                if left == Some(0) {
                    break;
                }
                store = Some(open(&file));
                file.disk().left = left;
                continue;
            }
            let Some(store) = &store else { break };
            let (after, done) = run(store, act, &known);
            if done.is_err() {
                next = Some(after);
                break;
            }
            known = after;
        }
        // What is left of the process must not write any more.
        file.disk().left = Some(0);
        drop(store);
        cut(&file, seed);
        if let Some(again) = again {
            // The recovery is cut off, too, or fails.
            file.disk().left = Some(again);
            drop(contain(|| Ok(open(&file))));
            file.disk().left = Some(0);
            cut(&file, seed.rotate_left(17));
        }
        let store = open(&file);
        let found = values(&store);
        prop_assert!(found == known || next.as_ref() == Some(&found), "{found:?} is neither {known:?} nor {next:?}");
        // It goes on from there.
        let (after, done) = run(&store, &Act::Put(0, 1, 10), &found);
        done.unwrap();
        drop(store);
        prop_assert_eq!(values(&open(&file)), after);
    }
}

/// Few sequences, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: if asked.cases == 256 { 48 } else { asked.cases },
        failure_persistence: None,
        ..asked
    }
}

/// The control: on a disk whose syncs do nothing, what was acknowledged is not there after a cut.
#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let file = made();
    let store = open(&file);
    file.disk().lies = true;
    store.put("n", "a", b"1", open_put()).unwrap();
    file.disk().left = Some(0);
    drop(store);
    file.disk().cut(|| false);
    assert!(values(&open(&file)).is_empty());
}

fn cut(file: &File, seed: u64) {
    let mut state = seed | 1;
    file.disk().cut(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 1 == 0
    });
}
