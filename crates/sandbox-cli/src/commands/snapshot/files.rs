//! `sandbox snapshot export` and `import`: one snapshot in one file.

use std::path::Path;

use sandbox_types::Bytes;
use serde_json::json;

use super::short;
use crate::{
    commands::waiting,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, plain},
};

pub(super) fn export(settings: &Settings, id: &str, file: &Path) -> Result<u8, Failure> {
    let core = settings.open()?;
    let exported = waiting::wait_for(core.export_snapshot(id, file))??;
    if settings.ui.is_json() {
        ui::print_json(&exported)?;
        return Ok(exit_codes::DONE);
    }
    settings.ui.note(&format!(
        "sandbox: snapshot {} is in {}: {} chunks, {}",
        short(&exported.snapshot),
        plain(&file.to_string_lossy()),
        exported.chunks,
        Bytes(exported.bytes)
    ));
    Ok(exit_codes::DONE)
}

pub(super) fn import(settings: &Settings, file: &Path) -> Result<u8, Failure> {
    let core = settings.open()?;
    let imported = waiting::wait_for(core.import_snapshot(file))??;
    let snapshot = &imported.snapshot;
    if settings.ui.is_json() {
        ui::print_json(&json!({
            "id": snapshot.id,
            "exported_as": imported.exported,
            "files": snapshot.files,
            "bytes": snapshot.bytes,
            "stored_bytes": imported.stored_bytes,
        }))?;
        return Ok(exit_codes::DONE);
    }
    ui::print(&format!("{}\n", snapshot.id))?;
    settings.ui.note(&format!(
        "sandbox: snapshot {}: {} files, {} ({} stored); it was {} where it was exported",
        short(&snapshot.id),
        snapshot.files,
        Bytes(snapshot.bytes),
        Bytes(imported.stored_bytes),
        short(&imported.exported)
    ));
    Ok(exit_codes::DONE)
}
