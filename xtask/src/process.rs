//! Starting cargo and other programs in the workspace, and failing when they do.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Returns cargo with `args`, to be run in the root of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Returns where cargo builds.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: serde_json::Value =
        serde_json::from_slice(&read(&mut cargo)?).context("cannot read cargo's metadata")?;
    let target = metadata["target_directory"].as_str();
    Ok(PathBuf::from(target.context("no target directory")?))
}

/// Runs `command` with our terminal.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let words = in_words(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {words}"))?;
    if !status.success() {
        bail!("{words}: {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it printed.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let words = in_words(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start {words}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{words}: {}\n{said}", output.status);
    }
    Ok(output.stdout)
}

fn in_words(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name();
    let words = name.into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|it| it.to_string_lossy().into_owned()).collect();
    format!("`{}`", words.join(" "))
}
