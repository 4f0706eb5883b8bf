//! `sandbox stats`: what operations did and used.

use sandbox_core::monitor::{Distribution, Statistics, Trend};
use serde_json::json;

use crate::{
    args::StatsArgs,
    commands::{amounts, describe},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone},
};

pub(crate) fn run(settings: &Settings, args: &StatsArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let statistics = core.statistics(args.since)?;
    let ui = settings.ui;
    if ui.is_json() {
        let mut document = json!(statistics);
        document["sandbox"] = json!(core.name());
        ui::print_json(&document)?;
        return Ok(exit_codes::DONE);
    }
    if statistics.damaged_records > 0 {
        ui.insist(&format!(
            "sandbox: {} records of the usage history are damaged and left out",
            statistics.damaged_records
        ));
    }
    let mut text = format!(
        "sandbox     {}, since {}\n",
        ui.tone(Tone::Strong, core.name().as_str()),
        describe::time(&statistics.since)
    );
    text.push_str(&summary(&statistics));
    if statistics.operations > 0 {
        text.push_str(&figures(&statistics));
    }
    if !statistics.periods.is_empty() {
        text.push_str(&periods(&statistics));
    }
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}

fn summary(statistics: &Statistics) -> String {
    let outcomes = statistics
        .outcomes
        .iter()
        .filter(|(.., count)| *count > 0)
        .map(|(_, name, count)| format!("{count} {}", name.replace('_', " ")));
    let outcomes = outcomes.collect::<Vec<_>>().join(", ");
    let colon = if outcomes.is_empty() { "" } else { ": " };
    format!(
        "operations  {}{colon}{outcomes}\nused        {} of CPU time, {} read from storage, {} written\nalerts      {}\n",
        statistics.operations,
        amounts::time(statistics.cpu_used_ms),
        amounts::bytes(statistics.io_read_bytes),
        amounts::bytes(statistics.io_write_bytes),
        statistics.alerts,
    )
}

/// An amount in words.
type Words = fn(f64) -> String;

fn figures(statistics: &Statistics) -> String {
    let mut text = format!(
        "\n{:<13}{:>10}{:>10}{:>10}{:>10}\n",
        "an operation", "mean", "p95", "max", "sum"
    );
    let rows: [(&str, &Distribution, Words); 4] = [
        ("wall time", &statistics.wall_ms, amounts::time),
        ("CPU time", &statistics.cpu_ms, amounts::time),
        (
            "memory peak",
            &statistics.memory_peak_bytes,
            amounts::about_bytes,
        ),
        ("changed", &statistics.written_bytes, amounts::about_bytes),
    ];
    for (name, figure, words) in rows {
        // The sum of highest uses at different times is nothing.
        let sum = if name == "memory peak" {
            "-".to_owned()
        } else {
            words(figure.sum)
        };
        let line = format!(
            "{name:<13}{:>10}{:>10}{:>10}{sum:>10}\n",
            words(figure.mean),
            figure.p95.map_or_else(|| "-".to_owned(), words),
            words(figure.max)
        );
        text.push_str(&line);
    }
    let trend = statistics.trend;
    let named = [
        ("wall time", trend.wall),
        ("CPU time", trend.cpu),
        ("memory", trend.memory),
    ];
    let seen: Vec<String> = named
        .into_iter()
        .filter(|(_, trend)| *trend != Trend::Unknown)
        .map(|(name, trend)| {
            let word = match trend {
                Trend::Rising => "rising",
                Trend::Steady => "steady",
                Trend::Falling => "falling",
                Trend::Unknown => "unknown",
            };
            format!("{name} {word}")
        })
        .collect();
    if !seen.is_empty() {
        let line = format!("trend        {}\n", seen.join(", "));
        text.push_str(&line);
    }
    text
}

fn periods(statistics: &Statistics) -> String {
    let mut text = format!(
        "\n{:<22}{:>11}{:>15}{:>10}{:>12}{:>10}\n",
        "from", "operations", "not completed", "CPU time", "memory peak", "changed"
    );
    for period in &statistics.periods {
        let line = format!(
            "{:<22}{:>11}{:>15}{:>10}{:>12}{:>10}\n",
            describe::time(&period.start),
            period.operations,
            period.not_completed,
            amounts::time(period.cpu_ms),
            amounts::bytes(period.memory_peak_bytes),
            amounts::bytes(period.written_bytes),
        );
        text.push_str(&line);
    }
    text
}
