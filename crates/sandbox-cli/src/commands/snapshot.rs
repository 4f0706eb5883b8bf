//! `sandbox snapshot`: points in time of the workspace.

mod files;
mod keys;
mod progress;
mod prune;
mod repair;

use sandbox_core::{
    Excludes, RepositoryVerification, RestoreOutcome, RestoreRequest, Snapshot, SnapshotId,
    SnapshotReport, SnapshotRequest, VerifyDepth,
};
use sandbox_types::{Bytes, Change, ChangeSummary, Settlement};
use serde_json::json;

use crate::{
    args::{SnapshotCommand, SnapshotCreateArgs, SnapshotRestoreArgs},
    commands::{describe, waiting},
    exit_codes,
    failure::Failure,
    settings::{self, Settings},
    ui::{self, Tone, Ui, inline, one_line, plain},
};

/// How much of an id is shown: unique in practice, and it can be typed.
const SHORT_ID_LENGTH: usize = 12;
/// The widest message in a list.
const MESSAGE_WIDTH: usize = 60;

pub(crate) fn run(settings: &Settings, command: SnapshotCommand) -> Result<u8, Failure> {
    match command {
        SnapshotCommand::Create(args) => create(settings, args),
        SnapshotCommand::List => list(settings),
        SnapshotCommand::Show { id } => show(settings, &id),
        SnapshotCommand::Diff { from, to } => diff(settings, &from, to.as_deref()),
        SnapshotCommand::Restore(args) => restore(settings, args),
        SnapshotCommand::Verify { read_data } => verify(settings, read_data),
        SnapshotCommand::Repair { dry_run } => repair::run(settings, dry_run),
        SnapshotCommand::Encrypt => keys::encrypt(settings),
        SnapshotCommand::Rekey => keys::rekey(settings),
        SnapshotCommand::Delete { id } => delete(settings, &id),
        SnapshotCommand::Prune(args) => prune::run(settings, &args),
        SnapshotCommand::Export { id, file } => files::export(settings, &id, &file),
        SnapshotCommand::Import { file } => files::import(settings, &file),
    }
}

/// Returns the beginning of an id that can be typed.
pub(crate) fn short(id: &SnapshotId) -> String {
    id.to_string().chars().take(SHORT_ID_LENGTH).collect()
}

fn create(settings: &Settings, args: SnapshotCreateArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let request = SnapshotRequest {
        tags: args.tags,
        message: args.message,
        excludes: Excludes {
            patterns: args.exclude,
            larger_than: args.exclude_larger_than.map(|it| it.0),
        },
    };
    let taken = progress::wait_for(settings, (&core, "snapshot"), core.snapshot(request))??;
    tell_omissions(settings.ui, &taken);
    if settings.ui.is_json() {
        ui::print_json(&taken)?;
        return Ok(exit_codes::DONE);
    }
    ui::print(&format!("{}\n", taken.id))?;
    settings.ui.note(&format!(
        "sandbox: snapshot {}: {} files, {} ({} new, {} stored)",
        short(&taken.id),
        taken.files,
        Bytes(taken.bytes),
        Bytes(taken.new_bytes),
        Bytes(taken.stored_bytes),
    ));
    if taken.excluded > 0 {
        let paths = describe::counted(taken.excluded, "path");
        settings.ui.note(&format!(
            "sandbox: left out on purpose: {paths}; `sandbox snapshot show` has the patterns"
        ));
    }
    for id in &taken.dropped {
        settings.ui.note(&format!(
            "sandbox: removed the oldest snapshot {} (max_snapshots)",
            short(id)
        ));
    }
    Ok(exit_codes::DONE)
}

/// The most paths that are named one by one.
const NAMED_MAX: usize = 10;

