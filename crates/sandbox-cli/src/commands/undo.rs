//! `sandbox undo` and `redo`: puts back what an operation changed, and takes that back.

use sandbox_core::{UndoOptions, UndoOutcome};
use sandbox_types::{ChangeSummary, Settlement};

use crate::{
    args::{RedoArgs, UndoArgs, WayArgs},
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

/// A verb, and what it is called when it is done.
type Words = (&'static str, &'static str);

pub(crate) fn run(settings: &Settings, args: UndoArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::to_the_end(core.undo_with(options(args.operation, args.how)))??;
    tell(settings, &done, ("undo", "undid"))
}

pub(crate) fn redo(settings: &Settings, args: RedoArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::to_the_end(core.redo_with(options(args.operation, args.how)))??;
    tell(settings, &done, ("redo", "redid"))
}

fn options(id: Option<String>, how: WayArgs) -> UndoOptions {
    UndoOptions {
        id,
        dry_run: how.dry_run,
        on_conflict: how.edited.on_conflict(),
        paths: how.paths,
    }
}

/// Says what was done, in the words for it.
fn tell(settings: &Settings, done: &UndoOutcome, (verb, did): Words) -> Result<u8, Failure> {
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(done)?;
        return Ok(exit_codes::DONE);
    }
    let id = describe::short(&done.operation);
    let summary = ChangeSummary::of(Settlement::None, &done.paths);
    let counts = describe::counts(&summary).unwrap_or_else(|| "nothing".to_owned());
    if let Some(newest) = done.direct_since.first() {
        let newest = describe::short(newest);
        ui.note(&match done.direct_since.len() {
            1 => format!("sandbox: {newest} ran since and wrote directly: what it changed, if anything, cannot be undone"),
            count => format!("sandbox: {count} operations ran since and wrote directly: what they changed, if anything, cannot be undone; {newest} is the newest"),
        });
    }
    if done.dry_run {
        ui::print(&plan(done, verb))?;
        ui.note(&format!(
            "sandbox: the {verb} of {id} would change it so: {counts}; nothing was done"
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
    for edit in describe::kept_edits(&done.kept) {
        ui.note(&format!("sandbox: {edit}"));
    }
    Ok(exit_codes::DONE)
}

fn plan(done: &UndoOutcome, verb: &str) -> String {
    let mut text = describe::changed_paths(&done.paths);
    text.push_str(&describe::edited_since(&done.conflicts, &done.kept, verb));
    text
}
