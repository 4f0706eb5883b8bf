//! `sandbox destroy`: releases everything that is held for a sandbox.

use sandbox_core::{HeldChanges, WorkspaceFate};
use serde_json::json;

use crate::{
    args::DestroyArgs,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, plain},
};

pub(crate) fn run(settings: &Settings, args: &DestroyArgs) -> Result<u8, Failure> {
    let home = settings.home()?;
    let record = match &args.name {
        Some(name) => home.find(name)?,
        None => settings.find(&home)?,
    };
    let fate = if args.delete_workspace {
        WorkspaceFate::Delete
    } else {
        WorkspaceFate::Keep
    };
    let held = if args.force {
        HeldChanges::Lose
    } else {
        HeldChanges::Keep
    };
    home.destroy(&record, fate, held)?;
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "sandbox": record.name,
            "workspace": record.workspace,
            "workspace_deleted": args.delete_workspace,
        }))?;
        return Ok(exit_codes::DONE);
    }
    let workspace = plain(&record.workspace.to_string_lossy());
    let became = if args.delete_workspace {
        "deleted with it"
    } else {
        "kept as it is"
    };
    settings.ui.note(&format!(
        "sandbox: destroyed '{}'; {workspace} was {became}",
        record.name
    ));
    Ok(exit_codes::DONE)
}
