//! `sandbox health`: how the sandbox is, and with `--repair` what was repaired.

use sandbox_core::{
    HealthOutcome, Repair, RepairBy, RepairEnd,
    monitor::{Checked, HealthState},
};
use serde_json::json;

use crate::{
    args::HealthArgs,
    commands::waiting,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui, inline, marks, one_line},
};

/// The widest finding on one line.
const DETAIL_WIDTH: usize = 300;

pub(crate) fn run(settings: &Settings, args: &HealthArgs) -> Result<u8, Failure> {
    let core = settings.open_to_examine()?;
    let outcome = if args.repair {
        waiting::wait_for(core.repair_health(RepairBy::Person))??
    } else {
        HealthOutcome {
            health: waiting::wait_for(core.health())?,
            repairs: Vec::new(),
        }
    };
    let health = &outcome.health;
    let code = if health.state < HealthState::Failed {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&json!({
            "sandbox": core.name(),
            "ok": code == exit_codes::DONE,
            "state": health.state,
            "checks": health.checks,
            "repairs": outcome.repairs,
        }))?;
        return Ok(code);
    }
    let mut text = String::new();
    for repair in &outcome.repairs {
        text.push_str(&repair_line(ui, repair));
    }
    for checked in &health.checks {
        text.push_str(&check_line(settings, checked));
    }
    ui::print(&text)?;
    let repairable = health.checks.iter().any(|it| it.recovery.is_some());
    if repairable && !args.repair {
        ui.note("sandbox: `sandbox health --repair` repairs what says so");
    }
    Ok(code)
}

pub(super) fn check_line(settings: &Settings, checked: &Checked) -> String {
    let ui = settings.ui;
    let marks = marks(&settings.host);
    let (mark, tone, word) = match checked.health.state {
        HealthState::Healthy => (marks.good, Tone::Good, "healthy"),
        HealthState::Degraded => (marks.bad, Tone::Warning, "degraded"),
        HealthState::Failed => (marks.bad, Tone::Bad, "failed"),
    };
    let mut line = format!(
        "{} {:<14} {word:<9} {}\n",
        ui.tone(tone, mark),
        checked.name,
        one_line(&checked.health.detail, DETAIL_WIDTH)
    );
    if let Some(recovery) = &checked.recovery {
        let repair = format!("    repair: {}\n", inline(recovery));
        line.push_str(&repair);
    }
    line
}

pub(super) fn repair_line(ui: Ui, repair: &Repair) -> String {
    let (tone, word, detail) = match &repair.end {
        RepairEnd::Done { detail } => (Tone::Good, "repaired", detail.clone()),
        RepairEnd::Failed { reason } => (Tone::Bad, "not repaired", reason.clone()),
        RepairEnd::NotBefore { at } => (Tone::Warning, "waits", format!("until {at}")),
        RepairEnd::GivenUp => (
            Tone::Bad,
            "given up",
            format!("after {} attempts", repair.attempts),
        ),
    };
    format!(
        "{} {}: {}\n",
        ui.tone(tone, word),
        repair.check,
        one_line(&detail, DETAIL_WIDTH)
    )
}
