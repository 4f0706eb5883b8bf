//! The last chapters: what is remembered, that it cannot be changed unseen, and leaving.

use std::{fs, path::Path};

use sandbox_core::{HeldChanges, Home, WorkspaceFate};
use sandbox_types::causes;

use super::{
    chapters::{Story, same},
    means::{flip_a_bit, reason},
};
use crate::failure::Failure;

/// More operations than the story has.
const LOG_LENGTH: usize = 100;
/// Everything that the story ran.
const OPERATIONS_AT_LEAST: usize = 30;

pub(super) fn tell(story: Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Remember: a journal that cannot be changed unseen")?;
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
    let held = tampered(&story);
    story
        .narrator
        .step("one flipped bit in a copy of it is found", held)?;
    leave(story)
}

/// Copies what the sandbox keeps, flips one bit of the copied journal, and verifies that.
fn tampered(story: &Story<'_>) -> Result<String, String> {
    let copy = story.copy("copied-journal")?;
    flip_a_bit(&copy.directory.join("journal.log"))?;
    let found = copy.open()?.audit().map_err(|error| reason(&error))?;
    match found.damage {
        Some(damage) => Ok(format!("record {}: {}", damage.sequence, damage.what)),
        None => Err("it was not found".to_owned()),
    }
}

fn leave(story: Story<'_>) -> Result<(), Failure> {
    story.narrator.chapter("Leave: nothing stays")?;
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
