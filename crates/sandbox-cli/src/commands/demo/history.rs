//! The last chapters: what is remembered, that it cannot be changed unseen, and leaving.

use std::{fs, io, path::Path};

use sandbox_core::{HeldChanges, Home, Overrides, WorkspaceFate};
use sandbox_types::causes;

use super::chapters::{Story, same};
use crate::failure::Failure;

/// More operations than the story has.
const LOG_LENGTH: usize = 100;
/// Everything that the story ran.
const OPERATIONS_AT_LEAST: usize = 12;

pub(super) fn tell(mut story: Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("8. Remember: a journal that cannot be changed unseen")?;
    let log = story
        .core
        .log(LOG_LENGTH)
        .map_err(|error| causes(&error).join(": "));
    let held = log.and_then(|entries| {
        let text = format!("{} operations", entries.len());
        if entries.len() >= OPERATIONS_AT_LEAST {
            Ok(text)
        } else {
            Err(text)
        }
    });
    story.narrator.step("`sandbox log` knows what ran", held)?;
    let verified = story
        .core
        .audit()
        .map_err(|error| causes(&error).join(": "));
    let held = verified.and_then(|found| match &found.damage {
        None => Ok(format!("{} records", found.records)),
        Some(damage) => Err(format!("record {}: {}", damage.sequence, damage.what)),
    });
    story
        .narrator
        .step("`sandbox audit verify` finds it whole", held)?;
    let held = tampered(&mut story);
    story
        .narrator
        .step("one changed byte in a copy of it is found", held)?;
    leave(story)
}

/// Copies the data directory, changes one byte of the copied journal, and verifies that.
fn tampered(story: &mut Story<'_>) -> Result<String, String> {
    let text = |error: io::Error| error.to_string();
    let mut host = story.scratch.home().host().clone();
    let copy = story.scratch.root().join("copy");
    let name = story.core.name().clone();
    let place = Path::new("sandboxes").join(name.as_str());
    fs::create_dir_all(copy.join(&place)).map_err(text)?;
    for file in fs::read_dir(host.data.join(&place)).map_err(text)? {
        let file = file.map_err(text)?;
        fs::copy(file.path(), copy.join(&place).join(file.file_name())).map_err(text)?;
    }
    let journal = copy.join(&place).join("journal.log");
    let mut bytes = fs::read(&journal).map_err(text)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).map_err(text)?;

    host.data = copy;
    let home = Home::new(host);
    let opened = home
        .find(&name)
        .map_err(|error| causes(&error).join(": "))
        .and_then(|record| {
            home.open(record, &Overrides::default())
                .map_err(|error| causes(&error).join(": "))
        });
    let (core, _) = opened?;
    match core.audit() {
        Ok(found) => match found.damage {
            Some(damage) => Ok(format!("record {}: {}", damage.sequence, damage.what)),
            None => Err("it was not found".to_owned()),
        },
        Err(error) => Err(causes(&error).join(": ")),
    }
}

fn leave(story: Story<'_>) -> Result<(), Failure> {
    story.narrator.chapter("9. Leave: nothing stays")?;
    let before = story.tree();
    let scratch = story.scratch;
    let (home, record) = (scratch.home(), story.core.record().clone());
    let Story { narrator, core, .. } = story;
    drop(core);
    let destroyed = home
        .destroy(&record, WorkspaceFate::Keep, HeldChanges::Keep)
        .map_err(|error| causes(&error).join(": "));
    let held =
        destroyed.and_then(|()| nothing_is_left(scratch.root(), home, record.layers.as_deref()));
    narrator.step("`sandbox destroy` releases everything", held)?;
    let now = super::tree::Tree::of(&scratch.workspace());
    let files = now.as_ref().map_or(0, super::tree::Tree::len);
    let held = same(before, now).map(|()| format!("{files} files and directories"));
    narrator.step("the workspace stays as it is", held)
}

fn nothing_is_left(root: &Path, home: &Home, layers: Option<&Path>) -> Result<(), String> {
    if !home
        .list()
        .map_err(|error| causes(&error).join(": "))?
        .is_empty()
    {
        return Err("the sandbox is still listed".to_owned());
    }
    if let Some(layers) = layers.filter(|path| path.exists()) {
        return Err(format!("{} is still there", layers.display()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    match mounts
        .lines()
        .find(|line| line.contains(&*root.to_string_lossy()))
    {
        Some(line) => Err(format!("still mounted: {line}")),
        None => Ok(()),
    }
}
