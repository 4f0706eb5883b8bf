//! `sandbox commit` and `sandbox discard`: accept or drop the changes of a held operation.

use sandbox_core::{HeldSelection, ReviewError, ReviewOutcome, SandboxCore};

use crate::{
    args::{DiscardArgs, SettleArgs},
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn commit(settings: &Settings, args: SettleArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::to_the_end(core.commit_part(selection(args)))?;
    let done = done.map_err(Failure::of_commit)?;
    let id = describe::short(&done.operation);
    tell(
        settings,
        &done,
        "committed",
        &format!(" (undo with: sandbox undo {id})"),
    )
}

pub(crate) fn discard(settings: &Settings, args: DiscardArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    if args.all {
        return discard_all(settings, &core);
    }
    let done = waiting::to_the_end(core.discard_part(selection(args.what)))??;
    tell(settings, &done, "discarded", AS_BEFORE)
}

const AS_BEFORE: &str = "; the workspace is as before it";

/// Drops everything that waits. What another process has settled meanwhile waits no more.
fn discard_all(settings: &Settings, core: &SandboxCore) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for id in core.pending()? {
        let selection = HeldSelection {
            id: Some(id.to_string()),
            paths: Vec::new(),
        };
        match waiting::to_the_end(core.discard_part(selection))? {
            Err(ReviewError::Meanwhile { .. } | ReviewError::NotHeld { .. }) => {}
            done => all.push(done?),
        }
    }
    if settings.ui.is_json() {
        ui::print_json(&all)?;
        return Ok(exit_codes::DONE);
    }
    if all.is_empty() {
        settings.ui.note("sandbox: nothing waits for review");
    }
    for done in &all {
        tell(settings, done, "discarded", AS_BEFORE)?;
    }
    Ok(exit_codes::DONE)
}

fn selection(args: SettleArgs) -> HeldSelection {
    HeldSelection {
        id: args.held.operation,
        paths: args.paths,
    }
}

fn tell(settings: &Settings, done: &ReviewOutcome, what: &str, after: &str) -> Result<u8, Failure> {
    if settings.ui.is_json() {
        ui::print_json(done)?;
        return Ok(exit_codes::DONE);
    }
    let counts = describe::counts(&done.changes).unwrap_or_else(|| "nothing".to_owned());
    let id = describe::short(&done.operation);
    settings
        .ui
        .note(&format!("sandbox: {what} {counts} of {id}{after}"));
    if let Some(whole) = &done.part_of {
        let whole = describe::short(whole);
        let note = format!("sandbox: the other changes of {whole} wait on");
        settings.ui.note(&note);
    }
    Ok(exit_codes::DONE)
}
