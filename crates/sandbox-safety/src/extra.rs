//! Rules of the embedding program's own, asked after ours. They can only make a verdict stricter.

use std::{
    fmt, panic,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use sandbox_types::{Decision, Effect, Finding, Operation, Risk, RiskLevel, RiskTerm, Verdict};

use crate::risk::{HIGH, LOW, MEDIUM, Thresholds};

/// How long a validator may take; one that takes longer counts as a finding that asks.
pub const VALIDATOR_TIME_MAX: Duration = Duration::from_secs(10);
/// The findings of one validator beyond these are dropped.
const FINDINGS_MAX: usize = 100;

/// A rule of the embedding program's own.
///
/// It sees the operation and the verdict so far, and adds findings. What it adds counts in full:
/// neither the confinement nor rollback is known to hold it. So `medium` asks and `critical` denies
/// under the default profile, and nothing that was asked or denied before becomes less. Its rule
/// ids should begin with a name of its own, as in `acme.no-friday-deploys`.
///
/// It runs on a thread of its own. A panic, and an answer that takes longer than
/// [`VALIDATOR_TIME_MAX`], are findings of medium severity: a broken rule asks, and never allows.
pub trait Validator: fmt::Debug + Send + Sync {
    /// Returns its name, for the findings about itself.
    fn name(&self) -> &str;

    /// Returns what it has to say about the operation; nothing if all is well.
    fn validate(&self, operation: &Operation, verdict: &Verdict) -> Vec<Finding>;
}

/// Asks every validator in turn.
pub(crate) fn ask(
    validators: &[Arc<dyn Validator>],
    thresholds: Option<Thresholds>,
    operation: &Operation,
    mut verdict: Verdict,
) -> Verdict {
    for validator in validators {
        let found = answer(validator, operation, &verdict);
        tighten(&mut verdict, thresholds, found);
    }
    verdict
}

fn answer(
    validator: &Arc<dyn Validator>,
    operation: &Operation,
    verdict: &Verdict,
) -> Vec<Finding> {
    let (send, receive) = mpsc::sync_channel(1);
    let (asked, operation, verdict) = (Arc::clone(validator), operation.clone(), verdict.clone());
    // One that never answers keeps its thread, and nothing else.
    let started = thread::Builder::new().spawn(move || {
        let validate = panic::AssertUnwindSafe(|| asked.validate(&operation, &verdict));
        let _heard = send.send(panic::catch_unwind(validate));
    });
    let answer = match started {
        Ok(_thread) => receive.recv_timeout(VALIDATOR_TIME_MAX),
        Err(_no_thread) => return vec![broken(validator, "cannot be started")],
    };
    match answer {
        Ok(Ok(found)) => found,
        Ok(Err(_panic)) => vec![broken(validator, "panicked")],
        Err(_timeout) => vec![broken(validator, "does not answer")],
    }
}

fn broken(validator: &Arc<dyn Validator>, what: &str) -> Finding {
    let name = panic::catch_unwind(panic::AssertUnwindSafe(|| validator.name().to_owned()));
    let name = name.unwrap_or_else(|_panic| "without a name".to_owned());
    Finding {
        rule: "validator.broken".to_owned(),
        severity: RiskLevel::Medium,
        effects: vec![Effect::ExecutesUnknown],
        message: format!("the validator {name} {what}, so nobody knows what it would say"),
        evidence: String::new(),
        span: (0, 0),
        suggestion: Some("repair the validator, or leave it out".to_owned()),
    }
}

/// Adds findings to a verdict. Risks and decision only rise.
fn tighten(verdict: &mut Verdict, thresholds: Option<Thresholds>, mut found: Vec<Finding>) {
    found.truncate(FINDINGS_MAX);
    let Some(worst) = found.iter().map(|it| it.severity).max() else {
        return;
    };
    let added = Risk::of_score(score(worst));
    let worse = |known: Risk| {
        if added.score > known.score {
            added
        } else {
            known
        }
    };
    verdict.risk = worse(verdict.risk);
    verdict.residual_risk = worse(verdict.residual_risk);
    verdict.terms.extend(found.iter().map(|it| RiskTerm {
        rule: it.rule.clone(),
        score: score(it.severity),
        residual_score: score(it.severity),
        held_by: None,
    }));
    verdict.findings.extend(found);
    // Strongest first, as it was.
    verdict
        .findings
        .sort_by_key(|it| std::cmp::Reverse(it.severity));
    let level = |it: &RiskTerm| std::cmp::Reverse(RiskLevel::of_score(it.score));
    verdict.terms.sort_by_key(level);
    let decision = thresholds.map_or(Decision::Allow, |it| {
        it.decide(verdict.risk.score, verdict.residual_risk.score)
    });
    verdict.decision = verdict.decision.max(decision);
}

/// Returns the score that findings of ours have at that level.
const fn score(level: RiskLevel) -> u8 {
    match level {
        RiskLevel::None => 0,
        RiskLevel::Low => LOW,
        RiskLevel::Medium => MEDIUM,
        RiskLevel::High => HIGH,
        RiskLevel::Critical => crate::risk::CRITICAL,
    }
}

#[cfg(test)]
mod tests;
