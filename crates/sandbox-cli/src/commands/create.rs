//! `sandbox create`: makes a sandbox for a directory.

use sandbox_core::{MissingWorkspace, NewSandbox, SandboxRecord, config_layers};
use sandbox_types::SandboxConfig;
use serde_json::json;

use crate::{
    args::CreateArgs,
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, absolute, current_directory},
    ui::{self, plain},
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
        print(
            settings,
            &plan.record,
            "would be made",
            plan.creates_workspace,
        )?;
        return Ok(exit_codes::DONE);
    }
    let record = home.create(request)?;
    print(settings, &record, "made", plan.creates_workspace)?;
    Ok(exit_codes::DONE)
}

fn print(
    settings: &Settings,
    record: &SandboxRecord,
    what: &str,
    creates_workspace: bool,
) -> Result<(), Failure> {
    if settings.ui.is_json() {
        let document = json!({
            "sandbox": record.name,
            "workspace": record.workspace,
            "creates_workspace": creates_workspace,
            "layers": record.layers,
            "no_transactions_because": record.no_layers_because,
            "made": what == "made",
        });
        ui::print_json(&document)?;
        return Ok(());
    }
    let workspace = plain(&record.workspace.to_string_lossy());
    let new = if creates_workspace {
        ", a new directory"
    } else {
        ""
    };
    ui::print(&format!("{} {what} for {workspace}{new}\n", record.name))?;
    if let Some(reason) = &record.no_layers_because {
        settings.ui.insist(&format!(
            "sandbox: no transactions are possible here, so only `run --direct` works: {}",
            plain(reason)
        ));
    }
    Ok(())
}
