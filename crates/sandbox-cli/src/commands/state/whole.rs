//! `sandbox state apply`, `diff`, `watch`, `rekey` and `recover`: what is about more than one key.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sandbox_core::{
    Difference, EventKind, SandboxEvent, Secrecy, StateEdit, StatePut, Version, When,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{KEY_WIDTH, described};
use crate::{
    args::StateWatchArgs,
    commands::{describe, events, input, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Reader, Tone, Ui, one_line},
};

/// One change as the document has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    set: Option<String>,
    delete: Option<String>,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    secret: bool,
    if_version: Option<u64>,
}

impl Typed {
    fn edit(self) -> Result<StateEdit, &'static str> {
        let expected = self.if_version;
        let value = match (self.text, self.base64) {
            (Some(text), None) => Some(text.into_bytes()),
            (None, Some(text)) => {
                let decoded = BASE64_STANDARD.decode(text);
                Some(decoded.map_err(|_invalid| "its `base64` is none")?)
            }
            (None, None) => None,
            (Some(_), Some(_)) => return Err("it has `text` and `base64`"),
        };
        match (self.set, self.delete, value) {
            (Some(key), None, Some(value)) => {
                let secrecy = if self.secret {
                    Secrecy::Secret
                } else {
                    Secrecy::Open
                };
                Ok(StateEdit::Put {
                    key,
                    value: value.into(),
                    put: StatePut { secrecy, expected },
                })
            }
            (None, Some(key), None) if !self.secret => Ok(StateEdit::Delete { key, expected }),
            (Some(_), None, None) => Err("it sets a key and has neither `text` nor `base64`"),
            _ => Err("it has either `set` with a value, or `delete`"),
        }
    }
}

pub(super) fn apply(settings: &Settings, file: &Path) -> Result<u8, Failure> {
    let core = settings.open()?;
    let text = input::read_text(file)?;
    let typed: Vec<Typed> = serde_json::from_str(&text).map_err(|error| {
        Failure::of(Kind::Usage, &error)
            .while_doing(format!("cannot read the changes of {}", input::name(file)))
            .hint(r#"write a JSON list, as in [{"set": "a", "text": "1"}, {"delete": "b"}]"#)
    })?;
    let mut edits = Vec::new();
    for (at, one) in typed.into_iter().enumerate() {
        edits.push(one.edit().map_err(|reason| {
            Failure::new(
                Kind::Usage,
                format!("cannot use change {}: {reason}", at + 1),
            )
        })?);
    }
    let made = waiting::wait_for(core.state_apply(edits))??;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = made.iter().map(|(key, it)| described(key, it)).collect();
        ui::print_json(&documents)?;
    } else {
        ui.note(&format!(
            "sandbox: changed {} keys in one commit",
            made.len()
        ));
    }
    Ok(exit_codes::DONE)
}

/// Brings all keys that begin with `prefix` to where they were.
pub(super) fn rollback(settings: &Settings, prefix: &str, sequence: u64) -> Result<u8, Failure> {
    let core = settings.open()?;
    let back = waiting::wait_for(core.rollback_state_prefix(prefix, sequence))??;
    let ui = settings.ui;
    if ui.is_json() {
        let changed = back.changed.iter().map(|(key, it)| described(key, it));
        let changed: Vec<_> = changed.collect();
        ui::print_json(&json!({ "sequence": back.sequence, "changed": changed }))?;
        return Ok(exit_codes::DONE);
    }
    if back.changed.is_empty() {
        ui.note("sandbox: every key is as it was then");
    } else {
        let count = back.changed.len();
        let keys = if count == 1 {
            "key is what it was"
        } else {
            "keys are what they were"
        };
        ui.note(&format!(
            "sandbox: {count} {keys} after change {sequence}; that is change {} now",
            back.sequence
        ));
    }
    Ok(exit_codes::DONE)
}

pub(super) fn diff(settings: &Settings, before: &str, after: Option<&str>) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let when = |text: &str| -> Result<When, Failure> {
        match text.parse() {
            Ok(at) => Ok(When::Time(at)),
            Err(_no_time) => Ok(core.state_of_snapshot(text)?),
        }
    };
    let after = after.map_or(Ok(When::Newest), when)?;
    let found = waiting::wait_for(core.state_diff(when(before)?, after))??;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = found.iter().map(document).collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    if found.is_empty() {
        ui.note("sandbox: no key differs");
    }
    let lines: String = found.iter().map(|it| difference(ui, it)).collect();
    ui::print(&lines)?;
    Ok(exit_codes::DONE)
}

