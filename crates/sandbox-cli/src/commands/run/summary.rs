//! A few words on standard error about how an operation ended: only what the user cannot see.

use sandbox_types::{
    Enforcement, Level, LimitKind, NetworkAccess, Operation, OperationReport, Outcome, Settlement,
    format_duration,
};

use crate::{
    commands::describe::{self, short},
    exit_codes,
    ui::{Tone, Ui, inline},
};

/// The most violations that are printed.
const VIOLATIONS_SHOWN_MAX: usize = 5;
/// The most notices of the commit gate that are printed.
const NOTICES_SHOWN_MAX: usize = 5;
/// The most findings in written files that are printed.
const FINDINGS_SHOWN_MAX: usize = 5;

pub(crate) fn print(ui: Ui, operation: &Operation, report: &OperationReport) {
    match report.outcome {
        Outcome::Denied | Outcome::ApprovalRequired => return ui.insist(&refused(ui, report)),
        Outcome::Completed | Outcome::Failed => {}
        Outcome::TimedOut
        | Outcome::LimitExceeded
        | Outcome::Killed
        | Outcome::Cancelled
        | Outcome::Error => ui.insist(&format!("sandbox: {}", ended(operation, report))),
    }
    for line in &report.error {
        ui.insist(&format!("sandbox: {}", inline(line)));
    }
    for violation in report.violations.iter().take(VIOLATIONS_SHOWN_MAX) {
        ui.insist(&format!(
            "sandbox: violation: {}",
            inline(&violation.detail)
        ));
    }
    if let Some(more) = report
        .violations
        .len()
        .checked_sub(VIOLATIONS_SHOWN_MAX + 1)
    {
        ui.insist(&format!("sandbox: and {} more violations", more + 1));
    }
    notices(ui, report);
    for finding in report.changes.findings.iter().take(FINDINGS_SHOWN_MAX) {
        let line = describe::content_finding(finding, |tone, text| ui.error_tone(tone, text));
        ui.note(&format!("sandbox: wrote {line}"));
    }
    if report.changes.findings.len() > FINDINGS_SHOWN_MAX {
        let more = report.changes.findings.len() - FINDINGS_SHOWN_MAX;
        let id = short(report.id());
        ui.note(&format!(
            "sandbox: and {more} more findings: sandbox show {id}"
        ));
    }
    let is_weaker = is_weaker_than_asked(operation, &report.enforcement);
    for line in &report.enforcement.missing {
        // What nobody asked for is missed by nobody, and is in the report; that a command writes directly was told
        // before it ran.
        let is_told = is_weaker && !is_unasked(operation, line);
        if is_told && !line.starts_with("transaction: ") {
            ui.note(&format!("sandbox: {}", unenforced(line)));
        }
    }
    if let Some(text) = changes(ui, report) {
        if exit_codes::held_unasked(operation, report) || exit_codes::changes_refused(report) {
            ui.insist("sandbox: the command succeeded, but its changes are not in the workspace");
            ui.insist(&text);
        } else {
            ui.note(&text);
        }
    }
}

/// Says what the commit gate noticed in changes that were committed: what is held says why.
fn notices(ui: Ui, report: &OperationReport) {
    let changes = &report.changes;
    if changes.settlement != Settlement::Committed {
        return;
    }
    for notice in changes.notices.iter().take(NOTICES_SHOWN_MAX) {
        ui.note(&format!("sandbox: notice: {}", inline(notice)));
    }
    if changes.notices.len() > NOTICES_SHOWN_MAX {
        let more = changes.notices.len() - NOTICES_SHOWN_MAX;
        let id = short(report.id());
        ui.note(&format!(
            "sandbox: and {more} more notices: sandbox show {id}"
        ));
    }
}

/// Whether the line is about a built-in limit that does not hold, and that nobody asked for.
fn is_unasked(operation: &Operation, line: &str) -> bool {
    let memory = operation.limits.memory.is_some() || operation.granted_limits.memory.is_some();
    line.starts_with("default ") || (!memory && line.starts_with("the memory limit "))
}

/// Returns what does not hold as a sentence: some of these lines are one.
fn unenforced(line: &str) -> String {
    if line.contains("not enforced") {
        inline(line)
    } else {
        format!("not enforced: {}", inline(line))
    }
}

