//! `sandbox status`: how the sandbox is.

use std::time::Duration;

use sandbox_core::{SessionNow, SpaceTaken, State};
use sandbox_types::{Bytes, format_duration};

use crate::{
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui, inline},
};

/// The widest command that is shown.
const COMMAND_WIDTH: usize = 60;

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let status = settings.open_to_read()?.status()?;
    let ui = settings.ui;
    let code = if status.state.takes_operations() {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if ui.is_json() {
        ui::print_json(&status)?;
        return Ok(code);
    }
    let tone = match status.state {
        State::Created | State::Ready | State::Running => Tone::Good,
        State::Suspended => Tone::Warning,
        State::Broken | State::Destroyed => Tone::Bad,
    };
    let since = status.suspended_since.map_or_else(String::new, |since| {
        format!(
            " since {} (go on with: sandbox resume)",
            describe::time(&since)
        )
    });
    let mut text = format!(
        "sandbox    {}\nworkspace  {}\nstate      {}{since}\ncreated    {}\nrecords    {}{}\nundoable   {}\n",
        ui.tone(Tone::Strong, status.sandbox.as_str()),
        inline(&status.workspace.to_string_lossy()),
        ui.tone(tone, status.state.name()),
        describe::time(&status.created_at),
        status.journal_records,
        status.last_activity.map_or_else(String::new, |at| format!(
            ", last at {}",
            describe::time(&at)
        )),
        status.undoable.len(),
    );
    for operation in &status.running {
        let what = if status.suspended_since.is_some() {
            "frozen "
        } else {
            "running"
        };
        let line = format!(
            "{what}    {}   since {}   process {}   {}\n",
            describe::short(&operation.id),
            describe::time(&operation.since),
            operation.process.pid,
            describe::command(&operation.argv, COMMAND_WIDTH),
        );
        text.push_str(&line);
    }
    text.push_str(&space_line(&status.space));
    text.extend(status.session.map(session_line));
    for id in &status.pending {
        let id = describe::short(id);
        let line = format!(
            "waiting    {id}   look: sandbox diff {id}   accept: sandbox commit {id}   drop: sandbox discard {id}\n"
        );
        text.push_str(&line);
    }
    text.extend(status.state_lost.map(|recorded| lost_line(ui, recorded)));
    if let Some(reason) = &status.no_transactions_because {
        let line = format!("no transactions: {}\n", inline(reason));
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(code)
}

/// Says what is kept on disk.
fn space_line(space: &SpaceTaken) -> String {
    let kept = &space.transactions;
    format!(
        "disk       undo {}   redo {}   held {}   snapshots {}\n",
        Bytes(kept.undo_bytes),
        Bytes(kept.redo_bytes),
        Bytes(kept.held_bytes),
        Bytes(space.snapshot_bytes),
    )
}

fn lost_line(ui: Ui, recorded: u64) -> String {
    format!(
        "{}      lost: the journal has changes of the state up to {recorded}; put a copy back, or go on without: sandbox state recover\n",
        ui.tone(Tone::Bad, "store"),
    )
}

fn session_line(session: SessionNow) -> String {
    let seconds = |seconds: f64| format_duration(Duration::from_secs_f64(seconds.round()));
    format!(
        "session    process {}   {}, idle for {}, ends after {}\n",
        session.pid,
        if session.ready { "ready" } else { "not ready" },
        seconds(session.idle_seconds),
        seconds(session.idle_timeout_seconds),
    )
}
