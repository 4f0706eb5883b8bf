//! Appending to the journal and verifying it, against the same bytes written by hand.

use std::{fs::File, io::Write as _, path::Path, time::Instant};

use anyhow::ensure;
use jiff::Timestamp;
use sandbox_state::StateManager;
use serde_json::json;

use super::table::{Row, Side};

const APPENDS: u32 = 2000;
const BATCH: usize = 100;
const ROUNDS: usize = 11;
/// Enough for two full files.
const VERIFIED_RECORDS: usize = 80_000;
/// As long as the report of an operation without output.
const PAYLOAD_BYTES: usize = 1700;

pub(super) fn measure(directory: &Path) -> anyhow::Result<()> {
    let state = directory.join("journal");
    drop(StateManager::open(&state).store()?);
    let manager = StateManager::open(&state);
    let journal = manager.journal();
    let payload = json!({ "text": "report ".repeat(PAYLOAD_BYTES / 7) });
    let at = Timestamp::UNIX_EPOCH;

    let mut append = Row::new("journal append, not synced", APPENDS);
    for _ in 0..ROUNDS {
        append.time(Side::Ours, || {
            for _ in 0..APPENDS {
                journal.append("bench", at, &payload)?;
            }
            Ok(())
        })?;
    }
    append.print();

    let mut each = Row::new("100 appends one by one, then on storage", 1);
    let mut batch = Row::new("100 records in one append, on storage", 1);
    let mut plain = Row::new("  100 plain writes and one fdatasync", 1);
    let mut file = File::create(state.join("plain"))?;
    let bytes = vec![b'x'; PAYLOAD_BYTES + 150];
    for _ in 0..ROUNDS * 3 {
        each.time(Side::Ours, || {
            for _ in 1..BATCH {
                journal.append("bench", at, &payload)?;
            }
            Ok(journal.append_synced("bench", at, &payload)?)
        })?;
        batch.time(Side::Ours, || {
            let records: Vec<_> = (0..BATCH).map(|_| ("bench", &payload)).collect();
            Ok(journal.append_all_synced(at, &records)?)
        })?;
        plain.time(Side::Ours, || {
            for _ in 0..BATCH {
                file.write_all(&bytes)?;
            }
            Ok(file.sync_data()?)
        })?;
    }
    each.print();
    batch.print();
    plain.print();
    if let (Some(ours), Some(plain)) = (batch.median(Side::Ours), plain.median(Side::Ours)) {
        println!("  that is {:.2} times as long", ours / plain);
    }

    for _ in 0..VERIFIED_RECORDS {
        journal.append("bench", at, &payload)?;
    }
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let found = journal.verify()?;
        ensure!(found.damage.is_none(), "the journal is damaged");
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        rates.push(found.bytes as f64 / 1_048_576.0 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
    println!("journal verify: {median:.0} MiB/s");
    Ok(())
}
