//! Keeps a few values and a secret in a directory: the store used alone, without a sandbox.
//!
//! `cargo run -p sandbox-state --example state -- DIRECTORY`; the directory must not be there yet.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, path::PathBuf};

use jiff::Timestamp;
use sandbox_state::{KeySource, Put, Secrecy, StateManager, When};

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: state DIRECTORY")?
        .into();
    std::fs::create_dir(&directory)?;
    let state = StateManager::open(&directory.join("box"))
        .with_keys(KeySource::File(directory.join("keys/state.key")))
        .with_versions_kept(3);
    let at: Timestamp = "2026-11-22T20:00:00Z".parse()?;
    let open = Put {
        at,
        secrecy: Secrecy::Open,
        expected: None,
    };
    let secret = Put {
        secrecy: Secrecy::Secret,
        ..open
    };

    // Every commit has a number, and the number names the state of the whole store.
    state.set("app", "greeting", b"hello", open)?;
    state.set("app", "token", b"correct horse", secret)?;
    let before = state.pin("before", at)?;
    for number in 1..=5 {
        state.set("app", "counter", format!("{number}").as_bytes(), open)?;
    }
    state.set("app", "greeting", &[b'x'; 5000], open)?;
    state.delete("app", "token", at)?;
    assert_eq!(state.get("app", "token", &When::Newest)?, None);

    let when = When::Pin(before.name.clone());
    let token = state.get("app", "token", &when)?;
    assert_eq!(
        token.map(|it| it.value.into_bytes()),
        Some(b"correct horse".to_vec())
    );
    for version in state.history("app", "counter")? {
        println!(
            "counter: version {} of commit {}",
            version.version, version.sequence
        );
    }

    // Back to that time, by new versions.
    let done = state.rollback_to("app", before.sequence, at)?;
    for (key, version) in &done.changed {
        let became = if version.deleted { "gone" } else { "restored" };
        println!("{key}: {became} in version {}", version.version);
    }
    println!("{:?}", state.verify()?);
    Ok(())
}
