//! Questions to the usage history: how many operations, how they ended, what they used, and how that
//! changes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::history::{
    Figure, History, Outcomes, Resolution, Total, UNIT_SHIFT, UsageRecord, buckets, milliseconds,
};

/// The most periods that a question is divided into.
const PERIODS_MAX: u128 = 12;
/// Lengths of periods, in seconds: the shortest that gives at most [`PERIODS_MAX`] is taken.
const PERIOD_SECONDS: &[u64] = &[
    1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800, 2_592_000,
];
/// A trend is seen when the later half is this much more or less than the earlier half.
const TREND_FACTOR: f64 = 1.25;
/// The fewest operations of each half that a trend is seen in.
const TREND_OPERATIONS_MIN: u64 = 4;

/// What operations did and used since some time.
#[derive(Clone, Debug, Serialize)]
pub struct Statistics {
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many operations ended.
    pub operations: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// From request to settlement, in milliseconds.
    pub wall_ms: Distribution,
    /// CPU time, in milliseconds.
    pub cpu_ms: Distribution,
    /// Highest memory use, in bytes.
    pub memory_peak_bytes: Distribution,
    /// What was changed in the workspace, in bytes.
    pub written_bytes: Distribution,
    /// CPU time of all operations, also of those that still run, in milliseconds.
    pub cpu_used_ms: f64,
    /// Bytes read from storage by all operations.
    pub io_read_bytes: u64,
    /// Bytes written to storage by all operations.
    pub io_write_bytes: u64,
    /// Alerts that were raised.
    pub alerts: u64,
    /// How the later half differs from the earlier one.
    pub trend: Trends,
    /// Length of a period, in seconds.
    pub period_seconds: u64,
    /// The same by period, oldest first; without those in which nothing happened.
    pub periods: Vec<Period>,
    /// Records that could not be read.
    pub damaged_records: u64,
}

/// One figure of the operations that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// All together. Of memory this says nothing by itself.
    pub sum: f64,
    /// On average; 0 without operations.
    pub mean: f64,
    /// 95 of 100 operations needed at most this. Within a fifth where operations were summed up;
    /// `None` where it is not kept.
    pub p95: Option<f64>,
    /// The highest.
    pub max: f64,
}

/// What happened in one period.
#[derive(Clone, Debug, Serialize)]
pub struct Period {
    /// When it began.
    pub start: Timestamp,
    /// How many operations ended.
    pub operations: u64,
    /// How many of them did not complete.
    pub not_completed: u64,
    /// CPU time, in milliseconds.
    pub cpu_ms: f64,
    /// Highest memory use of one operation, in bytes.
    pub memory_peak_bytes: u64,
    /// What was changed in the workspace, in bytes.
    pub written_bytes: u64,
    /// Wall time of the operations that ended, in milliseconds.
    pub wall_ms: f64,
}

/// How figures change from the earlier half of the time to the later.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Trends {
    /// CPU time of an operation.
    pub cpu: Trend,
    /// Memory peak of an operation.
    pub memory: Trend,
    /// Wall time of an operation.
    pub wall: Trend,
}

/// How a figure changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// By a quarter at least.
    Rising,
    /// By less.
    Steady,
    /// By a fifth at least.
    Falling,
    /// Too few operations to say.
    Unknown,
}

/// Sums up what ended from `since` until `until`. A minute or hour that was summed up already counts
/// where it began.
pub(crate) fn of(history: &History, since: Timestamp, until: Timestamp) -> Statistics {
    let inside = |record: &&UsageRecord| {
        let from = match record.resolution {
            // Everything is asked for, or nothing of it.
            Resolution::Before => 0,
            Resolution::Single | Resolution::Minute | Resolution::Hour => record.at_ms,
        };
        from >= milliseconds(since) && record.at_ms <= milliseconds(until)
    };
    let records: Vec<&UsageRecord> = history.records.iter().filter(inside).collect();
    let sum = sum_of(&records);
    let period = period_length(since, until);
    Statistics {
        since,
        until,
        operations: sum.outcomes.total(),
        outcomes: sum.outcomes,
        wall_ms: distribution(&records, &sum, sum.wall_us, Some(Figure::Wall)).scaled(1000.0),
        cpu_ms: distribution(&records, &sum, sum.operation_cpu_us, Some(Figure::Cpu))
            .scaled(1000.0),
        memory_peak_bytes: distribution(&records, &sum, memory(&sum), Some(Figure::Memory)),
        written_bytes: distribution(&records, &sum, sum.written_bytes, None),
        cpu_used_ms: float(sum.cpu_us) / 1000.0,
        io_read_bytes: sum.io_read_bytes,
        io_write_bytes: sum.io_write_bytes,
        alerts: u64::from(sum.alerts),
        trend: trends(&records, since, until),
        period_seconds: period.as_secs(),
        periods: periods(&records, since, period),
        damaged_records: history.damaged,
    }
}

impl Distribution {
    fn scaled(self, divisor: f64) -> Self {
        Self {
            sum: self.sum / divisor,
            mean: self.mean / divisor,
            p95: self.p95.map(|it| it / divisor),
            max: self.max / divisor,
        }
    }
}

pub(crate) fn sum_of(records: &[&UsageRecord]) -> UsageRecord {
    let mut sum = UsageRecord::default();
    for record in records {
        sum.add(record);
    }
    sum
}

