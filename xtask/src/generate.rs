//! `cargo xtask generate`: files that are made from the code, and the check that they are current.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};

use crate::{process, reference};

/// Every generated file with its path in the workspace.
fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    let schema = sandbox_types::config::schema();
    let text = serde_json::to_string_pretty(&schema).context("cannot write the schema")?;
    Ok(vec![
        ("config/schema/config.schema.json", text + "\n"),
        (
            "docs/reference/configuration.md",
            reference::configuration(&schema),
        ),
        (
            "docs/reference/content-rules.md",
            reference::content_rules(),
        ),
    ])
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
