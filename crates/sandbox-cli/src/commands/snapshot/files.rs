//! `sandbox snapshot export` and `import`: one snapshot in one file.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::Path,
};

use sandbox_types::Bytes;
use serde_json::json;

use super::{progress, short};
use crate::{
    exit_codes,
    failure::{Failure, Kind},
    settings::{Settings, place_of_new},
    ui::{self, inline},
};

/// What stands for standard output and input.
const STREAM: &str = "-";

pub(super) fn export(settings: &Settings, id: &str, file: &Path) -> Result<u8, Failure> {
    let is_stream = file == Path::new(STREAM);
    let output = if is_stream {
        Some(standard_output(settings)?)
    } else {
        None
    };
    let core = settings.open()?;
    let exported = if let Some(output) = output {
        let export = core.export_snapshot_to(id, output);
        progress::wait_for(settings, (&core, "export"), export)??
    } else {
        let file = place_of_new(&settings.home()?, file)?;
        progress::wait_for(settings, (&core, "export"), core.export_snapshot(id, &file))??
    };
    if settings.ui.is_json() {
        ui::print_json(&exported)?;
        return Ok(exit_codes::DONE);
    }
    settings.ui.note(&format!(
        "sandbox: snapshot {} is in {}: {} chunks, {}",
        short(&exported.snapshot),
        if is_stream {
            "standard output".to_owned()
        } else {
            inline(&file.to_string_lossy())
        },
        exported.chunks,
        Bytes(exported.bytes)
    ));
    Ok(exit_codes::DONE)
}

/// Returns standard output, as long as nothing else is written there and nobody reads it on a screen.
fn standard_output(settings: &Settings) -> Result<File, Failure> {
    if settings.ui.is_json() {
        return Err(Failure::new(
            Kind::Usage,
            "cannot write a snapshot and --json to standard output",
        ));
    }
    let output = io::stdout();
    if output.is_terminal() {
        return Err(Failure::new(
            Kind::Usage,
            "cannot write a snapshot to a terminal: name a file, or use a pipe",
        ));
    }
    let output = output.as_fd().try_clone_to_owned();
    Ok(File::from(output.map_err(|error| {
        failed("write to standard output", &error)
    })?))
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::of(Kind::Sandbox, error).while_doing(format!("cannot {what}"))
}

pub(super) fn import(settings: &Settings, file: &Path) -> Result<u8, Failure> {
    let core = settings.open()?;
    let imported = if file == Path::new(STREAM) {
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input = File::from(input.map_err(|error| failed("read standard input", &error))?);
        progress::wait_for(
            settings,
            (&core, "import"),
            core.import_snapshot_from(input),
        )??
    } else {
        progress::wait_for(settings, (&core, "import"), core.import_snapshot(file))??
    };
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
