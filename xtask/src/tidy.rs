//! `cargo xtask tidy`: the rules of style that no compiler knows.
//!
//! Each rule is a function from one file's text to what is wrong with it, so that its test plants the
//! defect and sees it found.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use crate::process;

mod rules;
#[cfg(test)]
mod tests;

/// Directories that are not ours to check.
const SKIPPED: &[&str] = &[".git", "target", "node_modules"];
/// What is read as text.
const TEXTS: &[&str] = &["rs", "md", "toml", "yaml", "yml", "json", "txt", "sh"];

/// Checks every text of the workspace.
pub(crate) fn check() -> anyhow::Result<()> {
    let found = problems(&process::root())?;
    if found.is_empty() {
        return Ok(());
    }
    bail!("{} problem(s)\n{}", found.len(), found.join("\n"))
}

/// Returns what is wrong with the files below `root`, as `path:line: what`.
fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files(root)? {
        let bytes = fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        let text = String::from_utf8_lossy(&bytes);
        for problem in rules::check(&path, &text) {
            found.push(format!("{path}:{}: {}", problem.line, problem.what));
        }
    }
    Ok(found)
}

/// Returns the paths of all texts below `root`, relative to it and sorted.
fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type().context("cannot see a file's type")?;
            // In a linked worktree `.git` is a file.
            if SKIPPED.contains(&&*name) {
                continue;
            }
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() && is_text(&path) {
                let path = path.strip_prefix(root).unwrap_or(&path);
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A file without an extension is a script or a licence.
fn is_text(path: &Path) -> bool {
    path.extension()
        .is_none_or(|it| TEXTS.iter().any(|text| it == *text))
}
