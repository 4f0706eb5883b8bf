//! `sandbox commit` and `sandbox discard`: accept or drop the changes of a held operation.

use sandbox_core::{HeldSelection, ReviewOutcome};

use crate::{
    args::SettleArgs,
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn commit(settings: &Settings, args: SettleArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::to_the_end(core.commit_part(selection(args)))??;
    let id = describe::short(&done.operation);
    tell(
        settings,
        &done,
        "committed",
        &format!(" (undo with: sandbox undo {id})"),
    )
}

pub(crate) fn discard(settings: &Settings, args: SettleArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::to_the_end(core.discard_part(selection(args)))??;
    let after = "; the workspace is as before it";
    tell(settings, &done, "discarded", after)
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
