//! `sandbox create`: makes a sandbox for a directory.

use sandbox_core::{
    InitializationCheck, InitializationPlan, MissingWorkspace, NewSandbox, Part, SandboxRecord,
    config_layers,
};
use sandbox_types::SandboxConfig;
use serde_json::json;

use crate::{
    args::CreateArgs,
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, absolute, current_directory},
    ui::{self, Tone, Words, inline},
};

pub(crate) fn run(settings: &Settings, args: CreateArgs) -> Result<u8, Failure> {
    let home = settings.home()?;
    let config = match &args.config {
        None => SandboxConfig::default(),
        Some(path) => config_layers::load_file(path)?.config,
    };
    let configured_name = config
        .name()
        .map_err(|error| Failure::of(Kind::Config, &error))?;
    let name = args.name.or(settings.name()?).or(configured_name);
    let workspace = match (&args.workspace, &config.workspace_path) {
        (Some(typed), _) => absolute(typed)?,
        (None, Some(configured)) => configured.clone(),
        (None, None) => current_directory()?,
    };
    let request = NewSandbox {
        name,
        workspace: &workspace,
        missing: MissingWorkspace::Create,
        config: &config,
    };
    let plan = home.plan(request.clone())?;
    if args.dry_run {
        let checks = home.check_plan(&plan, &config)?;
        return show(settings, &plan, &checks);
    }
    // Looked at before it is made: a wrong configuration makes nothing.
    let checks = home.check_plan(&plan, &config)?;
    let record = home.create(request)?;
    print(settings, &record, "made", plan.creates_workspace)?;
    for check in checks.iter().filter(|it| it.needed && !it.holds) {
        settings.ui.insist(&unheld(check));
    }
    Ok(exit_codes::DONE)
}

/// Before the name of a sandbox that is not made.
const WOULD_BE: &str = "would make";

/// Says what runs will be refused for.
fn unheld(check: &InitializationCheck) -> String {
    let reason = inline(check.reason.as_deref().unwrap_or_default());
    let value = inline(&check.value);
    match check.part {
        Part::Resources => format!(
            "sandbox: this host does not hold the {} limit of {value} ({reason}): runs are refused; with `best_effort: true` below `resource_limits` they go without it",
            check.what
        ),
        Part::Workspace | Part::Security => {
            format!(
                "sandbox: not on this host: {}, {value} ({reason})",
                check.what
            )
        }
    }
}

/// Shows what would be done, and what was validated.
fn show(
    settings: &Settings,
    plan: &InitializationPlan,
    checks: &[InitializationCheck],
) -> Result<u8, Failure> {
    let record = &plan.record;
    if settings.ui.is_json() {
        let mut document = document(record, WOULD_BE, plan.creates_workspace);
        document["steps"] = json!(plan.steps());
        document["checks"] = json!(checks);
        ui::print_json(&document)?;
        return Ok(exit_codes::DONE);
    }
    print(settings, record, WOULD_BE, plan.creates_workspace)?;
    let marks = ui::marks(&settings.host);
    let mut text = String::new();
    for (at, step) in plan.steps().iter().enumerate() {
        let path = inline(&step.path.to_string_lossy());
        let line = format!("  {}. {} {path}\n", at + 1, step.act.words());
        text.push_str(&line);
    }
    for check in checks {
        let mark = if check.holds {
            settings.ui.tone(Tone::Good, marks.good)
        } else {
            settings.ui.tone(Tone::Warning, marks.bad)
        };
        let reason = check.reason.as_deref().unwrap_or_default();
        let line = format!(
            "  {mark}  {:<22} {}  {}",
            check.what,
            inline(&check.value),
            inline(reason)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}

fn document(record: &SandboxRecord, what: &str, creates_workspace: bool) -> serde_json::Value {
    json!({
        "sandbox": record.name,
        "workspace": record.workspace,
        "creates_workspace": creates_workspace,
        "layers": record.layers,
        "no_transactions_because": record.no_layers_because,
        "made": what == "made",
    })
}

fn print(
    settings: &Settings,
    record: &SandboxRecord,
    what: &str,
    creates_workspace: bool,
) -> Result<(), Failure> {
    if settings.ui.is_json() {
        ui::print_json(&document(record, what, creates_workspace))?;
        return Ok(());
    }
    let workspace = inline(&record.workspace.to_string_lossy());
    let new = if creates_workspace {
        ", a new directory"
    } else {
        ""
    };
    let line = format!("{what} '{}' for {workspace}{new}\n", record.name);
    // A plan is a result; that it was done is not.
    if what == WOULD_BE || settings.ui.words == Words::Some {
        ui::print(&line)?;
    }
    if let Some(reason) = &record.no_layers_because {
        settings.ui.insist(&format!(
            "sandbox: no transactions are possible here, so only `run --direct` works: {}",
            inline(reason)
        ));
    }
    Ok(())
}
