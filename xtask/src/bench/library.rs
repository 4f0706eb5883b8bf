//! `cargo xtask bench sessions | throughput | layers`: what the library costs, by the examples of `sandbox-core`.

use std::process::Command;

use super::release_directory;
use crate::process;

/// Sandboxes that are alive at the same time.
pub(crate) const SANDBOXES: &str = "1000";
/// Operations, 64 at a time.
pub(crate) const OPERATIONS: &str = "10000";
/// Timed runs of each row.
pub(crate) const ROUNDS: &str = "60";

/// Many sandboxes with a session each: making one, its memory, and the latency then.
pub(crate) fn sessions(count: &str) -> anyhow::Result<()> {
    run("session_speed", &["many", count])
}

/// Many operations at the same time in one sandbox, against as many plain starts.
pub(crate) fn throughput(count: &str) -> anyhow::Result<()> {
    run("session_speed", &["throughput", count])
}

/// The cost of each layer, as a table.
pub(crate) fn layers(rounds: &str) -> anyhow::Result<()> {
    run("layers_speed", &[rounds])
}

fn run(example: &str, arguments: &[&str]) -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "sandbox-core",
        "--example",
        example,
    ]))?;
    let program = release_directory()?.join("examples").join(example);
    process::run(Command::new(program).args(arguments))
}
