//! `sandbox doctor`: what is enforced here, what is missing, and how to get it. With `--repair` also what was
//! repaired in the sandboxes of this user.

mod repair;

use std::env;

use sandbox_core::{
    Attacked, Cancellation, Diagnosis, Protection, Targets, Unattended, attack, diagnose,
};
use sandbox_types::{Enforcement, Level, Operation, Outcome};
use serde_json::json;

use crate::{
    args::DoctorArgs,
    commands::scratch::Scratch,
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Tone, Ui, inline, marks},
};

pub(crate) fn run(settings: &Settings, args: &DoctorArgs) -> Result<u8, Failure> {
    if !args.attack.is_empty() {
        let succeeded = attack(&args.attack).map_err(|error| Failure::of(Kind::Usage, &error))?;
        ui::print(&format!("{succeeded}\n"))?;
        return Ok(exit_codes::DONE);
    }
    let cancel = Cancellation::on_signals().map_err(|error| {
        Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
    })?;
    let trial = trial(settings, &cancel);
    // By now nothing of it is left.
    if let Some(signal) = cancel.signal().and_then(|it| u8::try_from(it).ok()) {
        return Ok(exit_codes::SIGNAL_BASE + signal);
    }
    cancel.give_signals_back();
    let diagnosis = match &trial {
        Ok(trial) => diagnose(Some(&trial.enforcement), &trial.attacks),
        Err(_) => diagnose(None, &[]),
    };
    let repaired = if args.repair {
        repair::all(settings)?
    } else {
        Vec::new()
    };
    let healthy =
        trial.is_ok() && diagnosis.can_confine() && repaired.iter().all(repair::Repaired::is_good);
    let ui = settings.ui;
    if ui.is_json() {
        let mut document = json!(diagnosis);
        document["ok"] = json!(healthy);
        document["trial"] = match &trial {
            Ok(trial) => json!({"ran": true, "enforcement": trial.enforcement}),
            Err(failure) => json!({"ran": false, "failure": failure}),
        };
        if args.repair {
            let done: Vec<_> = repaired.iter().map(repair::Repaired::document).collect();
            document["repaired"] = json!(done);
        }
        ui::print_json(&document)?;
    } else {
        let mut text = text(settings, &diagnosis, &trial);
        text.extend(repaired.iter().map(|it| it.text(settings)));
        if args.repair && repaired.is_empty() {
            text.push_str("there is no sandbox to repair\n");
        }
        ui::print(&text)?;
    }
    Ok(if healthy {
        exit_codes::DONE
    } else {
        exit_codes::NO
    })
}

/// A command that was confined and attacked the walls.
struct Trial {
    enforcement: Enforcement,
    attacks: Vec<Attacked>,
}

/// Confines this program in a temporary sandbox, where it attacks each wall, and does the same outside.
fn trial(settings: &Settings, cancel: &Cancellation) -> Result<Trial, Failure> {
    let failed = |error: std::io::Error| {
        Failure::of(Kind::Sandbox, &error).while_doing("cannot prepare the attacks")
    };
    let scratch = Scratch::new(&settings.host, "doctor")?;
    let targets = Targets::new(scratch.root()).map_err(failed)?;
    let program = env::current_exe().map_err(failed)?;
    let core = scratch.open(scratch.create()?)?;
    // It runs long enough for every limit to be in place.
    let script = "touch changed; \"$@\"; sleep 0.1";
    let mut argv = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    argv.extend([
        program.to_string_lossy().into_owned(),
        "doctor".to_owned(),
        "--attack".to_owned(),
    ]);
    argv.extend(targets.words().map_err(failed)?);
    let mut operation = Operation::command(argv);
    operation.review = true;
    operation.read.push(program);
    let report = core.execute_here(&operation, &mut Unattended, cancel);
    drop(core);
    let changed = scratch.workspace().join("changed").exists();
    let report = report?;
    let inside = String::from_utf8_lossy(&report.stdout.data).into_owned();
    let attacks = targets.compare(&inside, changed).map_err(failed)?;
    scratch.remove()?;
    if report.outcome == Outcome::Completed {
        return Ok(Trial {
            enforcement: report.enforcement,
            attacks,
        });
    }
    let mut failure = Failure::new(Kind::Sandbox, "the confined command did not succeed");
    failure.causes.extend(report.error);
    Err(failure)
}

fn text(settings: &Settings, diagnosis: &Diagnosis, trial: &Result<Trial, Failure>) -> String {
    let ui = settings.ui;
    let mut text = format!("kernel {}\n", inline(&diagnosis.kernel));
    for protection in &diagnosis.protections {
        text.push_str(&protection_lines(settings, protection));
    }
    match trial {
        Ok(trial) => {
            text.push_str("a command was confined, and attacked each layer that says so\n");
            for line in &trial.enforcement.missing {
                let line = format!("not enforced for it: {}\n", inline(line));
                text.push_str(&line);
            }
        }
        Err(failure) => {
            let line = format!(
                "{} no command can be confined: {}\n",
                ui.tone(Tone::Bad, marks(&settings.host).bad),
                inline(&failure.to_string())
            );
            text.push_str(&line);
        }
    }
    text
}

fn protection_lines(settings: &Settings, protection: &Protection) -> String {
    let marks = marks(&settings.host);
    let ui: Ui = settings.ui;
    let (mark, tone, word) = match protection.level {
        Level::Full => (marks.good, Tone::Good, "full"),
        Level::Partial => (marks.bad, Tone::Warning, "partial"),
        Level::Absent => (marks.bad, Tone::Bad, "absent"),
    };
    let mark = ui.tone(tone, mark);
    let mut text = format!(
        "{mark} {:<30} {word:<8} {}\n",
        protection.name,
        inline(&protection.by)
    );
    for attacked in &protection.attacks {
        let name = json!(attacked.attack);
        let name = name.as_str().unwrap_or_default().replace('_', " ");
        let line = match (attacked.inside, attacked.outside) {
            (true, _) => format!("    attack:  {name}: IT WORKS INSIDE\n"),
            (false, true) => format!("    attack:  {name}: works outside, fails inside\n"),
            (false, false) => {
                format!("    attack:  {name}: fails outside too, which proves nothing\n")
            }
        };
        text.push_str(&line);
    }
    if let Some(missing) = &protection.missing {
        let line = format!("    missing: {}\n", inline(missing));
        text.push_str(&line);
    }
    if let Some(remedy) = &protection.remedy {
        let line = format!("    get it:  {}\n", ui.tone(Tone::Strong, &inline(remedy)));
        text.push_str(&line);
    }
    text
}
