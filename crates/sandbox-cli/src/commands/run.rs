//! `sandbox run`: finds the sandbox, runs the operation, reports how it ended.

mod report_file;
mod request;
mod signals;
mod summary;
mod terminal;

use sandbox_core::{Cancellation, Overrides, SandboxCore};
use sandbox_types::{Decision, Operation, OperationReport};

use crate::{
    args::RunArgs,
    commands::{describe, waiting},
    exit_codes::{self, Place},
    failure::Failure,
    settings::{Found, Settings},
    ui::{self, Ui},
};
use report_file::ReportFile;
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
    let report_file = report_file.as_deref().map(ReportFile::open).transpose()?;
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
    let ended = execute(&core, &operation, caller)?;
    if let Some(failure) = core.event_file_failure() {
        ui.insist(&format!("sandbox: {}", ui::plain(&failure)));
    }
    Ok(tell(ui, &operation, ended, report_file, approval))
}

/// How an operation ended, which signal made us end it, and what failed on our side.
struct Ended {
    report: OperationReport,
    by: Option<u8>,
    failure: Option<Failure>,
}

/// Writes and prints the report. The operation is over: what fails from here on is said, and does
/// not change what became of it.
fn tell(
    ui: Ui,
    operation: &Operation,
    ended: Ended,
    report_file: Option<ReportFile>,
    approval: Approval,
) -> u8 {
    let report = &ended.report;
    let written = report_file.map_or(Ok(()), |file| file.write(report));
    let printed = if ui.is_json() {
        ui::print_json(report).map(drop)
    } else {
        if approval == Approval::Refused {
            ui.insist("sandbox: not approved; nothing was run");
        } else if ended.failure.is_none() {
            summary::print(ui, operation, report);
        }
        Ok(())
    };
    let untold = [written, printed].into_iter().filter_map(Result::err);
    let mut failed = ended.failure.as_ref().map(|failure| failure.kind);
    // With --json it is in the report.
    if let Some(failure) = ended.failure.filter(|_| !ui.is_json()) {
        ui.failure_to_person(&failure);
    }
    for failure in untold {
        failed = failed.or(Some(failure.kind));
        ui.failure_to_person(&failure.while_doing(summary::became(operation, report)));
    }
    match failed {
        Some(kind) if !exit_codes::reached_workspace(operation, report) => {
            exit_codes::of_failure(kind, Place::Run)
        }
        Some(_) | None => exit_codes::of_report(operation, report, ended.by),
    }
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

fn execute(core: &SandboxCore, operation: &Operation, caller: Terminal) -> Result<Ended, Failure> {
    let (cancel, reader) = (caller.cancel.clone(), caller.reader.clone());
    let runtime = waiting::runtime()?;
    let (report, by) = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut running =
            std::pin::pin!(core.execute_until(operation.clone(), caller, cancel.clone()));
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
    Ok(match report {
        Ok(report) => Ended {
            report,
            by,
            failure: None,
        },
        Err(error) => {
            let report = (*error.report).clone();
            let mut failure = Failure::from(error);
            if exit_codes::reached_workspace(operation, &report) {
                failure = failure.while_doing(summary::became(operation, &report));
            }
            Ended {
                report,
                by,
                failure: Some(failure),
            }
        }
    })
}
