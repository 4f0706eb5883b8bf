//! The store and `SQLite`, in turn: A B C A B C.

use std::path::Path;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use sandbox_state::{Edit, Put, Secrecy, StateManager, Store, When};

use super::{
    sqlite::Sqlite,
    table::{Row, Side},
};

const NAMESPACE: &str = "state";
const VALUE_BYTES: usize = 100;
/// Rounds of what is quick.
const ROUNDS: usize = 11;
/// Rounds of single puts, each of which waits for storage.
const PUTS: usize = 60;
const BATCH: usize = 10_000;
const GETS: usize = 100_000;
/// Versions of the key whose history is read.
const VERSIONS: usize = 1000;
const MANY: usize = 1_000_000;
/// No sequence is larger.
const NEWEST: i64 = i64::MAX;

struct Sides {
    ours: Store,
    sqlite: [(Side, Sqlite); 2],
}

pub(super) fn measure(directory: &Path) -> anyhow::Result<()> {
    let manager = StateManager::open(&directory.join("ours")).with_versions_kept(u64::MAX);
    let mut sides = Sides {
        ours: manager.store()?,
        sqlite: [
            (
                Side::Full,
                Sqlite::open(&directory.join("full.db"), "FULL")?,
            ),
            (
                Side::Normal,
                Sqlite::open(&directory.join("normal.db"), "NORMAL")?,
            ),
        ],
    };
    puts(&mut sides)?;
    let keys: Vec<String> = (0..BATCH).map(key).collect();
    gets(&mut sides, &keys)?;
    scans(&mut sides)?;
    drop(sides);
    opening(directory, &manager)?;
    snapshot(directory)
}

fn key(number: usize) -> String {
    // Neighbours in the order of their making are no neighbours in that of their bytes.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    format!("prefix{:02}/{mixed:06x}-{number}", number % 100)
}

fn entries(round: usize, keys: impl Iterator<Item = usize>) -> Vec<(String, Vec<u8>)> {
    keys.map(|number| {
        let text = format!("{round}-{number}-");
        let value = text.bytes().cycle().take(VALUE_BYTES).collect();
        (key(number), value)
    })
    .collect()
}

fn put_ours(store: &Store, entries: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let edits: Vec<Edit<'_>> = entries
        .iter()
        .map(|(key, value)| Edit::Put {
            key,
            value,
            secrecy: Secrecy::Open,
            expected: None,
        })
        .collect();
    store.apply(NAMESPACE, &edits, Timestamp::UNIX_EPOCH)?;
    Ok(())
}

fn puts(sides: &mut Sides) -> anyhow::Result<()> {
    let mut batch = Row::new("10,000 puts in one transaction, each", 10_000);
    for round in 0..ROUNDS {
        let entries = entries(round, 0..BATCH);
        batch.time(Side::Ours, || put_ours(&sides.ours, &entries))?;
        for (side, sqlite) in &mut sides.sqlite {
            batch.time(*side, || sqlite.put(&entries))?;
        }
    }
    let mut single = Row::new("single durable put", 1);
    let put = Put {
        at: Timestamp::UNIX_EPOCH,
        secrecy: Secrecy::Open,
        expected: None,
    };
    for round in 0..PUTS {
        let entries = entries(round, std::iter::once(round));
        let (key, value) = entries.first().context("one entry")?;
        single.time(Side::Ours, || {
            Ok(sides.ours.put(NAMESPACE, key, value, put)?)
        })?;
        for (side, sqlite) in &mut sides.sqlite {
            single.time(*side, || sqlite.put(&entries))?;
        }
    }
    single.print();
    batch.print();
    Ok(())
}

