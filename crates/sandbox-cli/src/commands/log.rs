//! `sandbox log`: the operations that ran.

use sandbox_core::LogEntry;

use crate::{
    args::LogArgs,
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui},
};

/// The widest command that is listed.
const COMMAND_WIDTH: usize = 60;

pub(crate) fn run(settings: &Settings, args: &LogArgs) -> Result<u8, Failure> {
    let entries = settings.open_to_read()?.log(args.number)?;
    if settings.ui.is_json() {
        ui::print_json(&entries)?;
        return Ok(exit_codes::DONE);
    }
    if entries.is_empty() && args.number > 0 {
        settings
            .ui
            .note("sandbox: nothing was run in this sandbox yet");
    }
    let lines: String = entries
        .iter()
        .map(|entry| line(settings.ui, entry))
        .collect();
    ui::print(&lines)?;
    Ok(exit_codes::DONE)
}

fn line(ui: Ui, entry: &LogEntry) -> String {
    let (outcome, changes) = if entry.interrupted {
        let became = match entry.since {
            Some("undone") => "undone",
            _ => describe::settlement(entry.report.changes.settlement),
        };
        ("interrupted".to_owned(), format!("({became})"))
    } else {
        (
            describe::outcome(&entry.report),
            changes(entry).unwrap_or_default(),
        )
    };
    format!(
        "{}  {}  {outcome:<14}  {changes:<34}  {}\n",
        ui.tone(Tone::Strong, describe::short(&entry.id)),
        describe::time(&entry.at),
        describe::command(&entry.argv, COMMAND_WIDTH),
    )
}

fn changes(entry: &LogEntry) -> Option<String> {
    let report = &entry.report;
    if describe::wrote_directly(report) {
        return Some("direct, cannot be undone".to_owned());
    }
    let counts = describe::counts(&report.changes)?;
    let became = entry
        .since
        .unwrap_or(describe::settlement(report.changes.settlement));
    Some(format!("{counts} ({became})"))
}
