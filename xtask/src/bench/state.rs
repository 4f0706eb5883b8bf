//! `cargo xtask bench state`: the store against `SQLite`, the journal against plain writes, and `sandbox status`.
//!
//! `SQLite` is compiled for this task only: the task starts itself again, optimized and with the feature `sqlite`.

#[cfg(feature = "sqlite")]
mod journal;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod status;
#[cfg(feature = "sqlite")]
mod store;
#[cfg(feature = "sqlite")]
mod table;

/// Measures in the directory for temporary files: where that lies decides what a sync costs.
#[cfg(feature = "sqlite")]
pub(crate) fn state() -> anyhow::Result<()> {
    use anyhow::Context as _;

    let directory = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    println!("in {}", directory.path().display());
    println!("{}", table::HEADING);
    store::measure(directory.path())?;
    journal::measure(directory.path())?;
    status::measure(directory.path())
}

/// Starts this task again, with `SQLite`.
#[cfg(not(feature = "sqlite"))]
pub(crate) fn state() -> anyhow::Result<()> {
    let words = "run --quiet --release --locked --package xtask --features sqlite -- bench state";
    let words: Vec<&str> = words.split(' ').collect();
    crate::process::run(&mut crate::process::cargo(&words))
}
