//! `sandbox doctor --repair`: what `sandbox health --repair` does, in every sandbox of this user.

use sandbox_core::{
    HealthOutcome, Home, Overrides, RepairBy, RepairEnd, SandboxRecord, monitor::HealthState,
};
use sandbox_types::SandboxName;
use serde_json::{Value, json};

use crate::{
    commands::{health, waiting},
    failure::Failure,
    settings::Settings,
    ui::{Tone, inline, marks},
};

/// What was done in one sandbox.
pub(super) struct Repaired {
    sandbox: SandboxName,
    outcome: Result<HealthOutcome, Failure>,
}

/// Repairs each sandbox. One that cannot be opened keeps no other from being repaired.
pub(super) fn all(settings: &Settings) -> Result<Vec<Repaired>, Failure> {
    let home = settings.home()?;
    let records = home.list()?;
    let repaired = records.into_iter().map(|record| Repaired {
        sandbox: record.name.clone(),
        outcome: one(&home, record),
    });
    Ok(repaired.collect())
}

fn one(home: &Home, record: SandboxRecord) -> Result<HealthOutcome, Failure> {
    let core = home.open_to_examine(record, &Overrides::default())?;
    Ok(waiting::wait_for(core.repair_health(RepairBy::Person))??)
}

impl Repaired {
    /// Returns whether nothing has failed there, now.
    pub(super) fn is_good(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|outcome| {
            let done = |end: &RepairEnd| matches!(end, RepairEnd::Done { .. });
            outcome.health.state < HealthState::Failed
                && outcome.repairs.iter().all(|it| done(&it.end))
        })
    }

    pub(super) fn document(&self) -> Value {
        match &self.outcome {
            Ok(outcome) => json!({
                "sandbox": self.sandbox,
                "ok": self.is_good(),
                "state": outcome.health.state,
                "repairs": outcome.repairs,
                "checks": outcome.health.checks,
            }),
            Err(failure) => json!({"sandbox": self.sandbox, "ok": false, "failure": failure}),
        }
    }

    /// Says what was done, and what is not healthy after it.
    pub(super) fn text(&self, settings: &Settings) -> String {
        let ui = settings.ui;
        let name = ui.tone(Tone::Strong, self.sandbox.as_str());
        let outcome = match &self.outcome {
            Ok(outcome) => outcome,
            Err(failure) => {
                let mark = ui.tone(Tone::Bad, marks(&settings.host).bad);
                return format!(
                    "{mark} {name}: cannot be repaired: {}\n",
                    inline(&failure.to_string())
                );
            }
        };
        let ill = outcome.health.checks.iter();
        let ill: Vec<_> = ill
            .filter(|it| it.health.state != HealthState::Healthy)
            .collect();
        if outcome.repairs.is_empty() && ill.is_empty() {
            let mark = ui.tone(Tone::Good, marks(&settings.host).good);
            return format!("{mark} {name}: nothing to repair\n");
        }
        let mut text = format!("{name}:\n");
        for repair in &outcome.repairs {
            text.push_str(&health::repair_line(ui, repair));
        }
        for checked in ill {
            text.push_str(&health::check_line(settings, checked));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn a_sandbox_that_cannot_be_opened_is_not_good() {
        let repaired = Repaired {
            sandbox: "one".parse().unwrap(),
            outcome: Err(Failure::new(Kind::Sandbox, "cannot open it")),
        };
        assert!(!repaired.is_good());
        let document = repaired.document();
        assert_eq!(document["sandbox"], "one");
        assert_eq!(document["ok"], false);
        assert!(document["failure"].is_object());
    }
}
