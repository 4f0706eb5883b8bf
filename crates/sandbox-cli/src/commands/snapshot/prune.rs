//! `sandbox snapshot prune`: what goes, why the rest stays, and what that frees.

use sandbox_core::{KeepPolicy, Kept, time_before_now};
use sandbox_types::Bytes;
use serde_json::json;

use super::{progress, short};
use crate::{
    args::SnapshotPruneArgs, commands::waiting, exit_codes, failure::Failure, settings::Settings,
    ui,
};

pub(super) fn run(settings: &Settings, args: &SnapshotPruneArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let policy = policy_of(args);
    let dry_run = args.dry_run;
    let decided = if policy.is_empty() {
        Vec::new()
    } else {
        waiting::wait_for(core.forget_snapshots(policy, dry_run))??
    };
    let pruned = progress::wait_for(settings, (&core, "prune"), core.prune_snapshots(dry_run))??;
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "dry_run": dry_run,
            "snapshots": decided,
            "removed_packs": pruned.removed_packs,
            "rewritten_packs": pruned.rewritten_packs,
            "unneeded_chunks": pruned.unneeded_chunks,
            "freed_bytes": pruned.freed_bytes,
        }))?;
        return Ok(exit_codes::DONE);
    }
    let rows: Vec<_> = decided.iter().map(row).collect();
    ui::print(&rows.concat())?;
    let going = decided.iter().filter(|one| one.reasons.is_empty()).count();
    let freed = Bytes(pruned.freed_bytes);
    settings.ui.note(&match (dry_run, decided.is_empty()) {
        (true, true) => format!("sandbox: about {freed} would be freed; nothing was done"),
        (true, false) => format!(
            "sandbox: {going} would be deleted; their space is not counted: about {freed} would be freed now; nothing was done"
        ),
        (false, true) => format!("sandbox: freed {freed}"),
        (false, false) => format!("sandbox: deleted {going}, freed {freed}"),
    });
    Ok(exit_codes::DONE)
}

fn policy_of(args: &SnapshotPruneArgs) -> KeepPolicy {
    KeepPolicy {
        last: args.keep_last,
        hourly: args.keep_hourly,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
        since: args.keep_within.and_then(time_before_now),
        tags: args.keep_tags.clone(),
        not_before: args.max_age.and_then(time_before_now),
        bytes_max: args.max_bytes.map(|it| it.0),
    }
}

fn row(one: &Kept) -> String {
    let what = match (one.beyond, one.reasons.is_empty()) {
        (Some(limit), _) => format!("delete: beyond {limit}"),
        (None, true) => "delete".to_owned(),
        (None, false) => format!("keep: {}", one.reasons.join(", ")),
    };
    format!("{}  {:.0}  {what}\n", short(&one.snapshot), one.created_at)
}
