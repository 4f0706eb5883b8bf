//! `sandbox kill`: ends an operation that runs.

use sandbox_core::Kill;
use sandbox_types::Outcome;

use crate::{
    args::KillArgs,
    commands::{describe, meant, run::terminal::who, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn run(settings: &Settings, args: &KillArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let how = Kill {
        signal: args.signal,
        grace: args.grace,
    };
    let operation = match &args.operation {
        Some(operation) => operation.clone(),
        None => meant::only_running(&core)?,
    };
    let killed = core.kill(&operation, how, who());
    let entry = waiting::runtime_with_clock()?.block_on(killed)?;
    if settings.ui.is_json() {
        ui::print_json(&entry.report)?;
        return Ok(exit_codes::DONE);
    }
    let id = describe::short(&entry.id);
    settings
        .ui
        .note(&if entry.report.outcome == Outcome::Killed {
            format!("sandbox: killed {id}")
        } else {
            format!(
                "sandbox: {id} had ended: {}",
                describe::outcome(&entry.report)
            )
        });
    Ok(exit_codes::DONE)
}
