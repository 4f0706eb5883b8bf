//! `sandbox run`: finds the sandbox, runs the operation, reports how it ended.

mod detach;
mod outlet;
mod report_file;
mod request;
pub(crate) mod summary;
pub(crate) mod terminal;

use std::{fs, os::unix::fs::MetadataExt as _};

use sandbox_core::{Approved, Cancellation, Kill, Overrides, RunError, SandboxCore, SandboxRecord};
use sandbox_types::{Operation, OperationReport};

use crate::{
    args::RunArgs,
    commands::{describe, session, waiting},
    exit_codes::{self, Place},
    failure::{Failure, Kind},
    settings::{Found, Settings, absolute},
    ui::{self, Offered, Said, Tone, Ui},
};
use detach::Detached;
pub(crate) use detach::supervise;
use report_file::ReportFile;
use terminal::{Approval, Terminal};

pub(crate) fn run(settings: &Settings, mut args: RunArgs) -> Result<u8, Failure> {
    let ui = settings.ui;
    let home = settings.home()?;
    let home = if args.no_session {
        home
    } else {
        home.with_sessions(session::keeper())
    };
    let overrides = Overrides {
        file: args.config.take(),
        flags: request::flags(&mut args)?,
    };
    let workspace = args.workspace.take();
    let report_path = args.report.take();
    let report_path = report_path
        .map(|it| request::report_path(ui, it))
        .transpose()?;
    let report_file = report_path
        .as_deref()
        .map(|path| ReportFile::open(&home, path))
        .transpose()?;
    let (yes, tty, detach) = (args.yes, args.tty, args.detach);
    let is_document = args.operation.is_some();
    let mut operation = request::operation(ui, args, &settings.host)?;

    if tty {
        request::check_tty(ui, &operation)?;
    }
    let config = overrides.file.as_deref().map(absolute).transpose()?;

    let Found { record, made } =
        settings.find_or_create(&home, workspace.as_deref(), &overrides)?;
    if made {
        tell_made(ui, &record);
    }
    let core = settings.open_record(&home, record, &overrides)?;
    if is_document {
        // It may bring a name.
        core.check_unused(&operation.id)?;
    }
    request::stand(&mut operation, core.workspace(), workspace.as_deref())?;

    let approval = if yes {
        Approval::Given
    } else {
        ask(ui, &core, &operation)?
    };
    forewarn(ui, &core, &operation);
    if detach {
        let request = detach::Request {
            sandbox: core.name().clone(),
            config,
            report: report_path,
            operation: operation.clone(),
            approval,
        };
        drop(core);
        return Ok(match detach::start(ui, request)? {
            Detached::Runs => exit_codes::DONE,
            Detached::Ended(ended) => tell(ui, &operation, *ended, report_file, approval),
        });
    }
    let cancel = cancellation()?;
    let caller = Terminal::new(ui, approval, &cancel).with_tty(tty);
    let ended = execute(&core, Task::Asked(&operation), caller, &cancel)?;
    if let Some(failure) = core.event_file_failure() {
        ui.insist(&format!("sandbox: {}", ui::inline(&failure)));
    }
    let code = tell(ui, &operation, ended, report_file, approval);
    core.keep_ready();
    Ok(code)
}

/// Says which sandbox was made on the way.
fn tell_made(ui: Ui, record: &SandboxRecord) {
    let name = &record.name;
    ui.note(&format!(
        "sandbox: made '{name}' for {}",
        ui::inline(&record.workspace.to_string_lossy())
    ));
    tell_if_shared(ui, record);
}

/// Runs a request that was approved, and tells how it ended as `run` does.
pub(crate) fn approved(ui: Ui, core: &SandboxCore, approved: Approved) -> Result<u8, Failure> {
    let operation = approved.operation().clone();
    forewarn(ui, core, &operation);
    let approval = Approval::Given;
    let cancel = cancellation()?;
    let caller = Terminal::new(ui, approval, &cancel);
    let ended = execute(core, Task::Approved(Box::new(approved)), caller, &cancel)?;
    Ok(tell(ui, &operation, ended, None, approval))
}

/// Says what it means that a directory became a workspace in which everybody may make files: `cd /tmp` is typed easily.
fn tell_if_shared(ui: Ui, record: &SandboxRecord) {
    const WRITABLE_FOR_ALL: u32 = 0o002;
    let mode = fs::metadata(&record.workspace).map_or(0, |it| it.mode());
    if mode & WRITABLE_FOR_ALL != 0 {
        let name = &record.name;
        ui.insist(&format!(
            "sandbox: everybody may write to this directory, and all below it belongs to '{name}' from now on; if that was not meant: sandbox destroy {name}"
        ));
    }
}

/// Says before anything runs that it has no transaction, which nobody asked for.
fn forewarn(ui: Ui, core: &SandboxCore, operation: &Operation) {
    if let Some(reason) = core.writes_directly_because(operation) {
        ui.note(&format!(
            "sandbox: no transaction: {}, so the command writes to the workspace directly, with a snapshot taken before; no rule looks at its changes",
            ui::inline(reason)
        ));
    }
}