fn tell_omissions(ui: Ui, taken: &SnapshotReport) {
    let reasons = taken.omitted.iter().map(|it| {
        let reason = serde_json::to_value(it.reason).unwrap_or_default();
        let reason = match reason.as_str() {
            Some("unreadable") => "not readable by you".to_owned(),
            other => other.unwrap_or("left out").replace('_', " "),
        };
        (&it.path, reason)
    });
    let torn = taken.torn.iter();
    let torn = torn.map(|path| (path, "changed while it was read".to_owned()));
    let all: Vec<_> = reasons.chain(torn).collect();
    for (path, reason) in all.iter().take(NAMED_MAX) {
        let path = inline(&path.to_string_lossy());
        ui.insist(&format!(
            "sandbox: not in the snapshot as it is: {path} ({reason})"
        ));
    }
    if all.len() > NAMED_MAX {
        ui.insist(&format!(
            "sandbox: and {} more; --json lists all",
            all.len() - NAMED_MAX
        ));
    }
}

fn list(settings: &Settings) -> Result<u8, Failure> {
    let snapshots = settings.open_to_read()?.snapshots()?;
    if settings.ui.is_json() {
        ui::print_json(&snapshots)?;
        return Ok(exit_codes::DONE);
    }
    if snapshots.is_empty() {
        settings
            .ui
            .note("sandbox: there is no snapshot yet; `sandbox snapshot create` takes one");
    }
    let line = |it: &Snapshot| {
        let mut words: Vec<String> = it
            .tags
            .iter()
            .map(|tag| format!("[{}]", inline(tag)))
            .collect();
        words.extend(it.message.as_deref().map(plain));
        format!(
            "{}  {}  {:>8} files  {:>10}  {}\n",
            settings.ui.tone(Tone::Strong, &short(&it.id)),
            describe::time(&it.created_at),
            it.files,
            Bytes(it.bytes).to_string(),
            one_line(&words.join(" "), MESSAGE_WIDTH),
        )
    };
    let text: String = snapshots.iter().map(line).collect();
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}

fn show(settings: &Settings, id: &str) -> Result<u8, Failure> {
    let snapshot = settings.open_to_read()?.snapshot_named(id)?;
    if settings.ui.is_json() {
        ui::print_json(&snapshot)?;
        return Ok(exit_codes::DONE);
    }
    let mut text = format!(
        "snapshot {}\n  taken     {}\n  files     {} in {}, {}\n  added     {} ({} stored)\n",
        snapshot.id,
        describe::time(&snapshot.created_at),
        snapshot.files,
        match snapshot.dirs {
            1 => "1 directory".to_owned(),
            count => format!("{count} directories"),
        },
        Bytes(snapshot.bytes),
        Bytes(snapshot.new_bytes),
        Bytes(snapshot.stored_bytes),
    );
    let mut more = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let line = format!(
                "  {name:<9} {}\n",
                plain(&value).replace('\n', "\n            ")
            );
            text.push_str(&line);
        }
    };
    more("parent", snapshot.parent.map(|id| id.to_string()));
    more(
        "tags",
        (!snapshot.tags.is_empty()).then(|| snapshot.tags.join(", ")),
    );
    more("message", snapshot.message);
    more("state", snapshot.state_sequence.map(|it| it.to_string()));
    more(
        "left out",
        (snapshot.omitted > 0).then(|| snapshot.omitted.to_string()),
    );
    more(
        "excludes",
        (!snapshot.excludes.patterns.is_empty()).then(|| snapshot.excludes.patterns.join(", ")),
    );
    let limit = snapshot.excludes.larger_than;
    more(
        "",
        limit.map(|bytes| format!("files larger than {}", Bytes(bytes))),
    );
    more(
        "torn",
        (snapshot.torn > 0).then(|| snapshot.torn.to_string()),
    );
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}

fn diff(settings: &Settings, from: &str, to: Option<&str>) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let changes = core.snapshot_diff(from, to)?;
    if settings.ui.is_json() {
        ui::print_json(&json!({"from": from, "to": to, "paths": changes}))?;
        return Ok(exit_codes::DONE);
    }
    if changes.is_empty() {
        settings.ui.note("sandbox: nothing differs");
    }
    ui::print(&describe::changed_paths(&changes))?;
    Ok(exit_codes::DONE)
}

