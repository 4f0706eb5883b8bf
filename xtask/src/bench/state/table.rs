//! What was measured, as lines of a table: medians, and their ratio.

use std::time::{Duration, Instant};

pub(super) const HEADING: &str = "what                                                 ours    SQLite FULL  SQLite NORMAL   ours / FULL  ours / NORMAL";

/// The times of one thing that was done several times, by each side in turn.
pub(super) struct Row {
    what: String,
    /// How often the thing was done in one round: the times are of one.
    per_round: u32,
    times: [Vec<Duration>; 3],
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
        }
    }

    /// Times one round.
    pub(super) fn time<T>(
        &mut self,
        side: Side,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let done = work()?;
        self.times[side as usize].push(start.elapsed());
        Ok(done)
    }

    /// Returns the median of one side, in microseconds for one of the thing; `None` if it was not done.
    pub(super) fn median(&self, side: Side) -> Option<f64> {
        let mut sorted = self.times[side as usize].clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2)?;
        Some(median.as_secs_f64() * 1e6 / f64::from(self.per_round))
    }

    pub(super) fn print(&self) {
        let [ours, full, normal] =
            [Side::Ours, Side::Full, Side::Normal].map(|side| self.median(side));
        let ratio = |other: Option<f64>| match (ours, other) {
            (Some(ours), Some(other)) => format!("{:.2}", ours / other),
            (None, _) | (_, None) => "–".to_owned(),
        };
        println!(
            "{:<46} {:>10} {:>14} {:>14} {:>13} {:>14}",
            self.what,
            in_words(ours),
            in_words(full),
            in_words(normal),
            ratio(full),
            ratio(normal)
        );
    }
}

fn in_words(microseconds: Option<f64>) -> String {
    match microseconds {
        None => "–".to_owned(),
        Some(it) if it >= 10_000.0 => format!("{:.1} ms", it / 1000.0),
        Some(it) => format!("{it:.2} µs"),
    }
}
