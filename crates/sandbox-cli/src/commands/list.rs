//! `sandbox list`: all sandboxes of this user.

use serde_json::json;

use crate::{
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone},
};

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let records = settings.home()?.list()?;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = records
            .iter()
            .map(|record| {
                json!({
                    "sandbox": record.name,
                    "workspace": record.workspace,
                    "created_at": record.created_at,
                    "workspace_exists": record.workspace.is_dir(),
                })
            })
            .collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    if records.is_empty() {
        ui.note("sandbox: there is none yet; `sandbox run` makes one for the current directory");
    }
    let width = records
        .iter()
        .map(|it| it.name.as_str().len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for record in &records {
        let name = record.name.as_str();
        let line = format!(
            "{}{}  {}  {}{}\n",
            ui.tone(Tone::Strong, name),
            " ".repeat(width - name.len()),
            describe::time(&record.created_at),
            ui::inline(&record.workspace.to_string_lossy()),
            if record.workspace.is_dir() {
                ""
            } else {
                "  (gone)"
            },
        );
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}
