//! What was measured, as lines of a table: medians, and their ratio; on a second line, of it what was computed.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

pub(super) const HEADING: &str = "what                                                 ours    SQLite FULL  SQLite NORMAL   ours / FULL  ours / NORMAL";

/// The times of one thing that was done several times, by each side in turn.
pub(super) struct Row {
    what: String,
    /// How often the thing was done in one round: the times are of one.
    per_round: u32,
    times: [Vec<Duration>; 3],
    /// What the thread was on a processor: other load changes that little.
    computed: [Vec<Duration>; 3],
}

/// Who does it.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Ours,
    Full,
    Normal,
}

impl Row {
    pub(super) fn new(what: &str, per_round: u32) -> Self {
        Self {
            what: what.to_owned(),
            per_round,
            times: Default::default(),
            computed: Default::default(),
        }
    }

    /// Times one round.
    pub(super) fn time<T>(
        &mut self,
        side: Side,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let before = on_a_processor();
        let start = Instant::now();
        let done = work()?;
        self.times[side as usize].push(start.elapsed());
        let computed = on_a_processor().zip(before).map(|(now, then)| now - then);
        self.computed[side as usize].extend(computed);
        Ok(done)
    }

    /// Returns the median of one side, in microseconds for one of the thing; `None` if it was not done.
    pub(super) fn median(&self, side: Side) -> Option<f64> {
        self.median_of(&self.times[side as usize])
    }

    fn median_of(&self, times: &[Duration]) -> Option<f64> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2)?;
        Some(median.as_secs_f64() * 1e6 / f64::from(self.per_round))
    }

    pub(super) fn print(&self) {
        self.print_line(&self.what, &self.times);
        // Where there is nothing to compare, another process does it.
        if !self.computed[Side::Full as usize].is_empty() {
            self.print_line("  of it on the processor", &self.computed);
        }
    }

    fn print_line(&self, what: &str, times: &[Vec<Duration>; 3]) {
        let [ours, full, normal] = times.each_ref().map(|it| self.median_of(it));
        let ratio = |other: Option<f64>| match (ours, other) {
            (Some(ours), Some(other)) => format!("{:.2}", ours / other),
            (None, _) | (_, None) => "–".to_owned(),
        };
        println!(
            "{what:<46} {:>10} {:>14} {:>14} {:>13} {:>14}",
            in_words(ours),
            in_words(full),
            in_words(normal),
            ratio(full),
            ratio(normal)
        );
    }
}

/// Returns how long this thread was on a processor so far: the first number of `/proc/thread-self/schedstat`.
///
/// The number is brought up to date when the thread gives its processor away. Reading it is in what is counted next, some
/// microseconds.
fn on_a_processor() -> Option<Duration> {
    thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn in_words(microseconds: Option<f64>) -> String {
    match microseconds {
        None => "–".to_owned(),
        Some(it) if it >= 10_000.0 => format!("{:.1} ms", it / 1000.0),
        Some(it) => format!("{it:.2} µs"),
    }
}
