//! `sandbox config`: the configuration that holds, its form, and a start for one.

use std::{fs, io::Write as _, path::Path};

use sandbox_core::{Overrides, check_isolation, check_policies, config_layers};
use serde_json::json;

use crate::{
    args::{ConfigInitArgs, ConfigShowArgs},
    commands::describe,
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, place_of_new},
    ui::{self, Tone, inline},
};

/// Every key with its meaning and default: the file that `config init` writes.
const TEMPLATE: &str = include_str!("../../../../config/default.yaml");

pub(crate) fn show(settings: &Settings, args: ConfigShowArgs) -> Result<u8, Failure> {
    let home = settings.home()?;
    // Without a sandbox, what the machine, the user and the environment say is shown.
    let record = match settings.find(&home) {
        Ok(record) => Some(record),
        Err(failure) if failure.kind == Kind::NotFound && settings.name()?.is_none() => None,
        Err(failure) => return Err(failure),
    };
    let overrides = Overrides {
        file: args.config,
        ..Overrides::default()
    };
    let entries = home
        .effective_config(record.as_ref(), &overrides)?
        .entries();
    let ui = settings.ui;
    if ui.is_json() {
        let values: Vec<_> = entries
            .iter()
            .map(|it| json!({"key": it.key, "value": it.value, "origin": it.origin.to_string()}))
            .collect();
        ui::print_json(&values)?;
        return Ok(exit_codes::DONE);
    }
    let width = entries.iter().map(|it| it.key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in &entries {
        let origin = ui.tone(Tone::Faint, &format!("# {}", entry.origin));
        let line = format!(
            "{:<width$}  {}  {origin}\n",
            entry.key,
            inline(&entry.value.to_string())
        );
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}

pub(crate) fn validate(settings: &Settings, file: &Path) -> Result<u8, Failure> {
    let config = config_layers::load_file(file)?.config;
    check_policies(&config, config.workspace_path.as_deref())?;
    check_isolation(&config)?;
    if settings.ui.is_json() {
        ui::print_json(&json!({"ok": true, "file": file.to_string_lossy()}))?;
    } else {
        ui::print(&format!("{} is valid\n", inline(&file.to_string_lossy())))?;
    }
    Ok(exit_codes::DONE)
}

pub(crate) fn schema() -> Result<u8, Failure> {
    ui::print_json(&config_layers::schema())?;
    Ok(exit_codes::DONE)
}

pub(crate) fn init(settings: &Settings, args: &ConfigInitArgs) -> Result<u8, Failure> {
    let home = settings.home()?;
    let file = if args.user {
        let file = settings.host.user_config.clone();
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(|error| {
                Failure::of(Kind::Refused, &error)
                    .while_doing(format!("cannot make {}", directory.display()))
            })?;
        }
        file
    } else {
        args.file.clone()
    };
    let path = place_of_new(&home, &file)?;
    let written = fs::File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut opened| opened.write_all(TEMPLATE.as_bytes()));
    written.map_err(|error| {
        Failure::of(Kind::Refused, &error)
            .while_doing(format!("cannot write {}", path.display()))
            .hint("name a file that does not exist, in a directory that you may write to")
    })?;
    if settings.ui.is_json() {
        ui::print_json(&json!({"file": path.to_string_lossy()}))?;
    } else {
        let shown = inline(&path.to_string_lossy());
        ui::print(&format!("{shown} is written\n"))?;
        if !args.user {
            let quoted = describe::quoted(&shown);
            settings.ui.note(&format!(
                "sandbox: nothing reads it by itself: `sandbox create -c {quoted}` stores it with a sandbox, `sandbox run -c {quoted}` takes it once, and what is in {} holds for all",
                inline(&settings.host.user_config.to_string_lossy())
            ));
        }
    }
    Ok(exit_codes::DONE)
}
