//! `sandbox commit`: accepts the changes of a held operation.

use crate::{
    args::HeldArgs,
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn run(settings: &Settings, args: &HeldArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let done = waiting::wait_for(core.commit(args.operation.as_deref()))??;
    if settings.ui.is_json() {
        ui::print_json(&done)?;
        return Ok(exit_codes::DONE);
    }
    let counts = describe::counts(&done.changes).unwrap_or_else(|| "nothing".to_owned());
    let id = describe::short(&done.operation);
    settings.ui.note(&format!(
        "sandbox: committed {counts} of {id} (undo with: sandbox undo {id})"
    ));
    Ok(exit_codes::DONE)
}
