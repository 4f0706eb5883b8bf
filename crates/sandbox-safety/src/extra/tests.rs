//! Validators make verdicts stricter, whatever they do.

use sandbox_types::NetworkAccess;

use super::*;
use crate::Policy;
use crate::{Confinement, Profile, SafetyValidator, Surroundings};

/// Finds what it was told to find; `None` panics.
#[derive(Debug)]
struct Told(Option<Vec<RiskLevel>>);

impl Validator for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn validate(&self, _: &Operation, verdict: &Verdict) -> Vec<Finding> {
        let levels = self.0.as_ref().expect("told to panic");
        let found = levels.iter().map(|severity| Finding {
            rule: format!("told.after-{}", verdict.findings.len()),
            severity: *severity,
            effects: Vec::new(),
            message: "as told".to_owned(),
            evidence: String::new(),
            span: (0, 0),
            suggestion: None,
        });
        found.collect()
    }
}

fn judge(profile: Profile, text: &str, told: Vec<Told>) -> Verdict {
    let validators = told
        .into_iter()
        .map(|it| Arc::new(it) as Arc<dyn Validator>);
    let surroundings = Surroundings {
        confinement: Confinement::Sandboxed {
            network: NetworkAccess::None,
            transaction: true,
        },
        ..Surroundings::unconfined()
    };
    SafetyValidator::new(Policy::of(profile))
        .with_validators(validators.collect())
        .judge(&Operation::shell(text), &surroundings)
}

#[test]
fn what_a_validator_finds_counts_in_full() {
    use RiskLevel::{Critical, Low, Medium};
    for (told, decision) in [
        (vec![], Decision::Allow),
        (vec![Low], Decision::Allow),
        (vec![Low, Medium], Decision::Ask),
        (vec![Critical], Decision::Deny),
    ] {
        let verdict = judge(Profile::Default, "ls", vec![Told(Some(told.clone()))]);
        assert_eq!(verdict.decision, decision, "{told:?}");
        assert_eq!(verdict.findings.len(), told.len());
    }
    let audit = judge(Profile::Audit, "ls", vec![Told(Some(vec![Critical]))]);
    assert_eq!(audit.decision, Decision::Allow, "this profile never blocks");
}

#[test]
fn nothing_that_was_decided_becomes_less() {
    let verdict = judge(
        Profile::Default,
        "rm -rf /",
        vec![Told(Some(vec![RiskLevel::Low]))],
    );
    assert_eq!(verdict.decision, Decision::Deny);
    assert_eq!(verdict.findings[0].rule, "fs.delete-root");
}

#[test]
fn the_next_validator_sees_what_the_one_before_found() {
    let told = || Told(Some(vec![RiskLevel::Low]));
    let verdict = judge(Profile::Default, "ls", vec![told(), told()]);
    let rules: Vec<_> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
    assert_eq!(rules, ["told.after-0", "told.after-1"]);
}

#[test]
fn a_validator_that_panics_asks() {
    let verdict = judge(Profile::Default, "ls", vec![Told(None)]);
    assert_eq!(verdict.decision, Decision::Ask);
    assert_eq!(verdict.findings[0].rule, "validator.broken");
    assert!(verdict.findings[0].message.contains("told panicked"));
}
