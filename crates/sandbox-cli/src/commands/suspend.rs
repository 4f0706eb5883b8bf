//! `sandbox suspend` and `sandbox resume`: the sandbox stands still, and goes on.

use sandbox_types::OperationId;

use crate::{
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn suspend(settings: &Settings) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let done = waiting::wait_for(core.suspend())??;
    if settings.ui.is_json() {
        ui::print_json(&done)?;
        return Ok(exit_codes::DONE);
    }
    let frozen = match done.operations.len() {
        0 => "nothing was running".to_owned(),
        1 => "1 operation stands still".to_owned(),
        count => format!("{count} operations stand still"),
    };
    settings.ui.note(&format!(
        "sandbox: suspended '{}', {frozen} (let it go on with: sandbox resume)",
        core.name()
    ));
    if !done.by_signals.is_empty() {
        settings.ui.note(
            "sandbox: no cgroup can freeze them here, so signals have stopped them: a hostile command can go on",
        );
    }
    Ok(exit_codes::DONE)
}

pub(crate) fn resume(settings: &Settings) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let done = waiting::wait_for(core.resume())??;
    if settings.ui.is_json() {
        ui::print_json(&done)?;
        return Ok(exit_codes::DONE);
    }
    let ui = settings.ui;
    ui.note(&format!("sandbox: resumed '{}'", core.name()));
    let list = |ids: &[OperationId], what: &str| {
        for id in ids {
            ui.note(&format!("sandbox: {} {what}", describe::short(id)));
        }
    };
    list(&done.operations, "goes on");
    list(&done.ended, "was ended meanwhile; `sandbox log` shows how");
    list(
        &done.lost,
        "was lost: its process was killed, or the machine was started anew; its changes were dropped",
    );
    Ok(exit_codes::DONE)
}
