//! `sandbox rollback`: the workspace back to a snapshot, or to just before an operation.

use sandbox_core::RollbackOptions;

use crate::{
    args::RollbackArgs,
    commands::{describe, snapshot, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, inline},
};

pub(crate) fn run(settings: &Settings, args: RollbackArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let options = RollbackOptions {
        paths: args.paths,
        state: args.state,
        on_conflict: args.edited.on_conflict(),
        dry_run: args.dry_run,
    };
    let done = waiting::to_the_end(core.roll_back(&args.target, options))??;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&done)?;
        return Ok(exit_codes::DONE);
    }
    for note in &done.notes {
        let path = inline(&note.path.to_string_lossy());
        ui.insist(&format!("sandbox: {path}: {}", note.reason));
    }
    let mut counts = snapshot::counts(&done.paths);
    if let Some(state) = &done.state {
        let keys = match state.keys.len() {
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        };
        counts = format!("{counts}; state: {keys}");
    }
    if done.dry_run {
        let mut text = describe::changed_paths(&done.paths);
        text.push_str(&describe::edited_since(
            &done.conflicts,
            &done.kept,
            "rollback",
        ));
        for it in done.state.iter().flat_map(|state| &state.keys) {
            let key = inline(&it.key);
            let line = match it.restores {
                Some(version) => format!("  state: {key} (back to version {version})\n"),
                None => format!("  state: {key} (deleted)\n"),
            };
            text.push_str(&line);
        }
        ui::print(&text)?;
        ui.note(&format!(
            "sandbox: it would be rolled back: {counts}; nothing was done"
        ));
        return Ok(exit_codes::DONE);
    }
    let flag = if done.state.is_some() { " --state" } else { "" };
    let back = match (&done.operation, &done.safety) {
        (_, Some(safety)) => {
            let safety = snapshot::short(safety);
            format!(" (take it back with: sandbox rollback {safety}{flag})")
        }
        (Some(operation), None) => {
            format!(" (undo with: sandbox undo {})", describe::short(operation))
        }
        (None, None) => String::new(),
    };
    let undone = match done.undone.len() {
        0 => String::new(),
        count => format!("{} undone, ", describe::counted(count as u64, "operation")),
    };
    ui.note(&format!("sandbox: rolled back: {undone}{counts}{back}"));
    for edit in describe::kept_edits(&done.kept) {
        ui.note(&format!("sandbox: {edit}"));
    }
    Ok(exit_codes::DONE)
}