/// Says whether the workspace has the changes, to begin a failure with.
pub(super) fn became(operation: &Operation, report: &OperationReport) -> &'static str {
    if !exit_codes::reached_workspace(operation, report) {
        "the operation ended, and nothing was committed"
    } else if operation.direct {
        "the operation ended, and wrote directly to the workspace"
    } else if report.outcome == Outcome::Error {
        "the operation ended, and its changes were committed in part"
    } else {
        "the operation ended, and its changes were committed"
    }
}

fn refused(ui: Ui, report: &OperationReport) -> String {
    let mut text = describe::verdict(&report.verdict, |tone, text| ui.error_tone(tone, text));
    let approval = report.approval.as_ref();
    let hint = if report.outcome == Outcome::Denied {
        "the judge denies it, and nothing was run; `sandbox check` explains single commands"
            .to_owned()
    } else if let Some(request) = approval.and_then(|it| it.request.as_ref()) {
        let id = describe::short_approval(request);
        format!(
            "nobody was there to approve it, and nothing was run; it waits as {id}\n  approve: sandbox approvals approve {id}   deny: sandbox approvals deny {id}   or run it with --yes"
        )
    } else {
        let reason = approval.and_then(|it| it.not_stored_because.as_deref());
        let reason = reason.map_or_else(String::new, |it| {
            format!(" and it cannot be approved later ({})", inline(it))
        });
        format!(
            "nobody was there to approve it{reason}, and nothing was run; if you know what it does, run it with --yes"
        )
    };
    text.push_str("\n  hint: ");
    text.push_str(&hint);
    text
}

fn ended(operation: &Operation, report: &OperationReport) -> String {
    match report.outcome {
        Outcome::TimedOut => operation.timeout.map_or_else(
            || "the time limit ended the command".to_owned(),
            |limit| {
                format!(
                    "the time limit of {} ended the command",
                    format_duration(limit)
                )
            },
        ),
        Outcome::LimitExceeded => match report.limits.exceeded {
            Some(LimitKind::Memory) => "the memory limit ended the command (--memory sets it)",
            Some(LimitKind::Processes) => "the process limit ended the command (--pids sets it)",
            Some(LimitKind::Disk) => "its changes are larger than the disk limit (--disk sets it)",
            Some(LimitKind::FileSize) => {
                "the file size limit ended the command (--file-size sets it)"
            }
            Some(LimitKind::CpuTime) => "the CPU time limit ended the command (--cpu-time sets it)",
            Some(LimitKind::Inodes) => {
                "it changed more files than the inode limit (--inodes sets it)"
            }
            Some(LimitKind::Output) => {
                "it printed more than the output limit (--output-total sets it)"
            }
            Some(LimitKind::WallTime) | None => "a limit ended the command",
        }
        .to_owned(),
        Outcome::Killed => describe::signal(report.signal),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Error => "the sandbox failed".to_owned(),
        Outcome::Completed | Outcome::Failed | Outcome::Denied | Outcome::ApprovalRequired => {
            String::new()
        }
    }
}

/// What became of the changes, and what can be done with them now.
fn changes(ui: Ui, report: &OperationReport) -> Option<String> {
    let changes = &report.changes;
    if describe::wrote_directly(report) {
        return Some(format!("sandbox: {}", describe::DIRECT));
    }
    let counts = describe::counts(changes)?;
    let because = match changes.held_because.as_slice() {
        [] => String::new(),
        reasons => format!(": {}", inline(&reasons.join("; "))),
    };
    let id = short(report.id());
    Some(match changes.settlement {
        Settlement::Committed => {
            let undo = ui.error_tone(Tone::Strong, "sandbox undo");
            format!("sandbox: committed {counts} (undo with: {undo})")
        }
        Settlement::Discarded => format!("sandbox: discarded {counts}{because}"),
        Settlement::Pending => format!(
            "sandbox: held {counts}{because}\n  look: sandbox diff {id}   accept: sandbox commit {id}   drop: sandbox discard {id}"
        ),
        Settlement::None => return None,
    })
}

/// Whether a wall that everybody expects, or that this user asked for, did not stand.
fn is_weaker_than_asked(operation: &Operation, enforcement: &Enforcement) -> bool {
    let walls = [
        enforcement.user_namespace,
        enforcement.mount,
        enforcement.pid,
        enforcement.seccomp,
    ];
    let network_is_open =
        operation.network == Some(NetworkAccess::None) && enforcement.network != Level::Full;
    let nothing = sandbox_types::LimitsRequest::default();
    let asked = operation.limits != nothing || operation.granted_limits != nothing;
    asked || network_is_open || walls.iter().any(|level| *level != Level::Full)
}