/// What is executed.
enum Task<'a> {
    Asked(&'a Operation),
    Approved(Box<Approved>),
}

/// How an operation ended, which signal made us end it, and what failed on our side.
struct Ended {
    report: OperationReport,
    by: Option<u8>,
    failure: Option<Failure>,
    /// Whether nobody reads what we would say, and saying it would wait for that.
    mute: bool,
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
        if ended.mute {
            // It is in the journal.
        } else if approval == Approval::Refused {
            ui.insist("sandbox: denied; nothing was run");
        } else if ended.failure.is_none() {
            summary::print(ui, operation, report);
        }
        Ok(())
    };
    let failed = ended.failure.as_ref().map(|failure| failure.kind);
    // With --json it is in the report.
    if let Some(failure) = ended.failure.filter(|_| !ui.is_json() && !ended.mute) {
        ui.failure_to_person(&failure);
    }
    let untold: Vec<Failure> = [written, printed]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    let is_told = untold.is_empty();
    for failure in untold {
        ui.failure_to_person(&failure.while_doing(summary::became(operation, report)));
    }
    let has_reached = exit_codes::reached_workspace(operation, report);
    let code = match failed {
        Some(kind) if !has_reached => exit_codes::of_failure(kind, Place::Run),
        Some(_) | None => exit_codes::of_report(operation, report, ended.by),
    };
    if code == exit_codes::DONE && !is_told {
        return exit_codes::of_untold(has_reached);
    }
    code
}

/// Asks before anything starts, so that Ctrl-C at the question is simply a no.
fn ask(ui: Ui, core: &SandboxCore, operation: &Operation) -> Result<Approval, Failure> {
    if ui.is_json() || !ui::somebody_is_there() {
        return Ok(Approval::Missing);
    }
    let Some(verdict) = core.needs_approval(operation) else {
        return Ok(Approval::Missing);
    };
    let command = describe::command(&operation.action.argv(), COMMAND_WIDTH);
    let verdict = describe::verdict(&verdict, |tone, text| ui.error_tone(tone, text));
    ui.insist(&format!(
        "{}\n{verdict}",
        ui.error_tone(Tone::Strong, &command)
    ));
    let offered = match core.not_remembered_because(operation) {
        None => Offered::OnceOrAlways,
        Some(why) => {
            ui.insist(&format!("It cannot be approved for always: {why}"));
            Offered::Once
        }
    };
    let cancel = cancellation()?;
    let said = ui::ask("Run it?", offered, &cancel);
    // What ends the question is the answer to it, and ends nothing else.
    cancel.give_signals_back();
    Ok(match said {
        Said::Yes => Approval::Given,
        Said::Always => Approval::Remembered,
        Said::No => Approval::Refused,
    })
}

/// The widest command that is shown with a question.
const COMMAND_WIDTH: usize = 1000;

/// What ends a run from outside: the command hears of it, and has as long as `sandbox kill` gives it.
pub(crate) fn cancellation() -> Result<Cancellation, Failure> {
    Cancellation::on_signals_within(Kill::default().grace).map_err(|error| {
        Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
    })
}

fn execute(
    core: &SandboxCore,
    task: Task<'_>,
    mut caller: Terminal,
    cancel: &Cancellation,
) -> Result<Ended, Failure> {
    let readers = caller.readers();
    keep_secrets(&task);
    let operation = match &task {
        Task::Asked(operation) => (*operation).clone(),
        Task::Approved(approved) => approved.operation().clone(),
    };
    let ran = match task {
        // On this thread, without a runtime: a run that takes milliseconds would wait for it as long.
        Task::Asked(operation) => {
            let ran = core.execute_here(operation, &mut caller, cancel);
            // All that the command printed, before anything of ours.
            drop(caller);
            ran
        }
        Task::Approved(approved) => {
            waiting::wait_for(core.execute_approved(*approved, caller, cancel.clone()))?
        }
    };
    let by = cancel.signal().and_then(|number| u8::try_from(number).ok());
    let by = by.or(readers
        .are_gone()
        .then_some(exit_codes::READER_GONE - exit_codes::SIGNAL_BASE));
    // What we still have to say may wait for who reads it: Ctrl-C ends that.
    cancel.give_signals_back();
    let mut ended = ended(&operation, ran, by);
    ended.mute = by.is_some() && outlet::would_wait();
    Ok(ended)
}

/// Secrets pass through this process.
fn keep_secrets(task: &Task<'_>) {
    let operation = match task {
        Task::Asked(operation) => operation,
        Task::Approved(approved) => approved.operation(),
    };
    if !operation.secrets.is_empty() {
        sandbox_core::without_core_dumps();
    }
}

/// Puts together how an operation ended.
fn ended(operation: &Operation, ran: Result<OperationReport, RunError>, by: Option<u8>) -> Ended {
    let (report, failure) = match ran {
        Ok(report) => (report, None),
        Err(error) => {
            let report = (*error.report).clone();
            let mut failure = Failure::from(error);
            if exit_codes::reached_workspace(operation, &report) {
                failure = failure.while_doing(summary::became(operation, &report));
            }
            (report, Some(failure))
        }
    };
    Ended {
        report,
        by,
        failure,
        mute: false,
    }
}
