//! `sandbox ps`: the operations that run now.

use sandbox_core::{RunningNow, UsageNow};
use sandbox_types::Bytes;
use serde::Serialize;

use crate::{
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui},
};

/// The widest command that is listed where there is no terminal.
const COMMAND_WIDTH: usize = 80;
/// What stands before it.
const BEFORE_COMMAND: usize = 8 + 2 + 20 + 2 + 16 + 2 + 8 + 2 + 11 + 2 + 16 + 2;

/// An operation with what it uses at the moment.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    operation: RunningNow,
    usage: Option<UsageNow>,
}

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let running = settings.open_to_read()?.running()?;
    let ui = settings.ui;
    let rows: Vec<Row> = running
        .into_iter()
        .map(|operation| Row {
            usage: operation.usage(),
            operation,
        })
        .collect();
    if ui.is_json() {
        ui::print_json(&rows)?;
        return Ok(exit_codes::DONE);
    }
    if rows.is_empty() {
        ui.note("sandbox: nothing runs");
    }
    ui::print(&rows.iter().map(|row| line(row, ui)).collect::<String>())?;
    Ok(exit_codes::DONE)
}

fn line(Row { operation, usage }: &Row, ui: Ui) -> String {
    let (cpu, memory) = usage.map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |usage| {
            let memory = Bytes(usage.memory_bytes).to_string();
            (format!("{:.1}s", usage.cpu_ms / 1000.0), memory)
        },
    );
    format!(
        "{}  {}  process {:<8}  {}  cpu {cpu:>7}  memory {memory:>9}  {}\n",
        ui.tone(Tone::Strong, describe::short(&operation.id)),
        describe::time(&operation.since),
        operation.process.pid,
        if operation.detached {
            "detached"
        } else {
            "attached"
        },
        describe::command(
            &operation.argv,
            ui::room_behind(BEFORE_COMMAND, COMMAND_WIDTH)
        ),
    )
}
