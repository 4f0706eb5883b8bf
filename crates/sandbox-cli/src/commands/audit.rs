//! `sandbox audit`: the journal, and whether it is whole.

use serde_json::json;

use crate::{
    args::AuditShowArgs,
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, one_line},
};

/// The widest payload that is shown.
const PAYLOAD_WIDTH: usize = 120;

pub(crate) fn verify(settings: &Settings) -> Result<u8, Failure> {
    let found = settings.open_to_read()?.audit()?;
    let ui = settings.ui;
    let whole = found.damage.is_none();
    let code = if whole {
        exit_codes::DONE
    } else {
        exit_codes::NO
    };
    if ui.is_json() {
        let mut document = json!(found);
        document["ok"] = json!(whole);
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
            "record {} at byte {}: {}\n",
            damage.sequence, damage.offset, damage.what
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
