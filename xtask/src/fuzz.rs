//! `cargo xtask fuzz`: one of the fuzzers in `tests/fuzz/`, for so many seconds.

use std::{fs, process::Command};

use anyhow::{Context as _, bail};

use crate::process;

/// How long it runs if nothing is said.
pub(crate) const SECONDS_DEFAULT: u64 = 180;
/// A fuzzer that holds more is a finding. Its own bookkeeping and the sanitizer's are in it; what the judge takes for
/// one input is bounded in `tests/fuzz/lib.rs`.
const MEMORY_MIB: u64 = 2048;
/// One input that takes longer is a finding.
const INPUT_SECONDS: u64 = 5;

/// The targets, each with the longest input that it is given.
const TARGETS: &[(&str, u64)] = &[
    ("parser", 4096),
    ("unwrapping", 2048),
    ("rule_packs", 4096),
    ("content", 16_384),
];

/// Runs the fuzzer `target`; what it finds is below `tests/fuzz/artifacts`.
pub(crate) fn run(target: &str, seconds: u64) -> anyhow::Result<()> {
    let Some((_, longest)) = TARGETS.iter().find(|(name, _)| *name == target) else {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        bail!(
            "no fuzzer is named `{target}`; there are {}",
            names.join(", ")
        );
    };
    is_there(
        &["+nightly", "--version"],
        "a nightly compiler is missing: rustup toolchain install nightly",
    )?;
    is_there(
        &["+nightly", "fuzz", "--version"],
        "cargo-fuzz is missing: cargo install cargo-fuzz --locked",
    )?;
    let corpus = process::root().join("tests/fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut fuzzer = by_rustup(&[
        "+nightly",
        "fuzz",
        "run",
        "--fuzz-dir",
        "tests/fuzz",
        target,
    ]);
    fuzzer
        .arg(&corpus)
        .arg(format!("tests/fuzz/seeds/{target}"))
        .arg("--")
        .arg(format!("-dict=tests/fuzz/{target}.dict"))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg("-print_final_stats=1");
    process::run(&mut fuzzer)
}

/// Fails with `missing` unless cargo knows these words.
fn is_there(words: &[&str], missing: &'static str) -> anyhow::Result<()> {
    process::read(&mut by_rustup(words)).context(missing)?;
    Ok(())
}

/// Returns the cargo that takes a toolchain: not the one that runs this, which is of one already.
fn by_rustup(words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(words)
        .current_dir(process::root())
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}
