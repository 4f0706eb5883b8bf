//! `sandbox audit`: the journal, and whether it is whole.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use sandbox_core::{ReadError, Record, SandboxCore, hex};
use serde_json::json;

use crate::{
    args::{AuditShowArgs, AuditVerifyArgs},
    commands::describe,
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Reader, Tone, one_line},
};

/// The widest payload that is shown.
const PAYLOAD_WIDTH: usize = 120;

pub(crate) fn verify(settings: &Settings, args: &AuditVerifyArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let found = core.audit()?;
    let ui = settings.ui;
    let kept = match &args.head {
        Some(head) if found.damage.is_none() => Some(has(&core, head)?),
        Some(_) | None => None,
    };
    let whole = found.damage.is_none() && kept != Some(false);
    let code = if whole {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if ui.is_json() {
        let mut document = json!(found);
        document["ok"] = json!(whole);
        if args.head.is_some() {
            document["has_head"] = json!(kept);
        }
        ui::print_json(&document)?;
        return Ok(code);
    }
    let word = if whole {
        ui.tone(Tone::Good, "whole")
    } else {
        ui.tone(Tone::Bad, "damaged")
    };
    let mut text = format!("{word}: {} records, {} bytes\n", found.records, found.bytes);
    if let Some(head) = &found.head {
        let line = format!("head: {head}\n");
        text.push_str(&line);
    }
    if let Some(damage) = &found.damage {
        let line = format!(
            "record {} at byte {} of {}: {}\n",
            damage.sequence, damage.offset, damage.file, damage.what
        );
        text.push_str(&line);
    }
    if let (Some(false), Some(head)) = (kept, &args.head) {
        let line = format!(
            "no record has the hash {head}: records are missing, or all were written anew\n"
        );
        text.push_str(&line);
    }
    if let Some(bytes) = found.torn_tail {
        let line = format!("{bytes} bytes at the end are from an append that was cut off\n");
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(code)
}

/// Whether a record has this hash.
fn has(core: &SandboxCore, head: &str) -> Result<bool, Failure> {
    for record in core.all_records()? {
        if hex(&record?.hash) == head {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn export(settings: &Settings, file: Option<&Path>) -> Result<u8, Failure> {
    let records = settings.open_to_read()?.all_records()?;
    let Some(path) = file.filter(|it| *it != Path::new("-")) else {
        for record in records {
            if ui::print(&exported(&record?))? == Reader::Gone {
                break;
            }
        }
        return Ok(exit_codes::DONE);
    };
    let failed = |error: io::Error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing(format!(
                "cannot write {}",
                ui::plain(&path.to_string_lossy())
            ))
            .hint("give a file that is not there yet")
    };
    if path.symlink_metadata().is_ok() {
        return Err(failed(Errno::EXIST.into()));
    }
    let draft = beside(path).map_err(failed)?;
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    let file = options.open(&draft).map_err(failed)?;
    let count = write(&file, records, failed).and_then(|count| {
        let renamed = rustix::fs::renameat_with(CWD, &draft, CWD, path, RenameFlags::NOREPLACE);
        renamed
            .map(|()| count)
            .map_err(|error| failed(error.into()))
    });
    if count.is_err() {
        // The error says why; what is left of it is of no use.
        drop(fs::remove_file(&draft));
    }
    settings.ui.note(&format!("sandbox: {} records", count?));
    Ok(exit_codes::DONE)
}

/// Returns the name that the file has until it is complete.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut part = name.to_owned();
    part.push(format!(".part-{}", std::process::id()));
    Ok(path.with_file_name(part))
}

/// Writes all records to a file, and returns how many there are.
fn write(
    file: &File,
    records: impl Iterator<Item = Result<Record, ReadError>>,
    failed: impl Fn(io::Error) -> Failure + Copy,
) -> Result<u64, Failure> {
    let mut writer = BufWriter::new(file);
    let mut count = 0_u64;
    for record in records {
        writer
            .write_all(exported(&record?).as_bytes())
            .map_err(failed)?;
        count += 1;
    }
    writer.flush().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(count)
}

fn exported(record: &Record) -> String {
    let document = json!({
        "sequence": record.sequence,
        "at": record.at,
        "kind": record.kind,
        "payload": record.payload,
        "hash": hex(&record.hash),
    });
    ui::inert_json(format!("{document}\n"))
}

pub(crate) fn show(settings: &Settings, args: &AuditShowArgs) -> Result<u8, Failure> {
    let mut records = settings.open_to_read()?.records(args.number)?;
    records.reverse();
    let ui = settings.ui;
    let mut text = String::new();
    for record in &records {
        let line = if ui.is_json() {
            format!(
                "{}\n",
                json!({
                    "sequence": record.sequence,
                    "at": record.at,
                    "kind": record.kind,
                    "payload": record.payload,
                })
            )
        } else {
            format!(
                "{:>6}  {}  {}  {}\n",
                record.sequence,
                describe::time(&record.at),
                ui.tone(Tone::Strong, &record.kind),
                one_line(&record.payload.to_string(), PAYLOAD_WIDTH),
            )
        };
        text.push_str(&line);
    }
    ui::print(&text)?;
    Ok(exit_codes::DONE)
}
