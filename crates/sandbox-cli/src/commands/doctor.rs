//! `sandbox doctor`: what is enforced here, what is missing, and how to get it.

use sandbox_core::{Diagnosis, Protection, diagnose};
use sandbox_types::{Enforcement, Level, Operation, Outcome};
use serde_json::json;

use crate::{
    commands::{scratch::Scratch, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Tone, Ui, marks, plain},
};

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let trial = trial(settings);
    let diagnosis = diagnose(trial.as_ref().ok());
    let healthy = trial.is_ok() && diagnosis.can_confine();
    let ui = settings.ui;
    if ui.is_json() {
        let mut document = json!(diagnosis);
        document["ok"] = json!(healthy);
        document["trial"] = match &trial {
            Ok(enforcement) => json!({"ran": true, "enforcement": enforcement}),
            Err(failure) => json!({"ran": false, "failure": failure}),
        };
        ui::print_json(&document)?;
    } else {
        ui::print(&text(settings, &diagnosis, &trial))?;
    }
    Ok(if healthy {
        exit_codes::DONE
    } else {
        exit_codes::NO
    })
}

/// Runs long enough for every limit to be in place.
const TRIAL: [&str; 2] = ["sleep", "0.1"];

/// Confines a command in a temporary sandbox, and returns what really held.
fn trial(settings: &Settings) -> Result<Enforcement, Failure> {
    let scratch = Scratch::new(&settings.host, "doctor")?;
    let core = scratch.open(scratch.create()?)?;
    let report = waiting::wait_for(core.execute(Operation::command(TRIAL)))?;
    drop(core);
    scratch.remove()?;
    let report = report?;
    if report.outcome == Outcome::Completed {
        return Ok(report.enforcement);
    }
    let mut failure = Failure::new(Kind::Sandbox, "the confined command did not succeed");
    failure.causes.extend(report.error);
    Err(failure)
}

fn text(
    settings: &Settings,
    diagnosis: &Diagnosis,
    trial: &Result<Enforcement, Failure>,
) -> String {
    let ui = settings.ui;
    let mut text = format!("kernel {}\n", plain(&diagnosis.kernel));
    for protection in &diagnosis.protections {
        text.push_str(&protection_lines(settings, protection));
    }
    match trial {
        Ok(enforcement) => {
            text.push_str("a command was confined and ended well\n");
            for line in &enforcement.missing {
                let line = format!("not enforced for it: {}\n", plain(line));
                text.push_str(&line);
            }
        }
        Err(failure) => {
            let line = format!(
                "{} no command can be confined: {}\n",
                ui.tone(Tone::Bad, marks(&settings.host).bad),
                plain(&failure.to_string())
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
        plain(&protection.by)
    );
    if let Some(missing) = &protection.missing {
        let line = format!("    missing: {}\n", plain(missing));
        text.push_str(&line);
    }
    if let Some(remedy) = &protection.remedy {
        let line = format!("    get it:  {}\n", ui.tone(Tone::Strong, &plain(remedy)));
        text.push_str(&line);
    }
    text
}
