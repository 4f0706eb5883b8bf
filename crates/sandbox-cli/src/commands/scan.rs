//! `sandbox scan`: what files hold; nothing is run and nothing is changed.

use std::{fs::File, io, os::fd::AsFd as _, path::Path};

use sandbox_core::{Home, Overrides, ScanInput, ScanReport, ScanRequest, scan};
use sandbox_types::{Bytes, ContentFinding, RiskLevel};

use crate::{
    args::ScanArgs,
    commands::describe,
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Ui, inline, one_line},
};

/// The widest piece of evidence that is shown.
const EVIDENCE_WIDTH: usize = 160;
/// How standard input is called in findings.
const STDIN: &str = "(standard input)";

pub(crate) fn run(settings: &Settings, args: ScanArgs) -> Result<u8, Failure> {
    let mut request = ScanRequest::new(args.severity.into());
    request.max_bytes = args.max_size;
    let overrides = Overrides {
        file: args.config,
        ..Overrides::default()
    };
    // A scan needs no data directory, and no sandbox.
    let home = settings
        .home()
        .unwrap_or_else(|_| Home::new(settings.host.clone()));
    let config = home.effective_config(None, &overrides)?.config;
    let inputs: Vec<ScanInput> = args
        .paths
        .into_iter()
        .map(|path| {
            if path == Path::new("-") {
                standard_input()
            } else {
                Ok(ScanInput::Path(path))
            }
        })
        .collect::<Result<_, _>>()?;
    let report = scan(&request.with_settings(&config.content()), inputs)?;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&report)?;
    } else {
        if args.sarif {
            ui::print_json(&report.sarif())?;
        } else {
            ui::print(&text(ui, &report))?;
        }
        ui.note(&summary(&report));
        for it in report.unreadable.iter().take(UNREADABLE_SHOWN_MAX) {
            let path = inline(&it.path.to_string_lossy());
            ui.insist(&format!("sandbox: not scanned: {path}: {}", it.reason));
        }
        let more = report.unreadable.len().saturating_sub(UNREADABLE_SHOWN_MAX) as u64
            + report.unreadable_not_listed;
        if more > 0 {
            ui.insist(&format!(
                "sandbox: and {more} more that could not be scanned"
            ));
        }
    }
    Ok(if report.is_clean() {
        exit_codes::DONE
    } else {
        exit_codes::NO
    })
}

/// The most paths that are named as not scanned.
const UNREADABLE_SHOWN_MAX: usize = 20;

fn standard_input() -> Result<ScanInput, Failure> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| {
        Failure::of(Kind::Usage, &error)
            .while_doing("cannot read standard input")
            .hint("give it a file or a pipe")
    })?;
    Ok(ScanInput::Stream(STDIN.into(), File::from(stdin)))
}

fn text(ui: Ui, report: &ScanReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&describe::content_finding(finding, |tone, it| {
            ui.tone(tone, it)
        }));
        text.push('\n');
        if !finding.evidence.is_empty() {
            let evidence = one_line(&finding.evidence, EVIDENCE_WIDTH);
            text.push_str("    ");
            text.push_str(&evidence);
            text.push('\n');
        }
    }
    text
}

/// What was found, and how much was looked at.
fn summary(report: &ScanReport) -> String {
    let count = |level: RiskLevel| {
        let has = |it: &&ContentFinding| it.severity == level;
        report.findings.iter().filter(has).count()
    };
    let levels = [
        RiskLevel::Critical,
        RiskLevel::High,
        RiskLevel::Medium,
        RiskLevel::Low,
    ];
    let counts: Vec<String> = levels
        .into_iter()
        .map(|level| (count(level), level))
        .filter(|(count, _)| *count > 0)
        .map(|(count, level)| format!("{count} {level}"))
        .collect();
    let found = if counts.is_empty() {
        "nothing found".to_owned()
    } else {
        format!("found {}", counts.join(", "))
    };
    let mut text = format!(
        "sandbox: {found} in {} files ({})",
        report.files,
        Bytes(report.bytes)
    );
    if report.findings_not_listed > 0 {
        let more = format!("; {} more are not listed", report.findings_not_listed);
        text.push_str(&more);
    }
    if !report.partly.is_empty() {
        let partly = format!(
            "; {} larger files only in part (--max-size)",
            report.partly.len()
        );
        text.push_str(&partly);
    }
    if report.skipped > 0 {
        let skipped = format!("; {} links, pipes or devices left out", report.skipped);
        text.push_str(&skipped);
    }
    text
}
