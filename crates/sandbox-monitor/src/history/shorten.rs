//! Down-sampling: single records become minutes, minutes hours, hours one sum of all that was before.

use std::collections::BTreeMap;

use super::record::{Resolution, UsageRecord};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How long records of one resolution are kept, and how many of them. The numbers bound the file also
/// when the clock was wrong: 8,192 + 10,080 + 8,784 records of 512 bytes are 13.2 MiB.
struct Retention {
    age_ms: u64,
    count: usize,
}

const SINGLE: Retention = Retention {
    age_ms: DAY_MS,
    count: 8192,
};
const MINUTE: Retention = Retention {
    age_ms: 7 * DAY_MS,
    count: 7 * 24 * 60,
};
const HOUR: Retention = Retention {
    age_ms: 366 * DAY_MS,
    count: 366 * 24,
};

/// Returns what is kept of `records`, the oldest first. Nothing is lost: what is not kept is summed up.
pub(super) fn shorten(records: Vec<UsageRecord>, now_ms: u64) -> Vec<UsageRecord> {
    let mut singles = Vec::new();
    let mut minutes = BTreeMap::new();
    let mut hours = BTreeMap::new();
    let mut before: Option<UsageRecord> = None;
    for record in records {
        match record.resolution {
            Resolution::Single => singles.push(record),
            Resolution::Minute => sum_up(&mut minutes, record, Resolution::Minute, MINUTE_MS),
            Resolution::Hour => sum_up(&mut hours, record, Resolution::Hour, HOUR_MS),
            Resolution::Before => add_before(&mut before, record),
        }
    }
    // In the order of their ends: two operations may have been appended in another one.
    singles.sort_by_key(|record| record.at_ms);
    let singles: Vec<_> = singles.into_iter().map(|it| (it.at_ms, it)).collect();
    let (old, singles) = SINGLE.split(singles, now_ms);
    for record in old {
        sum_up(&mut minutes, record, Resolution::Minute, MINUTE_MS);
    }
    let (old, minutes) = MINUTE.split(minutes.into_iter().collect(), now_ms);
    for record in old {
        sum_up(&mut hours, record, Resolution::Hour, HOUR_MS);
    }
    let (old, hours) = HOUR.split(hours.into_iter().collect(), now_ms);
    for record in old {
        add_before(&mut before, record);
    }
    let sums = before.into_iter().chain(hours).chain(minutes);
    sums.chain(singles).collect()
}

impl Retention {
    /// Returns what is not kept, and what is, of records with their times in order.
    fn split(
        &self,
        records: Vec<(u64, UsageRecord)>,
        now_ms: u64,
    ) -> (Vec<UsageRecord>, Vec<UsageRecord>) {
        let oldest = now_ms.saturating_sub(self.age_ms);
        let too_many = records.len().saturating_sub(self.count);
        let too_old = records.partition_point(|(at, _)| *at < oldest);
        let mut old: Vec<_> = records.into_iter().map(|(_, record)| record).collect();
        let kept = old.split_off(too_many.max(too_old));
        (old, kept)
    }
}

fn sum_up(
    sums: &mut BTreeMap<u64, UsageRecord>,
    record: UsageRecord,
    resolution: Resolution,
    span_ms: u64,
) {
    let at_ms = record.at_ms - record.at_ms % span_ms;
    let sum = sums.entry(at_ms).or_insert_with(|| UsageRecord {
        resolution,
        at_ms,
        ..UsageRecord::default()
    });
    sum.add(&record);
}

fn add_before(before: &mut Option<UsageRecord>, record: UsageRecord) {
    let sum = before.get_or_insert_with(|| UsageRecord {
        resolution: Resolution::Before,
        at_ms: record.at_ms,
        ..UsageRecord::default()
    });
    sum.at_ms = sum.at_ms.min(record.at_ms);
    sum.add(&record);
}
