//! Words for people about verdicts, changes and operations.

use std::path::{Path, PathBuf};

use sandbox_core::KeptEdit;
use sandbox_types::{
    Alert, ApprovalId, Bytes, Change, ChangeKind, ChangeSummary, ContentFinding, Decision,
    NetworkDecision, NetworkReport, OperationId, OperationReport, Outcome, RiskLevel, Settlement,
    Usage, Verdict,
};

use crate::ui::{Tone, inline, one_line};

/// The length of a generated id: 32 hexadecimal digits and 4 hyphens.
const GENERATED_ID_LENGTH: usize = 36;
/// How much of the end of a generated id is shown: it is random, so it is unique in practice.
const SHORT_ID_LENGTH: usize = 8;
/// The widest piece of evidence that is shown.
const EVIDENCE_WIDTH: usize = 100;

/// Returns a name for the operation that can be typed.
pub(crate) fn short(id: &OperationId) -> &str {
    shortened(id.as_str())
}

/// Returns a name for the request or rule that can be typed.
pub(crate) fn short_approval(id: &ApprovalId) -> &str {
    shortened(id.as_str())
}

fn shortened(text: &str) -> &str {
    let generated = text.len() == GENERATED_ID_LENGTH && text.matches('-').count() == 4;
    if generated {
        &text[GENERATED_ID_LENGTH - SHORT_ID_LENGTH..]
    } else {
        text
    }
}

/// Returns the verdict with its findings, without a line end.
pub(crate) fn verdict(verdict: &Verdict, tone: impl Fn(Tone, &str) -> String) -> String {
    let decision = verdict.decision;
    let mut text = format!(
        "{}: risk {} ({})",
        tone(decision_tone(decision), &decision.to_string()),
        verdict.risk.level,
        verdict.risk.score
    );
    if verdict.residual_risk != verdict.risk {
        let residual = verdict.residual_risk;
        let inside = format!(
            ", inside the sandbox {} ({})",
            residual.level, residual.score
        );
        text.push_str(&inside);
    }
    for finding in &verdict.findings {
        let line = format!(
            "\n  {} {}: {}",
            tone(
                severity_tone(finding.severity),
                &finding.severity.to_string()
            ),
            tone(Tone::Strong, &finding.rule),
            inline(&finding.message)
        );
        text.push_str(&line);
        if !finding.evidence.is_empty() {
            text.push_str("\n    in: ");
            text.push_str(&one_line(&finding.evidence, EVIDENCE_WIDTH));
        }
        if let Some(suggestion) = &finding.suggestion {
            text.push_str("\n    instead: ");
            text.push_str(&inline(suggestion));
        }
    }
    text
}

/// Returns `path:line:column: severity [rule] message`, as compilers write it.
pub(crate) fn content_finding(
    finding: &ContentFinding,
    tone: impl Fn(Tone, &str) -> String,
) -> String {
    format!(
        "{}:{}:{}: {} [{}] {}",
        inline(&finding.path.to_string_lossy()),
        finding.line,
        finding.column,
        tone(
            severity_tone(finding.severity),
            &finding.severity.to_string()
        ),
        finding.rule,
        inline(&finding.message)
    )
}

/// Returns `1 snapshot`, `2 snapshots`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = match count {
        1 => "",
        _ if what.ends_with('x') => "es",
        _ => "s",
    };
    format!("{count} {what}{plural}")
}

/// Returns `3 created, 1 modified`, or `None` when nothing changed.
pub(crate) fn counts(changes: &ChangeSummary) -> Option<String> {
    let counted = [
        (changes.created, "created"),
        (changes.modified, "modified"),
        (changes.deleted, "deleted"),
        (changes.renamed, "renamed"),
    ];
    let parts: Vec<String> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns one line for all connections that were allowed, and one for each that failed. Refused ones are violations.
pub(crate) fn connections(network: &NetworkReport, usage: &Usage) -> Vec<String> {
    let of = |decision| {
        network
            .connections
            .iter()
            .filter(move |it| it.decision == decision)
    };
    let count = of(NetworkDecision::Allowed).count();
    let plural = if count == 1 { "" } else { "s" };
    let more = if network.truncated { " or more" } else { "" };
    let mut lines = vec![format!(
        "{count}{more} connection{plural}, {} received, {} sent",
        Bytes(usage.net_rx_bytes),
        Bytes(usage.net_tx_bytes)
    )];
    lines.extend(of(NetworkDecision::Failed).map(|it| {
        let host = it
            .name
            .as_deref()
            .or(it.address.as_deref())
            .unwrap_or_default();
        let reason = it.reason.as_deref().unwrap_or_default();
        format!("{host} port {}: {reason}", it.port)
    }));
    lines
}

/// Returns one line for each changed path, with its line end.
pub(crate) fn changed_paths(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let letter = match change.kind {
            ChangeKind::Created => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
            ChangeKind::Metadata => 'm',
            ChangeKind::Renamed => 'R',
        };
        let shown = |path: &Path| inline(&path.to_string_lossy());
        let path = shown(&change.path);
        let line = match change.from.as_deref().filter(|_| letter == 'R') {
            Some(from) => format!("  R {} -> {path}\n", shown(from)),
            None => format!("  {letter} {path}\n"),
        };
        text.push_str(&line);
    }
    text
}

