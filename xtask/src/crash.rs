//! `cargo xtask crash`: power cuts, flipped bits, kills and failing system calls, at full length.
//!
//! What is counted goes into `docs/reliability.md`. The same checks run shorter in each run of the tests.

mod cases;
mod trial;

use anyhow::bail;

use self::{
    cases::CASES,
    trial::{Injection, Lab, Tally},
};
use crate::process;

/// States a moment of each recording; a hundred make about 200,000 of them.
const STATES: &str = "100";
/// Thousands of flipped bits.
const FLIPS: &str = "250";
/// Random damages to repair.
const DAMAGES: &str = "1000";
/// Generated trees and histories.
const TREES: &str = "200";

/// All of it: it takes hours.
pub(crate) fn all() -> anyhow::Result<()> {
    states()?;
    damage()?;
    kills(1)?;
    faults(1)
}

/// Plays power cuts, and tries each forgotten sync.
pub(crate) fn states() -> anyhow::Result<()> {
    library(STATES, &["a_power_cut_leaves", "forgotten_syncs"])
}

/// Flips bits, damages files, repairs, and compares generated trees.
pub(crate) fn damage() -> anyhow::Result<()> {
    library(FLIPS, &["repository::tests::flips::flipped"])?;
    library(
        DAMAGES,
        &["repair_makes_nothing_worse", "damaged_files_are_found"],
    )?;
    library(
        TREES,
        &[
            "tests::properties",
            "repository::tests::properties",
            "tests::parallel",
        ],
    )
}

fn library(cases: &str, names: &[&str]) -> anyhow::Result<()> {
    let fixed = [
        "test",
        "--package",
        "sandbox-rollback",
        "--locked",
        "--release",
        "--lib",
        "--",
        "--nocapture",
    ];
    let mut cargo = process::cargo(&[&fixed, names].concat());
    process::run(cargo.env("PROPTEST_CASES", cases))
}

/// Kills the program at each system call that changes a file, or every so many of them.
pub(crate) fn kills(every: usize) -> anyhow::Result<()> {
    each(every, &[Injection::Kill])
}

/// Lets each such system call fail, once and from then on.
pub(crate) fn faults(every: usize) -> anyhow::Result<()> {
    let fails = ["EIO", "ENOSPC", "EDQUOT", "EROFS"];
    let once = fails.map(Injection::FailOnce);
    let for_ever = fails.map(Injection::FailFrom);
    each(every, &[once, for_ever].concat())
}

fn each(every: usize, injections: &[Injection]) -> anyhow::Result<()> {
    let program = trial::program()?;
    let mut all = Tally::default();
    for case in CASES {
        for injection in injections {
            let lab = Lab::new(&program)?;
            let tally = lab.tried(case, *injection, every)?;
            println!("{:<20} {injection:<22} {tally}", case.name);
            for wrong in &tally.wrong {
                println!("    {wrong}");
            }
            all.add(tally);
        }
    }
    println!("{:<20} {:<22} {all}", "all", "");
    if !all.wrong.is_empty() {
        bail!(
            "{} of {} are neither before nor after",
            all.wrong.len(),
            all.points
        );
    }
    Ok(())
}
