//! What can be typed after `stats`, `top`, `health` and `metrics`.

use std::time::Duration;

use clap::Args;
use sandbox_types::parse_duration;

const HOUR: Duration = Duration::from_secs(3600);
/// What is kept by the hour goes back one year; a longer span is a typing error.
const SINCE_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// Looking more often costs more than what is looked at.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Counts every operation that ended, also refused ones. Single operations are kept for a day, then
/// minutes for a week, then hours for a year; what was summed up counts where its minute or hour began.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Count what ended in this time up to now, as in 30m, 24h or 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = since)]
    pub(crate) since: Duration,
}

/// Examines the host, the workspace, what killed callers left, transactions, the journal, the store and
/// the usage history.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing has failed (it may be degraded), 1 something has.")]
pub(crate) struct HealthArgs {
    /// Repair what can be repaired, and look again
    #[arg(long, overrides_with = "no_repair")]
    pub(crate) repair: bool,
    /// Only look (this is the default)
    #[arg(long)]
    pub(crate) no_repair: bool,
}

/// Shows the operations of all sandboxes, or with -s of one, until q or Ctrl-C is typed. CPU % is of one
/// processor, since the look before. Where standard output is no terminal, it is shown once.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Look once
    #[arg(long)]
    pub(crate) once: bool,
    /// Look again after this time, as in 500ms or 2s; with --json one document a line, also where standard output is
    /// no terminal [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).map_err(|error| error.to_string())?;
    if !(INTERVAL_MIN..=HOUR).contains(&interval) {
        return Err("must be from 100ms to 1h".to_owned());
    }
    Ok(interval)
}

fn since(text: &str) -> Result<Duration, String> {
    let days = text.trim().strip_suffix('d').and_then(|it| it.parse().ok());
    let span = match days {
        Some(days) => HOUR.saturating_mul(24).saturating_mul(days),
        None => parse_duration(text).map_err(|_error| {
            format!(
                "'{text}' is not a duration: expected a whole number with s, m, h or d, as in 24h"
            )
        })?,
    };
    if span.is_zero() {
        return Err("must be longer than nothing, as in 24h".to_owned());
    }
    if span > SINCE_MAX {
        return Err("must be at most a hundred years".to_owned());
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_bounds() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0s", "99ms", "2h", "soon"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_have_units_and_bounds() {
        assert_eq!(since("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(since("7d"), Ok(HOUR * 168));
        for bad in [
            "0s",
            "0d",
            "d",
            "-1h",
            "yesterday",
            "99999999999d",
            "4294967295d",
        ] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
