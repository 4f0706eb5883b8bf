//! `sandbox status`: how the sandbox is.

use crate::{
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, plain},
};

/// The state of a sandbox that can run operations.
const READY: &str = "ready";

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let status = settings.open_to_read()?.status()?;
    let ui = settings.ui;
    let code = if status.state == READY {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if ui.is_json() {
        ui::print_json(&status)?;
        return Ok(code);
    }
    let tone = if status.state == READY {
        Tone::Good
    } else {
        Tone::Bad
    };
    let mut text = format!(
        "sandbox    {}\nworkspace  {}\nstate      {}\ncreated    {}\nrecords    {}{}\nundoable   {}\n",
        ui.tone(Tone::Strong, status.sandbox.as_str()),
        plain(&status.workspace.to_string_lossy()),
        ui.tone(tone, status.state),
        describe::time(&status.created_at),
        status.journal_records,
        status.last_activity.map_or_else(String::new, |at| format!(
            ", last at {}",
            describe::time(&at)
        )),
        status.undoable.len(),
    );
    for id in &status.pending {
        let id = describe::short(id);
        let line = format!(
            "waiting    {id}   look: sandbox diff {id}   accept: sandbox commit {id}   drop: sandbox discard {id}\n"
        );
        text.push_str(&line);
    }
    if let Some(reason) = &status.no_transactions_because {
        let line = format!("no transactions: {}\n", plain(reason));
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(code)
}
