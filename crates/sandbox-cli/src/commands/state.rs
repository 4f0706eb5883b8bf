//! `sandbox state`: values and secrets of a sandbox, with every version of them.

mod whole;

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sandbox_core::{Entry, Listed, Secrecy, StatePut, Version, When};
use sandbox_types::Bytes;
use serde_json::{Value, json};

use crate::{
    args::{StateCommand, StateGetArgs, StateRollbackArgs, StateSetArgs},
    commands::{describe, input, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Tone, Ui, one_line},
};

/// The widest key that is listed.
const KEY_WIDTH: usize = 60;

pub(crate) fn run(settings: &Settings, command: StateCommand) -> Result<u8, Failure> {
    // Secrets pass through this process, and it starts no other.
    sandbox_core::without_core_dumps();
    match command {
        StateCommand::Set(args) => set(settings, args),
        StateCommand::Get(args) => get(settings, &args),
        StateCommand::List { prefix } => list(settings, &prefix),
        StateCommand::History { key } => history(settings, &key),
        StateCommand::Delete { key } => delete(settings, &key),
        StateCommand::Rollback(args) => rollback(settings, &args),
        StateCommand::Apply { file } => whole::apply(settings, &file),
        StateCommand::Diff { before, after } => whole::diff(settings, &before, after.as_deref()),
        StateCommand::Watch(args) => whole::watch(settings, &args),
        StateCommand::Rekey => whole::rekey(settings),
        StateCommand::Recover => whole::recover(settings),
    }
}

fn set(settings: &Settings, args: StateSetArgs) -> Result<u8, Failure> {
    let on_command_line = args.value.as_ref().is_some_and(|it| it != "-");
    if args.secret && on_command_line && ui::somebody_is_there() {
        settings.ui.note(
            "sandbox: other users can see a command line, and the shell remembers it; `-` and --file keep a secret out of both",
        );
    }
    let core = settings.open()?;
    let value = value_of(args.value, args.file.as_deref())?;
    let put = StatePut {
        secrecy: if args.secret {
            Secrecy::Secret
        } else {
            Secrecy::Open
        },
        expected: args.if_version,
    };
    let stored = waiting::wait_for(core.state_set(&args.key, value, put))??;
    done(settings.ui, "set", &args.key, &stored)
}

fn value_of(typed: Option<OsString>, file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match (typed, file) {
        (Some(value), _) if value != "-" => Ok(value.into_vec()),
        (_, file) => input::read_bytes(file.unwrap_or_else(|| Path::new("-"))),
    }
}

fn get(settings: &Settings, args: &StateGetArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let when = match (args.version, args.sequence, &args.at) {
        (Some(version), ..) => When::Version(version),
        (None, Some(sequence), _) => When::Sequence(sequence),
        (None, None, Some(snapshot)) => core.state_of_snapshot(snapshot)?,
        (None, None, None) => args.time.map_or(When::Newest, When::Time),
    };
    let Some(entry) = waiting::wait_for(core.state_get(&args.key, when.clone()))?? else {
        return Err(nothing(&args.key, &when));
    };
    if settings.ui.is_json() {
        ui::print_json(&document(&args.key, &entry))?;
    } else {
        ui::print_bytes(&entry.value)?;
    }
    Ok(exit_codes::DONE)
}

fn document(key: &str, entry: &Entry) -> Value {
    let mut document = described(key, &entry.version);
    let (name, content) = match str::from_utf8(&entry.value) {
        Ok(text) => ("text", text.to_owned()),
        Err(_binary) => ("base64", BASE64_STANDARD.encode(&*entry.value)),
    };
    document[name] = content.into();
    document
}

fn nothing(key: &str, when: &When) -> Failure {
    let message = match when {
        When::Newest => format!("there is no key '{key}' in the state"),
        When::Version(version) => {
            format!("there is no value in version {version} of '{key}': it deleted the key")
        }
        When::Sequence(_) | When::Pin(_) | When::Time(_) => {
            format!("there was no key '{key}' at that time")
        }
    };
    Failure::new(Kind::NotFound, message).hint(
        "`sandbox state list` shows the keys, `sandbox state history KEY` the versions of one",
    )
}