fn memory(sum: &UsageRecord) -> Total {
    Total {
        sum: sum.memory_sum_bytes,
        max: sum.memory_peak_bytes,
    }
}

fn distribution(
    records: &[&UsageRecord],
    sum: &UsageRecord,
    total: Total,
    figure: Option<Figure>,
) -> Distribution {
    let count = sum.outcomes.total();
    Distribution {
        sum: float(total.sum),
        mean: mean(total.sum, count),
        p95: figure.and_then(|figure| p95(records, figure)),
        max: float(total.max),
    }
}

/// Returns the smallest value that 95 of 100 operations do not exceed (nearest rank).
fn p95(records: &[&UsageRecord], figure: Figure) -> Option<f64> {
    let mut values: Vec<(f64, u64)> = Vec::new();
    for record in records.iter().filter(|it| it.outcomes.total() > 0) {
        let (single, highest) = match figure {
            Figure::Wall => (record.wall_us.sum, record.wall_us.max),
            Figure::Cpu => (record.operation_cpu_us.sum, record.operation_cpu_us.max),
            Figure::Memory => (record.memory_sum_bytes, record.memory_peak_bytes),
        };
        if record.outcomes.total() == 1 {
            values.push((float(single), 1));
            continue;
        }
        let unit = float(1 << UNIT_SHIFT[figure as usize]);
        let counts = record.buckets[figure as usize].counts();
        let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        values.extend(filled.map(|(at, count)| {
            let value = (buckets::middle(at) * unit).min(float(highest));
            (value, u64::from(*count))
        }));
    }
    values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let count: u64 = values.iter().map(|(_, count)| count).sum();
    let rank = (count * 95).div_ceil(100);
    let mut passed = 0;
    let mut reached = values.iter().find(|(_, count)| {
        passed += count;
        passed >= rank
    });
    reached.take().map(|(value, _)| *value)
}

fn trends(records: &[&UsageRecord], since: Timestamp, until: Timestamp) -> Trends {
    let middle = u64::midpoint(milliseconds(since), milliseconds(until));
    let (earlier, later): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.at_ms < middle);
    let (earlier, later) = (sum_of(&earlier), sum_of(&later));
    let trend = |figure: fn(&UsageRecord) -> u64| {
        let (few, many) = (earlier.outcomes.total(), later.outcomes.total());
        if few.min(many) < TREND_OPERATIONS_MIN {
            return Trend::Unknown;
        }
        let (before, after) = (mean(figure(&earlier), few), mean(figure(&later), many));
        if after >= before * TREND_FACTOR && after > 0.0 {
            Trend::Rising
        } else if before >= after * TREND_FACTOR && before > 0.0 {
            Trend::Falling
        } else {
            Trend::Steady
        }
    };
    Trends {
        cpu: trend(|it| it.operation_cpu_us.sum),
        memory: trend(|it| it.memory_sum_bytes),
        wall: trend(|it| it.wall_us.sum),
    }
}

fn period_length(since: Timestamp, until: Timestamp) -> Duration {
    let span = u128::from(milliseconds(until).saturating_sub(milliseconds(since)));
    let fits = |seconds: &&u64| span <= u128::from(**seconds) * 1000 * PERIODS_MAX;
    let longest = PERIOD_SECONDS[PERIOD_SECONDS.len() - 1];
    let seconds = PERIOD_SECONDS.iter().find(fits).copied();
    // For spans of years, as many of the longest as are needed.
    let seconds = seconds.unwrap_or_else(|| {
        let needed = span.div_ceil(u128::from(longest) * 1000 * PERIODS_MAX);
        longest.saturating_mul(u64::try_from(needed).unwrap_or(u64::MAX))
    });
    Duration::from_secs(seconds)
}

fn periods(records: &[&UsageRecord], since: Timestamp, length: Duration) -> Vec<Period> {
    let (first, length_ms) = (
        milliseconds(since),
        u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
    );
    let mut sums: Vec<(u64, UsageRecord)> = Vec::new();
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|record| record.at_ms);
    for record in sorted {
        let at = record.at_ms.saturating_sub(first) / length_ms;
        match sums.last_mut() {
            Some((last, sum)) if *last == at => sum.add(record),
            _ => {
                let mut sum = UsageRecord::default();
                sum.add(record);
                sums.push((at, sum));
            }
        }
    }
    let period = |(at, sum): (u64, UsageRecord)| Period {
        start: start_of(since, at.saturating_mul(length_ms)),
        operations: sum.outcomes.total(),
        not_completed: sum.outcomes.total()
            - u64::from(sum.outcomes.of(sandbox_types::Outcome::Completed)),
        cpu_ms: float(sum.cpu_us) / 1000.0,
        memory_peak_bytes: sum.memory_peak_bytes,
        written_bytes: sum.written_bytes.sum,
        wall_ms: float(sum.wall_us.sum) / 1000.0,
    };
    sums.into_iter().map(period).collect()
}

fn start_of(since: Timestamp, after_ms: u64) -> Timestamp {
    let after = SignedDuration::from_millis(i64::try_from(after_ms).unwrap_or(i64::MAX));
    since.checked_add(after).unwrap_or(Timestamp::MAX)
}

fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    float(sum) / float(count)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people: 15 digits are enough"
)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
