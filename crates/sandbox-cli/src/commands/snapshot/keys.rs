//! `sandbox snapshot encrypt` and `rekey`: the key of the snapshots.

use sandbox_core::without_core_dumps;
use serde_json::json;

use super::progress;
use crate::{exit_codes, failure::Failure, settings::Settings, ui};

pub(super) fn encrypt(settings: &Settings) -> Result<u8, Failure> {
    without_core_dumps();
    let core = settings.open()?;
    let done = progress::wait_for(settings, (&core, "encrypt"), core.encrypt_snapshots())??;
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "encrypted": done.is_some(),
            "packs": done.map_or(0, |it| it.packs),
        }))?;
        return Ok(exit_codes::DONE);
    }
    settings.ui.note(&match done {
        Some(done) => format!("sandbox: the snapshots are encrypted: {} packs", done.packs),
        None => "sandbox: the snapshots are encrypted already".to_owned(),
    });
    Ok(exit_codes::DONE)
}

pub(super) fn rekey(settings: &Settings) -> Result<u8, Failure> {
    without_core_dumps();
    let done = settings.home()?.rekey_snapshots()?;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = done
            .iter()
            .map(|(sandbox, it)| json!({"sandbox": sandbox, "packs": it.packs}))
            .collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    for (sandbox, rekeyed) in &done {
        ui.note(&format!(
            "sandbox: {sandbox}: its snapshots have the new key ({} packs)",
            rekeyed.packs
        ));
    }
    if done.is_empty() {
        ui.note("sandbox: there were no encrypted snapshots; the key is another one");
    }
    Ok(exit_codes::DONE)
}