fn list(settings: &Settings, prefix: &str) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let keys = waiting::wait_for(core.state_list(prefix))??;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = keys
            .iter()
            .map(|it| described(&it.key, &it.newest))
            .collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    if keys.is_empty() {
        let those = if prefix.is_empty() { "" } else { " like that" };
        ui.note(&format!("sandbox: there are no keys{those} in the state"));
    }
    let width = |it: &Listed| one_line(&it.key, KEY_WIDTH).chars().count();
    let width = keys.iter().map(width).max().unwrap_or(0);
    let lines: String = keys.iter().map(|it| listed(ui, it, width)).collect();
    ui::print(&lines)?;
    Ok(exit_codes::DONE)
}

fn history(settings: &Settings, key: &str) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let versions = waiting::wait_for(core.state_history(key))??;
    if versions.is_empty() {
        return Err(nothing(key, &When::Newest));
    }
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = versions.iter().map(|it| described(key, it)).collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    let lines: String = versions.iter().map(|it| line(ui, it)).collect();
    ui::print(&lines)?;
    Ok(exit_codes::DONE)
}

fn delete(settings: &Settings, key: &str) -> Result<u8, Failure> {
    let core = settings.open()?;
    match waiting::wait_for(core.state_delete(key))?? {
        Some(deleted) => done(settings.ui, "deleted", key, &deleted),
        None => Err(nothing(key, &When::Newest)),
    }
}

fn rollback(settings: &Settings, args: &StateRollbackArgs) -> Result<u8, Failure> {
    let key = &args.key;
    if let Some(sequence) = args.sequence {
        return whole::rollback(settings, key, sequence);
    }
    let Some(version) = args.version.filter(|_| !key.is_empty()) else {
        return Err(
            Failure::new(Kind::Usage, "cannot tell which key to roll back".to_owned())
                .hint("name it: sandbox state rollback KEY --version N"),
        );
    };
    let core = settings.open()?;
    let restored = waiting::wait_for(core.state_rollback(key, version))??;
    done(settings.ui, "rolled back", key, &restored)
}

/// Says what was done.
fn done(ui: Ui, what: &str, key: &str, version: &Version) -> Result<u8, Failure> {
    if ui.is_json() {
        ui::print_json(&described(key, version))?;
    } else {
        let key = one_line(key, KEY_WIDTH);
        let number = version.version;
        ui.note(&match version.restores {
            Some(old) => {
                format!("sandbox: {what} '{key}' to version {old}; that is version {number} now")
            }
            None => format!("sandbox: {what} '{key}' (version {number})"),
        });
    }
    Ok(exit_codes::DONE)
}

/// A version as JSON has it; never its value.
fn described(key: &str, version: &Version) -> Value {
    json!({
        "key": key,
        "version": version.version,
        "sequence": version.sequence,
        "at": version.at,
        "secret": version.secret,
        "bytes": version.bytes,
        "deleted": version.deleted,
        "restores": version.restores,
    })
}

fn listed(ui: Ui, listed: &Listed, width: usize) -> String {
    let key = one_line(&listed.key, KEY_WIDTH);
    let gap = " ".repeat(width - key.chars().count());
    let key = ui.tone(Tone::Strong, &key);
    format!("{key}{gap}  {}", line(ui, &listed.newest))
}

/// A version for people.
fn line(ui: Ui, version: &Version) -> String {
    let what = if version.deleted {
        "deleted".to_owned()
    } else {
        Bytes(version.bytes).to_string()
    };
    let secret = if version.secret { "  secret" } else { "" };
    let restores = version
        .restores
        .map_or_else(String::new, |old| format!("  rolled back to version {old}"));
    format!(
        "version {:<4}  {}  {what:>8}{secret}{}\n",
        version.version,
        describe::time(&version.at),
        ui.tone(Tone::Faint, &restores),
    )
}
