//! `sandbox show`: the report of one operation.

use sandbox_core::LogEntry;
use sandbox_types::{Bytes, CapturedOutput, Level, OperationReport, Settlement};
use serde::Serialize;

use crate::{
    args::ShowArgs,
    commands::describe,
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Ui, for_stdout, inline},
};

/// The widest command that is shown.
const COMMAND_WIDTH: usize = 2000;

pub(crate) fn run(settings: &Settings, args: &ShowArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let entry = match &args.operation {
        Some(operation) => core.show(operation)?,
        None => core.log(1)?.pop().ok_or_else(|| {
            Failure::new(Kind::NotFound, "nothing was run in this sandbox yet")
                .hint("`sandbox run -- CMD` runs a command")
        })?,
    };
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&Shown {
            report: &entry.report,
            since: entry.since,
        })?;
    } else {
        ui::print(&text(ui, &entry))?;
    }
    Ok(exit_codes::DONE)
}

/// The report, and what happened afterwards.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a OperationReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'static str>,
}

fn head(entry: &LogEntry, outcome: &str) -> String {
    format!(
        "operation  {}\ncommand    {}\nended      {} at {}\n",
        entry.id,
        describe::command(&entry.argv, COMMAND_WIDTH),
        outcome,
        describe::time(&entry.at),
    )
}

fn text(ui: Ui, entry: &LogEntry) -> String {
    let report = &entry.report;
    if entry.interrupted {
        return interrupted(entry);
    }
    let mut text = head(entry, &describe::outcome(report));
    let mut add = |label: &str, value: &str| {
        let line = format!("{label:<11}{}\n", value.replace('\n', "\n           "));
        text.push_str(&line);
    };
    add("directory", &inline(&report.operation.cwd));
    add(
        "verdict",
        &describe::verdict(&report.verdict, |tone, text| ui.tone(tone, text)),
    );
    for error in &report.error {
        add("error", &inline(error));
    }
    let usage = &report.usage;
    add(
        "usage",
        &format!(
            "{:.1} ms, {:.1} ms CPU, {} memory at most, {} processes at most",
            report.duration_ms,
            usage.cpu_ms,
            Bytes(usage.memory_peak_bytes),
            usage.processes_peak
        ),
    );
    add("enforced", &enforced(report));
    if let Some(network) = &report.network {
        for line in describe::connections(network, usage) {
            add("network", &inline(&line));
        }
    }
    for violation in &report.violations {
        add("violation", &inline(&violation.detail));
    }
    for alert in &report.alerts {
        add("alert", &describe::alert(alert));
    }
    for (label, line) in content(ui, report) {
        add(label, &line);
    }
    let became = entry
        .since
        .unwrap_or(describe::settlement(report.changes.settlement));
    match describe::counts(&report.changes) {
        None if describe::wrote_directly(report) => add("changes", describe::DIRECT),
        None => add("changes", "none"),
        Some(counts) => add("changes", &format!("{counts}: {became}")),
    }
    let not_kept = |settlement| settlement != Settlement::Committed;
    let reasons = &report.changes.held_because;
    for reason in reasons
        .iter()
        .filter(|_| not_kept(report.changes.settlement))
    {
        add("", &inline(reason));
    }
    text.push_str(&describe::changed_paths(&report.changes.paths));
    if report.changes.truncated {
        text.push_str("  and more\n");
    }
    text.push_str(&captured("stdout", &report.stdout));
    text.push_str(&captured("stderr", &report.stderr));
    text
}

fn interrupted(entry: &LogEntry) -> String {
    let became = match entry.report.changes.settlement {
        Settlement::Committed => "its changes are in the workspace",
        Settlement::Discarded => "its changes were dropped",
        Settlement::Pending => "its changes are held",
        Settlement::None => "what it changed is not known",
    };
    let since = match entry.since {
        Some("undone") => "its changes were undone",
        _ => became,
    };
    let id = describe::short(&entry.id);
    // What was killed before is dropped: this one came to its end.
    let (why, next) = match entry.report.changes.settlement {
        Settlement::Pending => (
            "its report could not be written down",
            format!(
                "now        look: sandbox diff {id}   accept: sandbox commit {id}   drop: sandbox discard {id}\n"
            ),
        ),
        Settlement::Committed | Settlement::Discarded | Settlement::None => {
            ("its process was killed", String::new())
        }
    };
    head(entry, &format!("interrupted: {why}; {since}")) + &next
}

/// What the content scan found, and what it left out.
fn content(ui: Ui, report: &OperationReport) -> Vec<(&'static str, String)> {
    let findings = report.changes.findings.iter();
    let found = findings.map(|it| {
        let line = describe::content_finding(it, |tone, text| ui.tone(tone, text));
        ("wrote", line)
    });
    let skipped = report.changes.scan.iter().flat_map(|scan| &scan.skipped);
    let unscanned = skipped.map(|it| ("not scanned", inline(it)));
    found.chain(unscanned).collect()
}

fn enforced(report: &OperationReport) -> String {
    let held = &report.enforcement;
    let layers = [
        ("user namespace", held.user_namespace),
        ("view", held.mount),
        ("processes", held.pid),
        ("network", held.network),
        ("seccomp", held.seccomp),
        ("Landlock", held.landlock),
    ];
    let named = |level| {
        let names = layers
            .iter()
            .filter(|(_, it)| *it == level)
            .map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let mut text = named(Level::Full);
    if text.is_empty() {
        "nothing: it was not run".clone_into(&mut text);
    }
    let partial = named(Level::Partial);
    if !partial.is_empty() {
        text.push_str("; partly ");
        text.push_str(&partial);
    }
    text
}

fn captured(name: &str, output: &CapturedOutput) -> String {
    if output.bytes == 0 {
        return String::new();
    }
    let size = Bytes(output.bytes);
    let kept = if output.truncated() {
        ", the beginning of it"
    } else {
        ""
    };
    let shown = for_stdout(&String::from_utf8_lossy(&output.data));
    let end = if shown.ends_with('\n') { "" } else { "\n" };
    format!("--- {name} ({size}{kept})\n{shown}{end}")
}
