//! `sandbox wait`: waits for the end of an operation, and ends as it did.

use sandbox_core::{LogEntry, REVIEW_ASKED_FOR};
use sandbox_types::{Operation, OperationReport, Settlement};

use crate::{
    args::WaitArgs,
    commands::{describe, meant, run::summary, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui,
};

pub(crate) fn run(settings: &Settings, args: &WaitArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let operation = match &args.operation {
        Some(operation) => operation.clone(),
        None => meant::newest_to_wait_for(&core)?,
    };
    let ended = waiting::runtime_with_clock()?.block_on(async {
        let ended = core.wait(&operation);
        match args.timeout {
            Some(limit) => tokio::time::timeout(limit, ended).await.ok().transpose(),
            None => ended.await.map(Some),
        }
    })?;
    let ui = settings.ui;
    let Some(LogEntry { report, .. }) = ended else {
        ui.insist("sandbox: it has not ended in time, and runs on");
        return Ok(exit_codes::TIMED_OUT);
    };
    let operation = asked_for(&report);
    if ui.is_json() {
        ui::print_json(&report)?;
    } else {
        ui.note(&format!(
            "sandbox: {} ended: {}",
            describe::short(report.id()),
            describe::outcome(&report)
        ));
        summary::print(ui, &operation, &report);
    }
    Ok(exit_codes::of_report(&operation, &report, None))
}

/// Returns the request as far as the report tells it, and as exit codes depend on it.
fn asked_for(report: &OperationReport) -> Operation {
    let mut operation = Operation::command(report.operation.argv.iter().cloned());
    let changes = &report.changes;
    operation.review = changes.held_because.iter().any(|it| it == REVIEW_ASKED_FOR);
    operation.direct = changes.settlement == Settlement::None;
    operation
}
