//! `sandbox destroy`: releases everything that is held for a sandbox.

use std::{fs, path::Path};

use sandbox_core::{
    DestroyedSandbox, FindError, HeldChanges, Home, Losses, SandboxRecord, WorkspaceFate,
};
use serde_json::json;

use crate::{
    args::DestroyArgs,
    commands::{describe, run::cancellation},
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, current_directory},
    ui::{self, inline},
};

/// What is to be destroyed.
enum Wanted {
    There(SandboxRecord),
    /// Somebody has done it.
    Gone(DestroyedSandbox),
}

pub(crate) fn run(settings: &Settings, args: &DestroyArgs) -> Result<u8, Failure> {
    let home = settings.home()?;
    let record = match wanted(settings, args, &home)? {
        Wanted::There(record) => record,
        Wanted::Gone(gone) => return already(settings, args, &gone),
    };
    let fate = if args.delete_workspace {
        WorkspaceFate::Delete
    } else {
        WorkspaceFate::Keep
    };
    let held = if args.force {
        HeldChanges::Lose
    } else {
        HeldChanges::Keep
    };
    let losses = home.losses(&record);
    if !may_go(settings, args, (&record, losses))? {
        settings.ui.insist("sandbox: nothing was destroyed");
        return Ok(exit_codes::NO);
    }
    home.destroy(&record, fate, held)?;
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "sandbox": record.name,
            "workspace": record.workspace,
            "workspace_deleted": args.delete_workspace,
            "already": false,
            "lost": losses,
        }))?;
        return Ok(exit_codes::DONE);
    }
    let workspace = inline(&record.workspace.to_string_lossy());
    let became = match (args.delete_workspace, record.workspace.exists()) {
        (true, _) => "was deleted with it",
        (false, true) => "was kept as it is",
        (false, false) => "was gone before",
    };
    let with_it = told(losses).map_or_else(String::new, |it| format!(" with {it}"));
    settings.ui.note(&format!(
        "sandbox: destroyed '{}'{with_it}; {workspace} {became}",
        record.name
    ));
    Ok(exit_codes::DONE)
}

/// Asks a person, if somebody is there, before something goes that cannot come back.
fn may_go(
    settings: &Settings,
    args: &DestroyArgs,
    (record, losses): (&SandboxRecord, Losses),
) -> Result<bool, Failure> {
    let ui = settings.ui;
    let Some(with_it) = told(losses) else {
        return Ok(true);
    };
    if args.yes || ui.is_json() || !ui::somebody_is_there() {
        return Ok(true);
    }
    let (name, workspace) = (&record.name, inline(&record.workspace.to_string_lossy()));
    ui.insist(&format!(
        "sandbox: {with_it} of '{name}' ({workspace}) go with it, and cannot be brought back"
    ));
    let cancel = cancellation()?;
    let goes = ui::confirms("Destroy it?", &cancel);
    cancel.give_signals_back();
    Ok(goes)
}

/// Returns what is lost in words; `None` if that is nothing.
fn told(losses: Losses) -> Option<String> {
    let counted = [
        (losses.snapshots, "snapshot"),
        (losses.secrets, "secret"),
        (losses.undoable, "undoable operation"),
    ];
    let parts = counted.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, what)| describe::counted(count, what))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Finds the sandbox: the named one, else that of the current directory. To destroy one that is
/// destroyed is done, and must not reach the sandbox of a directory above it.
fn wanted(settings: &Settings, args: &DestroyArgs, home: &Home) -> Result<Wanted, Failure> {
    let name = match &args.name {
        Some(name) => Some(name.clone()),
        None => settings.name()?,
    };
    let (found, gone) = if let Some(name) = name {
        let found = home.find(&name);
        let is_gone = matches!(found, Err(FindError::Unknown { .. }));
        let gone = is_gone.then(|| home.find_destroyed(&name)).transpose()?;
        (found, gone.flatten())
    } else {
        let here = current_directory()?;
        let found = home.find_here(&here);
        let gone = home.find_destroyed_here(&here);
        let is_here = found
            .as_ref()
            .is_ok_and(|record| is_same(&record.workspace, &here));
        // What cannot be read must not keep the sandbox of this very directory from being destroyed. Below one it may
        // have said that the sandbox of this directory is.
        let gone = match gone {
            Err(_) if is_here => None,
            gone => gone?,
        };
        (found, gone)
    };
    match (found, gone) {
        (Ok(record), Some(gone))
            if gone.workspace != record.workspace
                && gone.workspace.starts_with(&record.workspace) =>
        {
            Ok(Wanted::Gone(gone))
        }
        (Ok(record), _) => Ok(Wanted::There(record)),
        (Err(FindError::Unknown { .. } | FindError::NoneHere { .. }), Some(gone)) => {
            Ok(Wanted::Gone(gone))
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn is_same(workspace: &Path, directory: &Path) -> bool {
    fs::canonicalize(directory).is_ok_and(|real| real == workspace)
}

fn already(
    settings: &Settings,
    args: &DestroyArgs,
    gone: &DestroyedSandbox,
) -> Result<u8, Failure> {
    let workspace = inline(&gone.workspace.to_string_lossy());
    if args.delete_workspace && gone.workspace.exists() {
        let problem = format!(
            "'{}' is destroyed already, and {workspace} belongs to no sandbox any more",
            gone.name
        );
        return Err(Failure::new(Kind::Refused, problem).hint("delete the directory yourself"));
    }
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "sandbox": gone.name,
            "workspace": gone.workspace,
            "workspace_deleted": false,
            "already": true,
        }))?;
        return Ok(exit_codes::DONE);
    }
    settings.ui.note(&format!(
        "sandbox: '{}', the sandbox of {workspace}, was destroyed at {} already",
        gone.name,
        describe::time(&gone.at)
    ));
    Ok(exit_codes::DONE)
}
