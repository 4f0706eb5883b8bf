//! Questions to histories that the test made.

use sandbox_types::Outcome;

use super::*;

fn end(second: u64, outcome: Outcome, wall_ms: u64) -> UsageRecord {
    let total = |value| Total {
        sum: value,
        max: value,
    };
    UsageRecord {
        at_ms: second * 1000,
        samples: 1,
        cpu_us: wall_ms * 500,
        memory_peak_bytes: wall_ms << 20,
        memory_sum_bytes: wall_ms << 20,
        outcomes: Outcomes::one(outcome),
        wall_us: total(wall_ms * 1000),
        operation_cpu_us: total(wall_ms * 500),
        written_bytes: total(10),
        ..UsageRecord::default()
    }
}

fn ask(records: Vec<UsageRecord>, since: i64, until: i64) -> Statistics {
    let history = History {
        records,
        ..History::default()
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    of(&history, at(since), at(until))
}

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn an_empty_history_has_nothing_to_say() {
    let none = ask(Vec::new(), 0, 3600);
    assert_eq!((none.operations, none.periods.len()), (0, 0));
    assert_eq!(none.wall_ms, Distribution::default());
    assert_eq!(none.trend.cpu, Trend::Unknown);
}

#[test]
fn sums_means_and_percentiles_are_exact_for_single_records() {
    let records = (1..=100).map(|n| end(n, Outcome::Completed, n)).chain([
        end(101, Outcome::Failed, 1000),
        end(5000, Outcome::Failed, 9),
    ]);
    let found = ask(records.collect(), 0, 3600);
    assert_eq!(found.operations, 101);
    assert_eq!(found.outcomes.of(Outcome::Failed), 1);
    close(found.wall_ms.sum, 6050.0);
    close(found.wall_ms.mean, 6050.0 / 101.0);
    close(found.wall_ms.max, 1000.0);
    close(found.wall_ms.p95.unwrap(), 96.0);
    close(found.cpu_ms.p95.unwrap(), 48.0);
    close(found.memory_peak_bytes.p95.unwrap(), 96.0 * 1_048_576.0);
    close(found.written_bytes.sum, 1010.0);
    assert_eq!(found.written_bytes.p95, None);
}

#[test]
fn periods_are_few_and_in_order() {
    let found = ask(
        vec![
            end(3500, Outcome::Completed, 1),
            end(10, Outcome::Failed, 2),
            end(20, Outcome::Completed, 3),
        ],
        0,
        3600,
    );
    assert_eq!(found.period_seconds, 300);
    let [first, last] = found.periods.as_slice() else {
        panic!("{:?}", found.periods);
    };
    assert_eq!((first.operations, first.not_completed), (2, 1));
    assert_eq!(last.start, Timestamp::from_second(3300).unwrap());
    for span in [1, 59, 3600, 86_400, 31_622_400, 9_000_000_000] {
        let found = ask(vec![end(1, Outcome::Completed, 1)], 0, span);
        assert!(u64::try_from(span).unwrap() <= found.period_seconds * 12);
    }
}

#[test]
fn a_trend_needs_enough_operations_and_a_real_difference() {
    let half =
        |from: u64, wall: u64| (from..from + 10).map(move |s| end(s, Outcome::Completed, wall));
    let trend = |a, b| {
        ask(half(10, a).chain(half(80, b)).collect(), 0, 100)
            .trend
            .wall
    };
    assert_eq!(trend(100, 130), Trend::Rising);
    assert_eq!(trend(100, 110), Trend::Steady);
    assert_eq!(trend(130, 100), Trend::Falling);
    assert_eq!(trend(0, 0), Trend::Steady);
    let few = (0..3).map(|s| end(s * 30, Outcome::Completed, s + 1));
    assert_eq!(ask(few.collect(), 0, 100).trend.wall, Trend::Unknown);
}
