//! `cargo xtask bench rollback transactions`: commit, undo, discard and the list of changes.

use std::process::Command;

use super::release_directory;
use crate::process;

/// Measures in the directory for temporary files: where that lies decides the file system.
pub(crate) fn transactions() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "sandbox-rollback",
        "--example",
        "transactions_speed",
    ]))?;
    let program = release_directory()?.join("examples/transactions_speed");
    process::run(Command::new(program).arg(std::env::temp_dir()))
}
