//! `sandbox check`: the verdict only; nothing is run.

mod explain;

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    os::fd::AsFd as _,
    path::PathBuf,
};

use sandbox_core::{Judge, Overrides, config_layers::operation_from_text};
use sandbox_types::{Decision, Operation, SandboxConfig, Verdict};

use crate::{
    args::{CheckArgs, JudgedBy},
    commands::{describe, input, policy},
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, current_directory},
    ui::{self, Reader, one_line},
};

/// The widest command that is shown beside its verdict.
const COMMAND_WIDTH: usize = 100;

pub(crate) fn run(settings: &Settings, args: &CheckArgs) -> Result<u8, Failure> {
    let judge = judge(settings, &args.by)?;
    if args.stdin {
        return check_lines(settings, &judge);
    }
    let verdict = judge.judge(&operation(args)?);
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&verdict)?;
    } else if args.explain {
        ui::print(&explain::text(
            &verdict,
            judge.thresholds(),
            args.by.in_sandbox,
        ))?;
    } else {
        let text = describe::verdict(&verdict, |tone, text| ui.tone(tone, text));
        ui::print(&format!("{text}\n"))?;
    }
    Ok(code(verdict.decision))
}

/// Returns the judge that the arguments ask for.
pub(super) fn judge(settings: &Settings, args: &JudgedBy) -> Result<Judge, Failure> {
    let (workspace, mut config) = place(settings, args)?;
    let more = policy::packs(&args.rules)?;
    config.safety_constraints.rules.extend(more);
    let home = &settings.host.home;
    Ok(if args.in_sandbox {
        Judge::in_sandbox(&config, &workspace, home)?
    } else {
        Judge::unconfined(&config, &workspace, home)?
    })
}

/// Returns the workspace and configuration to judge by: of a sandbox, if there is one here.
fn place(settings: &Settings, args: &JudgedBy) -> Result<(PathBuf, SandboxConfig), Failure> {
    let overrides = Overrides {
        file: args.config.clone(),
        ..Overrides::default()
    };
    // A command can be judged wherever one stands, also where a directory was removed.
    let (directory, is_there) = match current_directory() {
        Ok(directory) => (directory, true),
        Err(_) => (PathBuf::from("/"), false),
    };
    // A check needs no data directory; only a sandbox that was named must be there.
    let home = match (settings.home(), settings.name()?) {
        (Ok(home), _) => home,
        (Err(failure), Some(_)) => return Err(failure),
        (Err(_), None) => sandbox_core::Home::new(settings.host.clone()),
    };
    let record = match settings.find(&home) {
        Ok(record) => Some(record),
        Err(failure) if failure.kind == Kind::NotFound && settings.name()?.is_none() => None,
        Err(_) if !is_there && settings.name()?.is_none() => None,
        Err(failure) => return Err(failure),
    };
    let config = home.effective_config(record.as_ref(), &overrides)?.config;
    Ok((record.map_or(directory, |record| record.workspace), config))
}

fn operation(args: &CheckArgs) -> Result<Operation, Failure> {
    if let Some(text) = &args.shell {
        return Ok(Operation::shell(text));
    }
    if let Some(path) = &args.operation {
        return Ok(operation_from_text(
            &input::read_text(path)?,
            &input::name(path),
        )?);
    }
    if let Some(path) = &args.script {
        return Ok(Operation::shell(input::read_text(path)?));
    }
    if args.command.iter().all(String::is_empty) {
        return Err(Failure::new(Kind::Usage, "the command is empty")
            .hint("give a command, as in `sandbox check -- rm -rf build`"));
    }
    Ok(Operation::command(args.command.iter().cloned()))
}

/// Judges each line by itself; returns the code of the strictest verdict.
fn check_lines(settings: &Settings, judge: &Judge) -> Result<u8, Failure> {
    let failed = |error: io::Error| {
        Failure::of(Kind::Usage, &error)
            .while_doing("cannot read standard input")
            .hint("write one command a line to it")
    };
    // With a buffer of our own we know whether more lines have come already.
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let mut stdin = BufReader::new(File::from(stdin));
    let mut strictest = Decision::Allow;
    let mut printed = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = stdin.read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let verdict = judge.judge(&Operation::shell(text));
        strictest = strictest.max(verdict.decision);
        printed.push_str(&verdict_line(settings, text, &verdict)?);
        // One write for what came at once; a program that waits for its answer gets it at once.
        if stdin.buffer().is_empty() || printed.len() > OUTPUT_HELD_BYTES {
            if ui::print(&printed)? == Reader::Gone {
                return Ok(code(strictest));
            }
            printed.clear();
        }
    }
    ui::print(&printed)?;
    Ok(code(strictest))
}

/// The most bytes of verdicts that wait for being written together.
const OUTPUT_HELD_BYTES: usize = 64 * 1024;

fn verdict_line(settings: &Settings, text: &str, verdict: &Verdict) -> Result<String, Failure> {
    if settings.ui.is_json() {
        let line = serde_json::to_string(verdict).map_err(|error| {
            Failure::of(Kind::Internal, &error).while_doing("cannot write the verdict as JSON")
        })?;
        let mut line = ui::inert_json(line);
        line.push('\n');
        return Ok(line);
    }
    let decision = verdict.decision.to_string();
    let rules: Vec<&str> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
    Ok(format!(
        "{}{} {:>3}  {}  {}\n",
        settings
            .ui
            .tone(describe::decision_tone(verdict.decision), &decision),
        " ".repeat(6_usize.saturating_sub(decision.len())),
        verdict.risk.score,
        one_line(text, COMMAND_WIDTH),
        rules.join(" "),
    ))
}

fn code(decision: Decision) -> u8 {
    match decision {
        Decision::Allow => exit_codes::DONE,
        Decision::Ask => exit_codes::ASK,
        Decision::Deny => exit_codes::DENY,
    }
}
