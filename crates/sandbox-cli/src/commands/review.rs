//! `sandbox commit` and `sandbox discard`: accept or drop the changes of a held operation.

use sandbox_core::ReviewOutcome;

use crate::{
    args::HeldArgs,
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn commit(settings: &Settings, args: &HeldArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::wait_for(core.commit(args.operation.as_deref()))??;
    let id = describe::short(&done.operation);
    tell(
        settings,
        &done,
        "committed",
        &format!(" (undo with: sandbox undo {id})"),
    )
}

pub(crate) fn discard(settings: &Settings, args: &HeldArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::wait_for(core.discard(args.operation.as_deref()))??;
    let after = "; the workspace is as before it";
    tell(settings, &done, "discarded", after)
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
    Ok(exit_codes::DONE)
}
