//! Values with every version of them, and secrets.

use sandbox_core::{Secrecy, StatePut, When};

use super::{
    chapters::Story,
    means::{file_with, reason},
};
use crate::failure::Failure;

const KEY: &str = "release";
const VALUES: [&str; 2] = ["release-1-of-the-demo", "release-2-of-the-demo"];
const SECRET_KEY: &str = "password";
const SECRET: &str = "correct-horse-battery-staple";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Keep: values with every version, and secrets")?;
    for value in VALUES {
        story
            .narrator
            .command(&format!("sandbox state set {KEY} {value}"))?;
    }
    let held = versions(story).await;
    story.narrator.step("both versions are kept", held)?;
    story
        .narrator
        .command(&format!("sandbox state get {KEY} --version 1"))?;
    let held = value(story, KEY, When::Version(1)).await;
    let held = held.and_then(|found| expect(&found, VALUES[0]));
    story.narrator.step("the old one can be read", held)?;
    story
        .narrator
        .command(&format!("sandbox state set {SECRET_KEY} --secret --file -"))?;
    let held = sealed(story).await;
    story
        .narrator
        .step("a secret is in no file in the clear, and can be read", held)?;
    story
        .narrator
        .command(&format!("sandbox state rollback {KEY} --version 1"))?;
    let held = rolled_back(story).await;
    story
        .narrator
        .step("a key is rolled back, as a new version", held)
}

async fn set(story: &Story<'_>, key: &str, value: &str, secrecy: Secrecy) -> Result<u64, String> {
    let put = StatePut {
        secrecy,
        expected: None,
    };
    let stored = story.core.state_set(key, value, put).await;
    Ok(stored.map_err(|error| reason(&error))?.version)
}

async fn value(story: &Story<'_>, key: &str, when: When) -> Result<String, String> {
    let entry = story.core.state_get(key, when).await;
    let entry = entry.map_err(|error| reason(&error))?;
    let entry = entry.ok_or_else(|| format!("there is no '{key}'"))?;
    Ok(String::from_utf8_lossy(&entry.value).into_owned())
}

fn expect(found: &str, expected: &str) -> Result<String, String> {
    if found == expected {
        Ok(found.to_owned())
    } else {
        Err(format!("it reads {found:?}"))
    }
}

async fn versions(story: &Story<'_>) -> Result<String, String> {
    for value in VALUES {
        set(story, KEY, value, Secrecy::Open).await?;
    }
    let history = story.core.state_history(KEY).await;
    let history = history.map_err(|error| reason(&error))?;
    let mut numbers: Vec<u64> = history.iter().map(|it| it.version).collect();
    numbers.sort_unstable();
    if numbers == [1, 2] {
        Ok(format!("versions 1 and 2 of '{KEY}'"))
    } else {
        Err(format!("the versions are {numbers:?}"))
    }
}

async fn sealed(story: &Story<'_>) -> Result<String, String> {
    set(story, SECRET_KEY, SECRET, Secrecy::Secret).await?;
    let data = &story.scratch.home().host().data;
    let look = |wanted: &str| file_with(data, wanted.as_bytes()).map_err(|it| it.to_string());
    // The control: a value that is no secret is found there.
    let Some(open) = look(VALUES[1])? else {
        return Err("not even an open value is found in the files".to_owned());
    };
    if let Some(file) = look(SECRET)? {
        return Err(format!("it is in {}", file.display()));
    }
    let found = value(story, SECRET_KEY, When::Newest).await?;
    expect(&found, SECRET)?;
    let open = open.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("the open value is found in {open}"))
}

async fn rolled_back(story: &Story<'_>) -> Result<String, String> {
    let restored = story.core.state_rollback(KEY, 1).await;
    let restored = restored.map_err(|error| reason(&error))?;
    let found = value(story, KEY, When::Newest).await?;
    expect(&found, VALUES[0])?;
    if (restored.version, restored.restores) == (3, Some(1)) {
        Ok("version 3 is version 1 again".to_owned())
    } else {
        Err(format!("it is version {}", restored.version))
    }
}
