//! `cargo xtask ci`: everything that must pass, cheapest first, each with its time.

use std::time::Instant;

use anyhow::Context as _;

use crate::{filesystems, generate, layers, process, state, test, tidy, vm};

type Step = (&'static str, fn() -> anyhow::Result<()>);

const STEPS: [Step; 8] = [
    ("fmt", fmt),
    ("layers", layers::check),
    ("tidy", tidy::check),
    ("generate --check", generate::check),
    ("deny", deny),
    ("clippy", clippy),
    ("doc", doc),
    ("test", test::all),
];

/// Runs every step and stops at the first that fails.
pub(crate) fn run() -> anyhow::Result<()> {
    run_steps(&STEPS)
}

/// What takes too long for every change: the long escapes, the soak, the crash sequences of the store, other file
/// systems, and the tests of confinement on other kernels.
const LONG_STEPS: [Step; 5] = [
    ("escapes --long", || test::escapes(true)),
    ("soak", || test::soak(test::SOAK_OPERATIONS)),
    ("filesystems", || filesystems::run(None, None)),
    ("state", || state::run(None)),
    ("vm", vm::all),
];

/// Like [`run`], then [`LONG_STEPS`].
pub(crate) fn full() -> anyhow::Result<()> {
    run_steps(&[&STEPS[..], &LONG_STEPS].concat())
}

fn run_steps(steps: &[Step]) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for (name, step) in steps {
        println!("==> {name}");
        let start = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        times.push((name, start.elapsed()));
    }
    println!("==> all passed");
    for (name, time) in times {
        println!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    Ok(())
}

fn fmt() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc() -> anyhow::Result<()> {
    let mut cargo = process::cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--locked",
        "--document-private-items",
    ]);
    process::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Needs cargo-deny, which a fresh machine does not have; without it the step says so and passes.
fn deny() -> anyhow::Result<()> {
    let installed = process::read(&mut process::cargo(&["deny", "--version"])).is_ok();
    if !installed {
        println!("skipped: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    process::run(&mut process::cargo(&[
        "deny",
        "--offline",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}
