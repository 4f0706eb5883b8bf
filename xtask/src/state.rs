//! `cargo xtask state`: the crash sequences of the store and of the journal, and the flipped bits, at full length.

use crate::process;

/// How many random sequences of changes meet a failing write or a power cut, and how many bits are flipped.
const SEQUENCES: &str = "10000";

/// Runs them, optimized: it takes minutes.
pub(crate) fn crashes() -> anyhow::Result<()> {
    let mut cargo = process::cargo(&[
        "test",
        "--package",
        "sandbox-state",
        "--locked",
        "--release",
        "--lib",
        "--",
        "store::tests::crash",
        "store::tests::damage",
        "journal::tests::segments",
    ]);
    process::run(cargo.env("PROPTEST_CASES", SEQUENCES))
}