fn gets(sides: &mut Sides, keys: &[String]) -> anyhow::Result<()> {
    let wanted: Vec<String> = (0..GETS)
        .filter_map(|number| keys.get(number * 7919 % keys.len()).cloned())
        .collect();
    let old = i64::try_from(ROUNDS / 2)?;
    let sought = [
        ("100,000 point gets, each", When::Newest, NEWEST),
        (
            "100,000 gets at an old sequence, each",
            When::Sequence(old.unsigned_abs()),
            old,
        ),
    ];
    for (what, when, sequence) in sought {
        let mut row = Row::new(what, 100_000);
        for _ in 0..ROUNDS {
            let ours = row.time(Side::Ours, || {
                let view = sides.ours.view()?;
                let mut bytes = 0;
                for key in &wanted {
                    bytes += view
                        .get(NAMESPACE, key, &when)?
                        .map_or(0, |it| it.value.len());
                }
                Ok(bytes)
            })?;
            ensure!(ours == GETS * VALUE_BYTES, "a value is missing");
            for (side, sqlite) in &mut sides.sqlite {
                let theirs = row.time(*side, || sqlite.get_all(&wanted, sequence))?;
                ensure!(theirs == ours, "SQLite has something else");
            }
        }
        row.print();
    }
    Ok(())
}

fn scans(sides: &mut Sides) -> anyhow::Result<()> {
    let mut scan = Row::new("prefix scan, 100 of 10,000 keys", 1);
    let mut history = Row::new("history of a key, 1,000 versions", 1);
    for version in 0..VERSIONS {
        let entry = [(
            "often".to_owned(),
            vec![u8::try_from(version % 251)?; VALUE_BYTES],
        )];
        put_ours(&sides.ours, &entry)?;
        for (_, sqlite) in &mut sides.sqlite {
            sqlite.put(&entry)?;
        }
    }
    for round in 0..ROUNDS * 10 {
        let prefix = format!("prefix{:02}/", round % 100);
        let ours = scan.time(Side::Ours, || {
            Ok(sides.ours.list(NAMESPACE, &prefix)?.len())
        })?;
        let versions = history.time(Side::Ours, || {
            Ok(sides.ours.history(NAMESPACE, "often")?.len())
        })?;
        ensure!((ours, versions) == (100, VERSIONS), "something is missing");
        for (side, sqlite) in &mut sides.sqlite {
            ensure!(scan.time(*side, || sqlite.list(&prefix))? == ours);
            ensure!(history.time(*side, || sqlite.history("often"))? == versions);
        }
    }
    scan.print();
    history.print();
    Ok(())
}

fn opening(directory: &Path, manager: &StateManager) -> anyhow::Result<()> {
    let mut row = Row::new("open to first read", 1);
    let wanted = key(4711);
    for _ in 0..ROUNDS * 3 {
        row.time(Side::Ours, || {
            let found = manager.get(NAMESPACE, &wanted, &When::Newest)?;
            found.context("a value is missing")
        })?;
        for (side, name, synchronous) in [
            (Side::Full, "full.db", "FULL"),
            (Side::Normal, "normal.db", "NORMAL"),
        ] {
            row.time(side, || {
                let mut sqlite = Sqlite::open(&directory.join(name), synchronous)?;
                let found = sqlite.get_all(std::slice::from_ref(&wanted), NEWEST)?;
                ensure!(found == VALUE_BYTES);
                Ok(())
            })?;
        }
    }
    row.print();
    Ok(())
}

/// `SQLite` has nothing like a pin; only ours is measured.
fn snapshot(directory: &Path) -> anyhow::Result<()> {
    let manager = StateManager::open(&directory.join("many"));
    let store = manager.store()?;
    for batch in 0..MANY / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        put_ours(&store, &entries(0, numbers))?;
    }
    let mut pin = Row::new("snapshot of the state with 1,000,000 entries", 1);
    let mut put = Row::new("  single put there, for orientation", 1);
    for round in 0..ROUNDS {
        pin.time(Side::Ours, || {
            Ok(store.pin(&format!("pin {round}"), Timestamp::UNIX_EPOCH)?)
        })?;
        put.time(Side::Ours, || {
            put_ours(&store, &entries(round, std::iter::once(round)))
        })?;
    }
    pin.print();
    put.print();
    drop(store);
    let mut open = Row::new("  open to first read there, ended cleanly", 1);
    for _ in 0..ROUNDS {
        open.time(Side::Ours, || {
            manager
                .get(NAMESPACE, &key(4711), &When::Newest)?
                .context("a value is missing")
        })?;
    }
    open.print();
    Ok(())
}