fn restore(settings: &Settings, args: SnapshotRestoreArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let to = args.to.as_deref().map(settings::absolute).transpose()?;
    let request = RestoreRequest {
        paths: args.paths,
        to: to.clone(),
        dry_run: args.dry_run,
    };
    let done = progress::wait_for(
        settings,
        (&core, "restore"),
        core.restore(&args.id, request),
    )??;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&done)?;
        return Ok(exit_codes::DONE);
    }
    tell_notes(ui, &done);
    let counts = counts(&done.paths);
    let id = short(&done.snapshot);
    if done.dry_run {
        ui::print(&describe::changed_paths(&done.paths))?;
        ui.note(&match done.paths.len() {
            0 => format!("sandbox: everything is as in {id}; nothing was done"),
            _ => format!(
                "sandbox: the restore of {id} would change it so: {counts}; nothing was done"
            ),
        });
    } else if let Some(to) = to {
        ui.note(&format!(
            "sandbox: restored {id} to {}: {counts}",
            inline(&to.to_string_lossy())
        ));
    } else {
        let hint = match &done.operation {
            Some(operation) => format!(" (undo with: sandbox undo {})", describe::short(operation)),
            None => String::new(),
        };
        ui.note(&format!("sandbox: restored {id}: {counts}{hint}"));
    }
    Ok(exit_codes::DONE)
}

/// Returns how many paths changed, in words.
pub(crate) fn counts(changes: &[Change]) -> String {
    let summary = ChangeSummary::of(Settlement::None, changes);
    describe::counts(&summary).unwrap_or_else(|| "nothing differs".to_owned())
}

fn tell_notes(ui: Ui, done: &RestoreOutcome) {
    for note in done.notes.iter().take(NAMED_MAX) {
        let path = inline(&note.path.to_string_lossy());
        ui.insist(&format!("sandbox: {path}: {}", note.reason));
    }
    if done.notes.len() > NAMED_MAX {
        let more = done.notes.len() - NAMED_MAX;
        ui.insist(&format!("sandbox: and {more} more; --json lists all"));
    }
}

fn verify(settings: &Settings, read_data: bool) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let depth = if read_data {
        VerifyDepth::Data
    } else {
        VerifyDepth::Structure
    };
    let found = progress::wait_for(settings, (&core, "verify"), core.verify_snapshots(depth))??;
    let code = if found.ok {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if settings.ui.is_json() {
        ui::print_json(&found)?;
    } else {
        ui::print(&verified(settings.ui, &found))?;
        if found.ok && !read_data {
            settings
                .ui
                .note("sandbox: --read-data checks every byte too");
        }
    }
    Ok(code)
}

fn verified(ui: Ui, found: &RepositoryVerification) -> String {
    let mut text = String::new();
    for problem in &found.problems {
        let line = format!(
            "{} {}\n",
            ui.tone(Tone::Bad, "damaged:"),
            inline(&problem.what)
        );
        text.push_str(&line);
        for path in problem.paths.iter().take(NAMED_MAX) {
            let line = format!("  {}\n", inline(&path.to_string_lossy()));
            text.push_str(&line);
        }
        if problem.paths.len() > NAMED_MAX {
            let line = format!("  and {} more\n", problem.paths.len() - NAMED_MAX);
            text.push_str(&line);
        }
    }
    let verdict = if found.ok {
        ui.tone(Tone::Good, "intact")
    } else {
        ui.tone(Tone::Bad, "damaged")
    };
    let line = format!(
        "{verdict}: {} snapshots, {} packs, {} chunks, {} read\n",
        found.snapshots,
        found.packs,
        found.chunks,
        Bytes(found.bytes_read),
    );
    text.push_str(&line);
    text
}

fn delete(settings: &Settings, id: &str) -> Result<u8, Failure> {
    let core = settings.open()?;
    let deleted = waiting::wait_for(core.delete_snapshot(id))??;
    if settings.ui.is_json() {
        ui::print_json(&json!({"deleted": deleted}))?;
        return Ok(exit_codes::DONE);
    }
    let id = short(&deleted);
    settings.ui.note(&format!(
        "sandbox: deleted {id}; `sandbox snapshot prune` frees its space"
    ));
    Ok(exit_codes::DONE)
}
