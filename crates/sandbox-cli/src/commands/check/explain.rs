//! `check --explain`: how the decision came about, finding by finding.

use sandbox_core::Thresholds;
use sandbox_types::{Decision, Finding, RiskTerm, Verdict};

use crate::ui::one_line;

/// The widest evidence that is shown.
const EVIDENCE_WIDTH: usize = 100;

/// Returns the whole story of a verdict, with a line end.
pub(super) fn text(verdict: &Verdict, thresholds: Option<Thresholds>, in_sandbox: bool) -> String {
    let mut lines = Vec::new();
    let risk = |name: &str, risk: &sandbox_types::Risk| {
        format!("{name:<14} {} ({} of 100)", risk.level, risk.score)
    };
    let scores = verdict.terms.iter().map(|it| it.score).max();
    lines.push(risk("risk", &verdict.risk) + &sum(verdict.risk.score, scores));
    if in_sandbox {
        let scores = verdict.terms.iter().map(|it| it.residual_score).max();
        let residual = verdict.residual_risk;
        lines.push(risk("in the sandbox", &residual) + &sum(residual.score, scores));
    }
    lines.push(match thresholds {
        Some(Thresholds {
            ask_from,
            deny_from,
        }) => {
            format!("profile        asks from {ask_from}, denies from {deny_from}")
        }
        None => "profile        audit: reports and never blocks".to_owned(),
    });
    for command in &verdict.commands {
        let argv = one_line(&command.argv.join(" "), EVIDENCE_WIDTH);
        lines.push(format!("command        {}: {argv}", command.decision));
    }
    for (index, finding) in verdict.findings.iter().enumerate() {
        lines.push(String::new());
        let term = verdict
            .terms
            .get(index)
            .filter(|it| it.rule == finding.rule);
        finding_lines(finding, term, in_sandbox, &mut lines);
    }
    lines.push(String::new());
    lines.push(because(verdict, thresholds, in_sandbox));
    lines.join("\n") + "\n"
}

/// Says of what the score is made, if it is more than its strongest finding's.
fn sum(score: u8, strongest: Option<u8>) -> String {
    match strongest.and_then(|it| Some((it, score.checked_sub(it)?))) {
        Some((strongest, added)) if added > 0 => {
            format!(" = {strongest} + {added} for further classes of effects")
        }
        _ => String::new(),
    }
}

fn finding_lines(
    finding: &Finding,
    term: Option<&RiskTerm>,
    in_sandbox: bool,
    lines: &mut Vec<String>,
) {
    let (start, end) = finding.span;
    lines.push(format!("{} {}", finding.rule, finding.message));
    let evidence = one_line(&finding.evidence, EVIDENCE_WIDTH);
    lines.push(format!("  found      bytes {start} to {end}: {evidence}"));
    let effects: Vec<String> = finding
        .effects
        .iter()
        .filter_map(|it| serde_json::to_value(it).ok())
        .filter_map(|it| it.as_str().map(str::to_owned))
        .collect();
    if !effects.is_empty() {
        lines.push(format!("  effects    {}", effects.join(", ")));
    }
    if let Some(term) = term {
        let held = match term.held_by.as_deref() {
            Some("rollback") => "undo takes it back",
            Some("view") => "the sandbox does not show what it is about",
            Some("network") => "without network it cannot leave the machine",
            Some(_) | None => "nothing takes it back",
        };
        let score = if in_sandbox && term.residual_score != term.score {
            format!(
                "{}, in the sandbox {}: {held}",
                term.score, term.residual_score
            )
        } else {
            format!("{} ({held})", term.score)
        };
        lines.push(format!("  score      {score}"));
    }
    if let Some(suggestion) = &finding.suggestion {
        lines.push(format!("  safer      {suggestion}"));
    }
}

fn because(verdict: &Verdict, thresholds: Option<Thresholds>, in_sandbox: bool) -> String {
    let risk = if in_sandbox {
        verdict.residual_risk
    } else {
        verdict.risk
    };
    let has = |rule: &str| verdict.findings.iter().any(|it| it.rule == rule);
    let (denied, asked) = (has("policy.deny"), has("policy.ask"));
    let Some(thresholds) = thresholds else {
        return format!("{}: an audit never blocks", verdict.decision);
    };
    let why = match verdict.decision {
        Decision::Deny if denied => "a deny rule of the policy matches".to_owned(),
        Decision::Deny => format!(
            "a {} risk is refused, whatever confines it",
            verdict.risk.level
        ),
        Decision::Ask if asked && risk.score < thresholds.ask_from => {
            "an ask rule of the policy matches".to_owned()
        }
        Decision::Ask => format!(
            "a {} risk reaches the level from which the profile asks",
            risk.level
        ),
        Decision::Allow if verdict.findings.is_empty() => "nothing was found".to_owned(),
        Decision::Allow => format!(
            "a {} risk is below the level from which the profile asks",
            risk.level
        ),
    };
    format!("{}: {why}", verdict.decision)
}
