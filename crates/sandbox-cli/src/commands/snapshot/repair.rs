//! `sandbox snapshot repair`: what is lost, and what is done about it.

use sandbox_core::Rebuilt;
use serde::Serialize;

use super::progress;
use crate::{exit_codes, failure::Failure, settings::Settings, ui};

const HOW_TO_GO_ON: &str = "sandbox: `sandbox snapshot verify` names the snapshots and paths that lack something\n  hint: `sandbox snapshot create` stores again what is still in the workspace, for older snapshots too; `sandbox snapshot delete ID` gives one up; then repair once more";

#[derive(Serialize)]
struct Shown<'a> {
    dry_run: bool,
    #[serde(flatten)]
    rebuilt: &'a Rebuilt,
}

pub(super) fn run(settings: &Settings, dry_run: bool) -> Result<u8, Failure> {
    let core = settings.open()?;
    let work = core.repair_snapshots(dry_run);
    let rebuilt = progress::wait_for(settings, (&core, "repair"), work)??;
    let is_mended = rebuilt.lost_snapshots.is_empty()
        && (rebuilt.problems.is_empty() || rebuilt.removed_packs > 0);
    let code = if is_mended {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if settings.ui.is_json() {
        let rebuilt = &rebuilt;
        ui::print_json(&Shown { dry_run, rebuilt })?;
        return Ok(code);
    }
    let what = match (is_mended, dry_run) {
        (true, false) => "was damaged",
        (true, true) => "damaged",
        (false, _) => "lost",
    };
    for problem in &rebuilt.problems {
        settings
            .ui
            .insist(&format!("sandbox: {what}: {}", ui::inline(problem)));
    }
    for id in &rebuilt.lost_snapshots {
        settings.ui.insist(&format!("sandbox: lost: snapshot {id}"));
    }
    let removed = rebuilt.removed_packs;
    if removed > 0 && dry_run {
        settings.ui.note(&format!(
            "sandbox: no snapshot lacks anything: would keep what is intact, and remove {removed} damaged packs"
        ));
    } else if removed > 0 {
        settings.ui.note(&format!(
            "sandbox: no snapshot lacks anything: kept what is intact, and removed {removed} damaged packs"
        ));
    } else if !is_mended {
        settings.ui.insist(HOW_TO_GO_ON);
    }
    let made = format!(
        "the index again: {} snapshots, {} chunks in {} packs",
        rebuilt.snapshots, rebuilt.chunks, rebuilt.packs
    );
    settings.ui.note(&if dry_run {
        format!("sandbox: would make {made}; nothing was done")
    } else {
        format!("sandbox: made {made}")
    });
    Ok(code)
}
