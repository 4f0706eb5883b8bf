//! `sandbox status` and `sandbox show` in a sandbox whose journal has 100,000 operations.

use std::{path::Path, process::Command};

use anyhow::Context as _;
use sandbox_state::StateManager;

use super::{
    super::release_binary,
    table::{Row, Side},
};
use crate::process;

const OPERATIONS: usize = 100_000;
/// How many records are written at once.
const BATCH: usize = 1000;
const ROUNDS: usize = 31;

pub(super) fn measure(directory: &Path) -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--bin",
        "sandbox",
    ]))?;
    let sandbox = release_binary()?;
    let workspace = directory.join("workspace");
    let home = directory.join("home");
    std::fs::create_dir(&workspace).context("cannot make the workspace")?;
    let ours = |args: &[&str]| {
        let mut command = Command::new(&sandbox);
        command
            .args(args)
            .current_dir(&workspace)
            .env("SANDBOX_HOME", &home)
            .env_remove("SANDBOX_NAME");
        command
    };
    process::read(&mut ours(&["create", "bench"]))?;
    process::read(&mut ours(&["run", "--no-session", "--", "true"]))?;
    let measured = records(&home).and_then(|()| {
        let mut first = Row::new("first status with 100,000 operations (process)", 1);
        first.time(Side::Ours, || process::read(&mut ours(&["status"])))?;
        first.print();
        let mut row = Row::new("status with 100,000 operations (process)", 1);
        let mut bare = Row::new("  sandbox --version (process)", 1);
        for _ in 0..ROUNDS {
            row.time(Side::Ours, || process::read(&mut ours(&["status"])))?;
            bare.time(Side::Ours, || process::read(&mut ours(&["--version"])))?;
        }
        row.print();
        bare.print();
        let oldest = operation(5);
        let mut first = Row::new("first show of an old operation (process)", 1);
        first.time(Side::Ours, || process::read(&mut ours(&["show", &oldest])))?;
        first.print();
        let mut show = Row::new("show of an old operation (process)", 1);
        for _ in 0..ROUNDS {
            show.time(Side::Ours, || process::read(&mut ours(&["show", &oldest])))?;
        }
        show.print();
        Ok(())
    });
    let destroyed = process::read(&mut ours(&["destroy"]));
    measured?;
    destroyed.context("cannot destroy the benchmark's sandbox")?;
    Ok(())
}

/// Repeats the two records of an operation that ran, each time with another name.
fn records(home: &Path) -> anyhow::Result<()> {
    let manager = StateManager::open(&home.join("sandboxes/bench"));
    let journal = manager.journal();
    let known: Vec<_> = journal.records()?.collect::<Result<_, _>>()?;
    let of = |kind: &str| {
        let found = known.iter().find(|it| it.kind == kind).cloned();
        found.with_context(|| format!("no record of the kind {kind}"))
    };
    let (mut started, mut finished) = (of("operation.started")?, of("operation.finished")?);
    let mut batch = Vec::new();
    for number in 0..OPERATIONS {
        // A version 7 UUID, as operations have.
        let id = operation(number);
        for record in [&mut started, &mut finished] {
            record.payload["operation"]["id"] = id.as_str().into();
            batch.push((record.kind.clone(), record.payload.clone()));
        }
        if batch.len() >= BATCH || number + 1 == OPERATIONS {
            let records: Vec<_> = batch.iter().map(|(kind, it)| (kind.as_str(), it)).collect();
            journal.append_all(finished.at, &records)?;
            batch.clear();
        }
    }
    Ok(())
}

fn operation(number: usize) -> String {
    format!("0190a000-0000-7000-8000-{number:012x}")
}
