//! `sandbox audit`: the journal, and whether it is whole.

mod export;

use sandbox_core::{JournalFault, SandboxCore, hex};
use serde_json::json;

use crate::{
    args::{AuditShowArgs, AuditVerifyArgs},
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, one_line},
};

pub(crate) use export::export;

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
        if damage.what == JournalFault::Version {
            text.push_str("a newer version of sandbox wrote it: use that one\n");
        }
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
