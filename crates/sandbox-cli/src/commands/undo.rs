//! `sandbox undo` and `redo`: puts back what an operation changed, and takes that back.

use sandbox_core::{UndoOptions, UndoOutcome};
use sandbox_types::{ChangeSummary, Settlement};
use serde_json::{Value, json};

use crate::{
    args::{RedoArgs, UndoArgs, WayArgs},
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, one_line},
};

/// A verb, and what it is called when it is done.
type Words = (&'static str, &'static str);

pub(crate) fn run(settings: &Settings, args: UndoArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::wait_for(core.undo_with(options(args.operation, args.how)))??;
    tell(settings, &done, ("undo", "undid"))
}

pub(crate) fn redo(settings: &Settings, args: RedoArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::wait_for(core.redo_with(options(args.operation, args.how)))??;
    tell(settings, &done, ("redo", "redid"))
}
fn options(id: Option<String>, how: WayArgs) -> UndoOptions {
    UndoOptions {
        id,
        dry_run: how.dry_run,
        force: how.force,
        paths: how.paths,
    }
}

/// Says what was done, in the words for it.
fn tell(settings: &Settings, done: &UndoOutcome, (verb, did): Words) -> Result<u8, Failure> {
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&document(done))?;
        return Ok(exit_codes::DONE);
    }
    let id = describe::short(&done.operation);
    let summary = ChangeSummary::of(Settlement::None, &done.paths);
    let counts = describe::counts(&summary).unwrap_or_else(|| "nothing".to_owned());
    if done.dry_run {
        ui::print(&plan(done, verb))?;
        ui.note(&format!(
            "sandbox: {verb} of {id} would leave {counts}; nothing was done"
        ));
        return Ok(exit_codes::DONE);
    }
    match &done.part_of {
        Some(whole) => {
            let whole = describe::short(whole);
            ui.note(&format!("sandbox: {did} {id}, a part of {whole}: {counts}"));
        }
        None => ui.note(&format!("sandbox: {did} {id}: {counts}")),
    }
    Ok(exit_codes::DONE)
}

/// Paths of conflicts need not be UTF-8, so they are written as text that is like them.
fn document(done: &UndoOutcome) -> Value {
    let conflicts: Vec<_> = done
        .conflicts
        .iter()
        .map(|it| it.to_string_lossy())
        .collect();
    json!({
        "operation": done.operation,
        "dry_run": done.dry_run,
        "paths": done.paths,
        "conflicts": conflicts,
        "part_of": done.part_of,
    })
}

fn plan(done: &UndoOutcome, verb: &str) -> String {
    let mut text = describe::changed_paths(&done.paths);
    for path in &done.conflicts {
        let shown = one_line(&path.to_string_lossy(), usize::MAX);
        let line = format!("  ! {shown} (changed since: {verb} refuses it without --force)\n");
        text.push_str(&line);
    }
    text
}