fn document(found: &Difference) -> Value {
    let version = |it: &Option<Version>| it.as_ref().map(|it| described(&found.key, it));
    json!({
        "key": found.key,
        "before": version(&found.before),
        "after": version(&found.after),
    })
}

fn difference(ui: Ui, found: &Difference) -> String {
    let (mark, tone, what) = match (&found.before, &found.after) {
        (None, Some(after)) => ('+', Tone::Good, format!("version {}", after.version)),
        (Some(before), None) => ('-', Tone::Bad, format!("version {}", before.version)),
        (Some(before), Some(after)) => {
            let what = format!("version {} -> {}", before.version, after.version);
            ('~', Tone::Warning, what)
        }
        (None, None) => return String::new(),
    };
    let key = one_line(&found.key, KEY_WIDTH);
    format!("{} {key}  {what}\n", ui.tone(tone, &mark.to_string()))
}

pub(super) fn watch(settings: &Settings, args: &StateWatchArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let mut changes = core.watch_state(&args.prefix, args.since)?;
    let ui = settings.ui;
    events::follow_with(async || changes.next().await, |event| show(ui, event))
}

fn show(ui: Ui, event: &SandboxEvent) -> Result<Reader, Failure> {
    if ui.is_json() {
        return events::print_as_json(event);
    }
    let (EventKind::StateSet(it) | EventKind::StateDeleted(it) | EventKind::StateRolledBack(it)) =
        &event.kind
    else {
        let line = "the store was recovered: any key may have changed\n";
        return ui::print(line);
    };
    let what = match it.restores {
        _ if it.deleted => "deleted".to_owned(),
        Some(old) => format!("version {} (rolled back to {old})", it.version),
        None => format!("version {}", it.version),
    };
    let secret = if it.secret { "  secret" } else { "" };
    ui::print(&format!(
        "{}  {}  {what}{secret}\n",
        ui.tone(Tone::Faint, &describe::time(&event.at)),
        ui.tone(Tone::Strong, &one_line(&it.key, KEY_WIDTH)),
    ))
}

pub(super) fn rekey(settings: &Settings) -> Result<u8, Failure> {
    let done = settings.home()?.rekey_state()?;
    let ui = settings.ui;
    if ui.is_json() {
        let documents: Vec<_> = done
            .iter()
            .map(|(sandbox, it)| {
                let mut document = json!(it);
                document["sandbox"] = json!(sandbox);
                document
            })
            .collect();
        ui::print_json(&documents)?;
        return Ok(exit_codes::DONE);
    }
    for (sandbox, rekeyed) in &done {
        let (versions, key) = (rekeyed.versions, &rekeyed.key);
        let are = if versions == 1 {
            "version is"
        } else {
            "versions are"
        };
        ui.note(&format!(
            "sandbox: {sandbox}: {versions} secret {are} sealed anew with the key {key}"
        ));
    }
    if done.is_empty() {
        ui.note("sandbox: there were no stores; the key is another one");
    }
    Ok(exit_codes::DONE)
}

pub(super) fn recover(settings: &Settings) -> Result<u8, Failure> {
    let core = settings.open()?;
    let recovered = waiting::wait_for(core.recover_state())??;
    let ui = settings.ui;
    if ui.is_json() {
        let mut document = recovered.as_ref().map_or_else(|| json!({}), |it| json!(it));
        document["recovered"] = recovered.is_some().into();
        ui::print_json(&document)?;
        return Ok(exit_codes::DONE);
    }
    let Some(recovered) = recovered else {
        ui.note("sandbox: nothing is wrong with the state");
        return Ok(exit_codes::DONE);
    };
    ui.note(&format!(
        "sandbox: the state goes on after change {}; the journal had {}",
        recovered.sequence, recovered.recorded
    ));
    if let Some(path) = &recovered.moved_to {
        let path = ui::inline(&path.to_string_lossy());
        ui.note(&format!("sandbox: the damaged store is {path} now"));
    }
    Ok(exit_codes::DONE)
}
