//! One kind of work with the store or the journal, over and over, for a profiler: `store_speed WORK ROUNDS`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{error::Error, time::Instant};

use jiff::Timestamp;
use sandbox_state::{Edit, Put, Secrecy, StateManager, Store, When};

const NAMESPACE: &str = "state";
const KEYS: usize = 10_000;
const VERSIONS: usize = 1000;
const USAGE: &str = "gets, old, history, list, batch, put, append or append_all";

const PUT: Put = Put {
    at: Timestamp::UNIX_EPOCH,
    secrecy: Secrecy::Open,
    expected: None,
};

struct Bench {
    manager: StateManager,
    store: Store,
    keys: Vec<String>,
    /// As long as the report of an operation without output.
    payload: serde_json::Value,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let work = args.next().ok_or(USAGE)?;
    let rounds: usize = args.next().map_or(Ok(10), |it| it.parse())?;
    let directory = tempfile::tempdir()?;
    let manager = StateManager::open(directory.path()).with_versions_kept(u64::MAX);
    let bench = Bench {
        store: manager.store()?,
        manager,
        keys: (0..KEYS).map(key).collect(),
        payload: serde_json::json!({ "text": "report ".repeat(1700 / 7) }),
    };
    for round in 0..3 {
        bench.batch(round)?;
    }
    for version in 0..VERSIONS {
        let value = format!("{version:0100}");
        if work == "history" {
            bench.store.put(NAMESPACE, "often", value.as_bytes(), PUT)?;
        }
    }
    let mut each = Vec::new();
    for round in 0..rounds {
        let begun = Instant::now();
        let count = bench.once(&work, round)?;
        each.push(begun.elapsed().as_nanos() / count.max(1) as u128);
    }
    each.sort_unstable();
    if let (Some(least), Some(median)) = (each.first(), each.get(each.len() / 2)) {
        println!("{work}: least {least} ns, median {median} ns each");
    }
    Ok(())
}

impl Bench {
    /// Does the work once, and returns how many parts it has.
    fn once(&self, work: &str, round: usize) -> Result<usize, Box<dyn Error>> {
        let at = Timestamp::UNIX_EPOCH;
        Ok(match work {
            "gets" => self.gets(&When::Newest)?,
            "old" => self.gets(&When::Sequence(1))?,
            "history" => self.store.history(NAMESPACE, "often")?.len(),
            "list" => {
                let prefix = format!("prefix{:02}/", round % 100);
                self.store.list(NAMESPACE, &prefix)?.len()
            }
            "batch" => self.batch(round + 3)?,
            "put" => {
                let value = format!("{round:0100}");
                let key = &self.keys[round % KEYS];
                self.store.put(NAMESPACE, key, value.as_bytes(), PUT)?;
                1
            }
            "append" => {
                let journal = self.manager.journal();
                for _ in 0..VERSIONS {
                    journal.append("bench", at, &self.payload)?;
                }
                VERSIONS
            }
            "append_all" => {
                let records = vec![("bench", &self.payload); 100];
                self.manager.journal().append_all_synced(at, &records)?;
                100
            }
            _ => return Err(USAGE.into()),
        })
    }

    fn gets(&self, when: &When) -> Result<usize, Box<dyn Error>> {
        let view = self.store.view()?;
        for number in 0..KEYS {
            let key = &self.keys[number * 7919 % KEYS];
            view.get(NAMESPACE, key, when)?.ok_or("a key is missing")?;
        }
        Ok(KEYS)
    }

    fn batch(&self, round: usize) -> Result<usize, Box<dyn Error>> {
        let values: Vec<String> = (0..KEYS).map(|it| format!("{round}-{it:095}")).collect();
        let mut edits = Vec::new();
        for (key, value) in self.keys.iter().zip(&values) {
            edits.push(Edit::Put {
                key,
                value: value.as_bytes(),
                secrecy: Secrecy::Open,
                expected: None,
            });
        }
        self.store.apply(NAMESPACE, &edits, Timestamp::UNIX_EPOCH)?;
        Ok(KEYS)
    }
}

fn key(number: usize) -> String {
    // Neighbours in the order of their making are no neighbours in that of their bytes.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    format!("prefix{:02}/{mixed:06x}-{number}", number % 100)
}
