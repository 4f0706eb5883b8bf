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

/// The widest command that is listed where there is no terminal.
const COMMAND_WIDTH: usize = 60;
/// What stands before it: an id, a time, an outcome, and the changes.
const BEFORE_COMMAND: usize = 8 + 2 + 20 + 2 + 14 + 2 + 34 + 2;
/// Where the changes would leave nothing for it, they have no column of their own.
const NARROW: usize = BEFORE_COMMAND + 20;

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
    let id = ui.tone(Tone::Strong, describe::short(&entry.id));
    let at = describe::time(&entry.at);
    if ui::columns().is_some_and(|columns| columns < NARROW) {
        let taken = BEFORE_COMMAND - 36 + changes.chars().count();
        let command = describe::command(&entry.argv, ui::room_behind(taken + 2, COMMAND_WIDTH));
        return format!("{id}  {at}  {outcome:<14}  {command}  {changes}\n");
    }
    let taken = BEFORE_COMMAND + changes.chars().count().saturating_sub(34);
    let command = describe::command(&entry.argv, ui::room_behind(taken, COMMAND_WIDTH));
    format!("{id}  {at}  {outcome:<14}  {changes:<34}  {command}\n")
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
