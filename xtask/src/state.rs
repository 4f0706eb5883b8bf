//! `cargo xtask state`: what the state and the journal are put through, at full length.

use std::process::Command;

use anyhow::bail;

use crate::process;

/// How many random sequences of changes meet a failing write or a power cut, and how many bits are flipped.
const SEQUENCES: &str = "10000";

/// How many processes are killed, and how many operations each of eight processes runs.
const LENGTH: &str = "1000";

/// One campaign: its name, what it does, and how it is started.
type Campaign = (&'static str, &'static str, fn() -> anyhow::Result<()>);

const CAMPAIGNS: &[Campaign] = &[
    (
        "crashes",
        "power cuts and failing writes in the store and the journal",
        || library(&["store::tests::crash", "journal::tests::segments"]),
    ),
    (
        "flips",
        "flipped bits in the store, and creations that were cut off",
        || library(&["store::tests::damage"]),
    ),
    (
        "workers",
        "processes that use one store at once, and are killed",
        workers,
    ),
    (
        "kills",
        "`kill -9` of commands that change the state, rotate its key or run",
        || program("state_campaigns::whatever_is_killed"),
    ),
    (
        "processes",
        "eight processes that run operations in one sandbox",
        || program("state_campaigns::each_operation"),
    ),
    ("copies", "older copies of the store put back", || {
        program("state_campaigns::every_older_copy")
    }),
];

/// Runs the campaign of this name, or all of them: it takes long.
pub(crate) fn run(name: Option<&str>) -> anyhow::Result<()> {
    let wanted = |it: &&Campaign| name.is_none_or(|name| it.0 == name);
    let mut known = CAMPAIGNS.iter().filter(wanted).peekable();
    if known.peek().is_none() {
        let names: Vec<&str> = CAMPAIGNS.iter().map(|it| it.0).collect();
        bail!("there is no such campaign: {}", names.join(", "));
    }
    for (name, what, start) in known {
        println!("{name}: {what}");
        start()?;
    }
    Ok(())
}

/// Tests inside of the crate, optimized.
fn library(tests: &[&str]) -> anyhow::Result<()> {
    let mut cargo = process::cargo(&["test", "--package", "sandbox-state", "--locked"]);
    cargo.args(["--release", "--lib", "--"]).args(tests);
    process::run(cargo.env("PROPTEST_CASES", SEQUENCES))
}

fn workers() -> anyhow::Result<()> {
    let mut cargo = process::cargo(&["test", "--package", "sandbox-state", "--locked"]);
    cargo.args([
        "--release",
        "--test",
        "store",
        "--",
        "processes_at_once",
        "before_a_kill",
    ]);
    process::run(cargo.env("SANDBOX_STATE_TEST_LARGE", "1"))
}

/// Tests of the program, which is built optimized; the tests themselves are not.
fn program(test: &str) -> anyhow::Result<()> {
    let build = ["build", "--release", "--locked", "--bin", "sandbox"];
    process::run(&mut process::cargo(&build))?;
    let binary = process::target_directory()?.join("release/sandbox");
    let mut cargo: Command = process::cargo(&["test", "--package", "sandbox-cli", "--locked"]);
    cargo.args(["--test", "it", "--", test]);
    process::run(
        cargo
            .env("SANDBOX_STATE_CAMPAIGN", LENGTH)
            .env("SANDBOX_TEST_BINARY", binary),
    )
}
