//! `cargo xtask generate`: files that are made from the code, and the check that they are current.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};

use crate::{process, reference};

/// The rule packs that every judge has, each with the table that is made of it.
const PACKS: [(&str, &str); 13] = [
    (
        "crates/sandbox-safety/packs/agents.yaml",
        "crates/sandbox-safety/src/pack/embedded/agents.rs",
    ),
    (
        "crates/sandbox-safety/packs/cloud.yaml",
        "crates/sandbox-safety/src/pack/embedded/cloud.rs",
    ),
    (
        "crates/sandbox-safety/packs/containers.yaml",
        "crates/sandbox-safety/src/pack/embedded/containers.rs",
    ),
    (
        "crates/sandbox-safety/packs/databases.yaml",
        "crates/sandbox-safety/src/pack/embedded/databases.rs",
    ),
    (
        "crates/sandbox-safety/packs/defence.yaml",
        "crates/sandbox-safety/src/pack/embedded/defence.rs",
    ),
    (
        "crates/sandbox-safety/packs/devices.yaml",
        "crates/sandbox-safety/src/pack/embedded/devices.rs",
    ),
    (
        "crates/sandbox-safety/packs/files.yaml",
        "crates/sandbox-safety/src/pack/embedded/files.rs",
    ),
    (
        "crates/sandbox-safety/packs/git.yaml",
        "crates/sandbox-safety/src/pack/embedded/git.rs",
    ),
    (
        "crates/sandbox-safety/packs/kubernetes.yaml",
        "crates/sandbox-safety/src/pack/embedded/kubernetes.rs",
    ),
    (
        "crates/sandbox-safety/packs/packages.yaml",
        "crates/sandbox-safety/src/pack/embedded/packages.rs",
    ),
    (
        "crates/sandbox-safety/packs/programs.yaml",
        "crates/sandbox-safety/src/pack/embedded/programs.rs",
    ),
    (
        "crates/sandbox-safety/packs/system.yaml",
        "crates/sandbox-safety/src/pack/embedded/system.rs",
    ),
    (
        "crates/sandbox-safety/packs/uploads.yaml",
        "crates/sandbox-safety/src/pack/embedded/uploads.rs",
    ),
];

/// Every generated file with its path in the workspace.
fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let schema = sandbox_types::config::schema();
    let text = serde_json::to_string_pretty(&schema).context("cannot write the schema")?;
    let mut files = vec![
        ("config/schema/config.schema.json", text + "\n"),
        (
            "docs/reference/configuration.md",
            reference::configuration(&schema),
        ),
        (
            "docs/reference/content-rules.md",
            reference::content_rules(),
        ),
    ];
    for (pack, table) in PACKS {
        let path = process::root().join(pack);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {pack}"))?;
        let name = pack.rsplit('/').next().unwrap_or(pack);
        files.push((table, sandbox_safety::embedded_source(name, &text)?));
    }
    Ok(files)
}

/// Writes every generated file.
pub(crate) fn write() -> anyhow::Result<()> {
    for (name, text) in files()? {
        let path = process::root().join(name);
        let parent = path.parent().context("a file without a directory")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Checks that every generated file is what the code makes now.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (name, text) in files()? {
        let path: PathBuf = process::root().join(name);
        if fs::read_to_string(path).ok().as_deref() != Some(text.as_str()) {
            stale.push(name);
        }
    }
    if !stale.is_empty() {
        bail!(
            "not current: {}; run `cargo xtask generate`",
            stale.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_current() {
        super::check().unwrap();
    }
}
