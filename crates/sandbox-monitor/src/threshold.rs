//! When a value is too high: with a hold time, so that a moment is no alert, and with hysteresis, so
//! that a value near the threshold is one alert and not many. Knows no clock.

use std::time::Duration;

use sandbox_types::Alert;

/// An alert ends below this share of its threshold.
const CLEAR_SHARE: f64 = 0.9;

/// Use above which an operation raises an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// CPU time, in percent of what is allowed.
    pub cpu_percent: f64,
    /// Memory without file cache, in percent of what is allowed.
    pub memory_percent: f64,
    /// How long a value must be too high, or no longer be, before that counts.
    pub hold: Duration,
}

/// An alert began or ended.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertChange {
    /// It began.
    Raised(Alert),
    /// It ended.
    Resolved(Alert),
}

/// Watches one value.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    pub(crate) threshold: f64,
    hold: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Low,
    /// Too high since then, and not for long enough yet.
    Rising(Duration),
    High,
    /// No longer too high since then, and not for long enough yet.
    Falling(Duration),
}

/// What a value changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// It has been too high since then.
    Raised(Duration),
    Resolved,
}

impl Watchdog {
    pub(crate) fn new(threshold: f64, hold: Duration) -> Self {
        Self {
            threshold,
            hold,
            state: State::Low,
        }
    }

    /// Takes the value at a time, which is counted from any beginning. What is no number is ignored.
    pub(crate) fn observe(&mut self, at: Duration, value: f64) -> Option<Turn> {
        if value.is_nan() {
            return None;
        }
        let too_high = value >= self.threshold;
        let low_enough = value < self.threshold * CLEAR_SHARE;
        let held = |since: Duration| at.saturating_sub(since) >= self.hold;
        let (state, turn) = match self.state {
            State::Low if too_high => (State::Rising(at), None),
            State::Rising(since) if too_high && held(since) => {
                (State::High, Some(Turn::Raised(since)))
            }
            State::Rising(since) if too_high => (State::Rising(since), None),
            State::Low | State::Rising(_) => (State::Low, None),
            State::High if low_enough => (State::Falling(at), None),
            State::Falling(since) if low_enough && held(since) => {
                (State::Low, Some(Turn::Resolved))
            }
            State::Falling(since) if low_enough => (State::Falling(since), None),
            State::High | State::Falling(_) => (State::High, None),
        };
        self.state = state;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns at which of the values, one a second, the alert began and ended.
    fn turns(hold: u64, values: impl IntoIterator<Item = f64>) -> Vec<(u64, Turn)> {
        let mut watchdog = Watchdog::new(80.0, Duration::from_secs(hold));
        let observe = |(second, value)| {
            let turn = watchdog.observe(Duration::from_secs(second), value);
            turn.map(|turn| (second, turn))
        };
        (0..).zip(values).filter_map(observe).collect()
    }

    const FROM_1: Turn = Turn::Raised(Duration::from_secs(1));

    #[test]
    fn a_fault_raises_once_within_two_intervals_and_resolves_once() {
        let values = [10.0, 95.0, 95.0, 95.0, 95.0, 20.0, 20.0, 20.0];
        assert_eq!(turns(1, values), [(2, FROM_1), (6, Turn::Resolved)]);
    }

    #[test]
    fn a_moment_is_no_alert_and_no_end_of_one() {
        assert_eq!(turns(1, [10.0, 99.0, 10.0, 99.0, 10.0]), []);
        assert_eq!(
            turns(1, [10.0, 99.0, 99.0, 10.0, 99.0, 10.0, 99.0]),
            [(2, FROM_1)]
        );
    }

    #[test]
    fn a_value_near_the_threshold_does_not_flap() {
        // An hour between 72 and 88 percent.
        let values = (0..3600).map(|second| 80.0 + 8.0 * f64::from(second % 7 - 3) / 3.0);
        assert_eq!(turns(0, values.clone()).len(), 1);
        assert!(turns(3, values).len() <= 1);
    }

    #[test]
    fn an_hour_of_healthy_load_raises_nothing() {
        // Up to 79 percent all the time, and a whole core for a second every ten.
        let values = (0..3600).map(|second| match second % 10 {
            0 => 100.0,
            other => 79.0 - f64::from(other),
        });
        assert_eq!(turns(1, values), []);
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        assert_eq!(
            turns(1, [10.0, 99.0, f64::NAN, 99.0, f64::NAN]),
            [(3, FROM_1)]
        );
    }
}
