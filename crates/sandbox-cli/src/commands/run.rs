//! `sandbox run`: finds the sandbox, runs the operation, reports how it ended.

mod request;
mod signals;
mod summary;
mod terminal;

use std::{fs, path::Path};

use sandbox_core::{Cancellation, Overrides, SandboxCore};
use sandbox_types::{Decision, Operation, OperationReport};

use crate::{
    args::RunArgs,
    commands::{describe, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::{Found, Settings, absolute},
    ui::{self, Ui},
};
use signals::Signals;
use terminal::{Approval, ReaderGone, Terminal};

pub(crate) fn run(settings: &Settings, mut args: RunArgs) -> Result<u8, Failure> {
    let ui = settings.ui;
    let home = settings.home()?;
    let overrides = Overrides {
        file: args.config.take(),
        ..Overrides::default()
    };
    let workspace = args.workspace.take();
    let report_file = args.report.take();
    let yes = args.yes;
    let mut operation = request::operation(args, &settings.host)?;

    let Found { record, made } =
        settings.find_or_create(&home, workspace.as_deref(), &overrides)?;
    if made {
        let name = &record.name;
        ui.note(&format!(
            "sandbox: made '{name}' for {}",
            ui::plain(&record.workspace.to_string_lossy())
        ));
    }
    let core = settings.open_record(&home, record, &overrides)?;
    request::stand(&mut operation, core.workspace(), workspace.as_deref())?;

    let approval = if yes {
        Approval::Given
    } else {
        ask(ui, &core, &operation)
    };
    let caller = Terminal {
        ui,
        approval,
        cancel: Cancellation::new(),
        reader: ReaderGone::default(),
    };
    let ended = execute(&core, operation.clone(), caller)?;
    if let Some(path) = report_file {
        write_report(&ended.report, &path)?;
    }
    if ui.is_json() {
        ui::print_json(&ended.report)?;
    } else if approval == Approval::Refused {
        ui.insist("sandbox: not approved; nothing was run");
    } else {
        summary::print(ui, &operation, &ended.report);
    }
    Ok(exit_codes::of_report(&ended.report, ended.by))
}

/// How an operation ended, and which signal made us end it.
struct Ended {
    report: OperationReport,
    by: Option<u8>,
}

/// Asks before anything starts, so that Ctrl-C at the question is simply a no.
fn ask(ui: Ui, core: &SandboxCore, operation: &Operation) -> Approval {
    if ui.is_json() || !ui::somebody_is_there() {
        return Approval::Missing;
    }
    let verdict = core.judge(operation);
    if verdict.decision != Decision::Ask {
        return Approval::Missing;
    }
    ui.insist(&describe::verdict(&verdict, |tone, text| {
        ui.error_tone(tone, text)
    }));
    if ui::confirm("Run it?") {
        Approval::Given
    } else {
        Approval::Refused
    }
}

fn execute(core: &SandboxCore, operation: Operation, caller: Terminal) -> Result<Ended, Failure> {
    let (cancel, reader) = (caller.cancel.clone(), caller.reader.clone());
    let runtime = waiting::runtime()?;
    let (report, by) = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut running = std::pin::pin!(core.execute_until(operation, caller, cancel.clone()));
        let mut by = None;
        loop {
            tokio::select! {
                biased;
                report = &mut running => return Ok::<_, Failure>((report, by)),
                number = signals.next() => {
                    by = by.or(Some(number));
                    cancel.cancel();
                }
            }
        }
    })?;
    let by = by.or(reader
        .is_gone()
        .then_some(exit_codes::READER_GONE - exit_codes::SIGNAL_BASE));
    Ok(Ended {
        report: report?,
        by,
    })
}

fn write_report(report: &OperationReport, path: &Path) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(|error| {
        Failure::of(Kind::Internal, &error).while_doing("cannot write the report as JSON")
    })?;
    text.push('\n');
    let path = absolute(path)?;
    fs::write(&path, text).map_err(|error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing(format!(
                "the operation ended, and its report cannot be written to {}",
                path.display()
            ))
            .hint(format!("`sandbox show {}` prints it", report.id()))
    })
}