/// Returns one line for each path that was edited since, with its line end: what becomes of it.
pub(crate) fn edited_since(conflicts: &[PathBuf], kept: &[KeptEdit], verb: &str) -> String {
    let shown = |path: &Path| inline(&path.to_string_lossy());
    let mut text = String::new();
    for path in conflicts {
        let is_kept = |it: &&KeptEdit| path.starts_with(&it.path);
        let becomes = match kept.iter().find(is_kept) {
            Some(edit) => format!("changed since: kept as {}", shown(&edit.kept_as)),
            None => format!("changed since: {verb} refuses it without --force or --keep-both"),
        };
        text.extend(["  ! ", &shown(path), " (", &becomes, ")\n"]);
    }
    text
}

/// Returns where edits are now.
pub(crate) fn kept_edits(kept: &[KeptEdit]) -> Vec<String> {
    let shown = |path: &Path| inline(&path.to_string_lossy());
    kept.iter()
        .map(|it| {
            format!(
                "{} was edited: kept as {}",
                shown(&it.path),
                shown(&it.kept_as)
            )
        })
        .collect()
}

/// Returns what was too high, and for how long.
pub(crate) fn alert(alert: &Alert) -> String {
    let until = alert
        .resolved_at
        .map_or_else(String::new, |at| format!(", until {}", time(&at)));
    format!(
        "{}: {:.0} % of {}, {:.0} % at most; {:.0} % was to be told; since {}{until}",
        format!("{:?}", alert.severity).to_lowercase(),
        alert.value_percent,
        inline(&alert.allowed),
        alert.peak_percent,
        alert.threshold_percent,
        time(&alert.since),
    )
}

/// Returns how an operation ended, in a few words.
pub(crate) fn outcome(report: &OperationReport) -> String {
    match report.outcome {
        Outcome::Completed => "completed".to_owned(),
        Outcome::Failed => report.exit_code.map_or_else(
            || "not started".to_owned(),
            |code| format!("failed ({code})"),
        ),
        Outcome::Denied => "denied".to_owned(),
        Outcome::ApprovalRequired => "needs approval".to_owned(),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::LimitExceeded => "limit exceeded".to_owned(),
        Outcome::Killed => report.signal.map_or_else(
            || "killed".to_owned(),
            |number| format!("killed ({number})"),
        ),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Error => "error".to_owned(),
    }
}

/// What is said of an operation that wrote to the workspace without a transaction.
pub(crate) const DIRECT: &str = "direct: written to the workspace, cannot be undone";

/// Whether the operation ran, and nothing of what it wrote can be taken back.
pub(crate) fn wrote_directly(report: &OperationReport) -> bool {
    let ran = match report.outcome {
        Outcome::Completed
        | Outcome::TimedOut
        | Outcome::LimitExceeded
        | Outcome::Killed
        | Outcome::Cancelled => true,
        Outcome::Failed => report.exit_code.is_some(),
        Outcome::Denied | Outcome::ApprovalRequired | Outcome::Error => false,
    };
    ran && report.changes.settlement == Settlement::None
}

pub(crate) fn settlement(settlement: Settlement) -> &'static str {
    match settlement {
        Settlement::Committed => "committed",
        Settlement::Discarded => "discarded",
        Settlement::Pending => "held",
        Settlement::None => "direct",
    }
}

/// Returns which signal ended the command.
pub(crate) fn signal(number: Option<i32>) -> String {
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    let Some(number) = number else {
        return "a signal ended the command".to_owned();
    };
    match names.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("signal {number} ({name}) ended the command"),
        None => format!("signal {number} ended the command"),
    }
}

pub(crate) fn decision_tone(decision: Decision) -> Tone {
    match decision {
        Decision::Allow => Tone::Good,
        Decision::Ask => Tone::Warning,
        Decision::Deny => Tone::Bad,
    }
}

fn severity_tone(level: RiskLevel) -> Tone {
    match level {
        RiskLevel::None | RiskLevel::Low => Tone::Faint,
        RiskLevel::Medium => Tone::Warning,
        RiskLevel::High | RiskLevel::Critical => Tone::Bad,
    }
}

/// Returns the time without fractions of a second.
pub(crate) fn time(at: &impl ToString) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// Returns a command as one would type it in a shell.
pub(crate) fn command(argv: &[String], width: usize) -> String {
    let typed = match argv {
        // Shell text is shown as it was given.
        [shell, flag, text] if shell == "/bin/sh" && flag == "-c" => text.clone(),
        _ => argv
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    };
    one_line(&typed, width)
}

pub(crate) fn quoted(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(harmless) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_are_shortened_and_chosen_ones_are_not() {
        assert_eq!(short(&OperationId::generate()).len(), SHORT_ID_LENGTH);
        assert_eq!(short(&"demo_op".parse().unwrap()), "demo_op");
    }

    #[test]
    fn commands_read_as_typed() {
        let argv = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(command(&argv(&["ls", "a b", ""]), 80), "ls 'a b' ''");
        assert_eq!(
            command(&argv(&["/bin/sh", "-c", "echo \x1b[2J"]), 80),
            r"echo \u{1b}[2J"
        );
    }
}
