//! `sandbox ps`: the operations that run now.

use sandbox_core::RunningNow;

use crate::{
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone},
};

/// The widest command that is listed.
const COMMAND_WIDTH: usize = 80;

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let running = settings.open_to_read()?.running()?;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&running)?;
        return Ok(exit_codes::DONE);
    }
    if running.is_empty() {
        ui.note("sandbox: nothing runs");
    }
    let line = |operation: &RunningNow| {
        format!(
            "{}  {}  process {:<8}  {}  {}\n",
            ui.tone(Tone::Strong, describe::short(&operation.id)),
            describe::time(&operation.since),
            operation.process.pid,
            if operation.detached {
                "detached"
            } else {
                "attached"
            },
            describe::command(&operation.argv, COMMAND_WIDTH),
        )
    };
    ui::print(&running.iter().map(line).collect::<String>())?;
    Ok(exit_codes::DONE)
}
