//! `sandbox diff`: what a held operation would change.

use sandbox_core::FileDiff;
use sandbox_types::Bytes;
use serde_json::json;

use crate::{
    args::HeldArgs,
    commands::describe,
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui, for_stdout, inline},
};

pub(crate) fn run(settings: &Settings, args: &HeldArgs) -> Result<u8, Failure> {
    let core = settings.open()?;
    let (operation, files) = core.diff(args.operation.as_deref())?;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&json!({"operation": operation, "files": files}))?;
        return Ok(exit_codes::DONE);
    }
    let id = describe::short(&operation);
    let mut text = String::new();
    for file in &files {
        text.push_str(&describe::changed_paths(std::slice::from_ref(&file.change)));
    }
    for file in &files {
        text.push_str(&unified(ui, file));
    }
    ui::print(&text)?;
    ui.note(&format!(
        "sandbox: accept with: sandbox commit {id}   drop with: sandbox discard {id}"
    ));
    Ok(exit_codes::DONE)
}

/// Says what cannot be shown line by line.
fn summary(file: &FileDiff) -> String {
    let path = inline(&file.change.path.to_string_lossy());
    if let Some(why) = &file.unreadable {
        return format!("not shown: {path}: {}\n", inline(why));
    }
    let Some(binary) = file.binary else {
        return String::new();
    };
    let size = |bytes: Option<u64>| bytes.map(|it| Bytes(it).to_string());
    let sizes = match (size(binary.bytes_before), size(binary.bytes_after)) {
        (Some(before), Some(after)) => format!("{before} before, {after} after"),
        (Some(before), None) => format!("{before} before, deleted"),
        (None, Some(after)) => format!("new, {after}"),
        (None, None) => String::new(),
    };
    format!("binary or large: {path}: {sizes}\n")
}

fn unified(ui: Ui, file: &FileDiff) -> String {
    let Some(unified) = &file.unified else {
        return summary(file);
    };
    let mut text = String::new();
    for line in for_stdout(unified).split_inclusive('\n') {
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, ""),
        };
        let tone = match content.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Some(Tone::Strong),
            [b'+', ..] => Some(Tone::Good),
            [b'-', ..] => Some(Tone::Bad),
            [b'@', ..] => Some(Tone::Faint),
            _ => None,
        };
        match tone {
            Some(tone) => text.push_str(&ui.tone(tone, content)),
            None => text.push_str(content),
        }
        text.push_str(end);
    }
    text
}
