//! The files that are kept, and how they change.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::process;

/// Where Debian's package `linux-source-6.1` puts its archive.
const LINUX: &str = "/usr/src/linux-source-6.1.tar.xz";
const LARGE_BYTES: u64 = 2 << 30;
/// What of a large file changes.
const EDIT_BYTES: usize = 4096;
const SMALL_FILES: usize = 1000;

const EDITED: usize = 10;
const ADDED: usize = 100;
const DELETED: usize = 50;

/// What is kept.
pub(super) enum Tree {
    Linux,
    LargeFile,
    Small,
    Copy(PathBuf),
}

impl Tree {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Linux => format!("the Linux source tree of {LINUX}"),
            Self::LargeFile => "one file of 2 GiB; its changes are 4 KiB".to_owned(),
            Self::Small => format!("{SMALL_FILES} small files"),
            Self::Copy(path) => format!("a copy of {}", path.display()),
        }
    }

    pub(super) fn is_one_file(&self) -> bool {
        matches!(self, Self::LargeFile)
    }

    /// Makes the tree in `place`, and returns where it lies.
    pub(super) fn make(&self, place: &Path) -> anyhow::Result<PathBuf> {
        let root = place.join("tree");
        fs::create_dir(&root).context("cannot make the tree")?;
        match self {
            Self::Linux => {
                if !Path::new(LINUX).exists() {
                    bail!("{LINUX} is missing: apt-get install linux-source-6.1");
                }
                let mut tar = Command::new("tar");
                tar.args(["--strip-components=1", "-xf", LINUX, "-C"]);
                process::run(tar.arg(&root))?;
            }
            Self::LargeFile => {
                let copy = format!("head -c {LARGE_BYTES} /dev/urandom > \"$0\"");
                let mut head = Command::new("sh");
                process::run(head.args(["-ec", &copy]).arg(root.join("large")))?;
            }
            Self::Small => small(&root)?,
            Self::Copy(path) => {
                let from = path.join(".");
                process::run(Command::new("cp").arg("-a").arg(from).arg(&root))?;
            }
        }
        Ok(root)
    }
}

fn small(root: &Path) -> anyhow::Result<()> {
    for number in 0..SMALL_FILES {
        let directory = root.join(format!("d{}", number / 50));
        fs::create_dir_all(&directory).context("cannot make the tree")?;
        let text = format!("line {number}\n").repeat(number % 97 * 10 + 1);
        fs::write(directory.join(format!("f{number}")), text).context("cannot make the tree")?;
    }
    Ok(())
}

/// Edits ten files, adds a hundred and deletes fifty, or changes 4 KiB of the only file.
pub(super) fn edit(root: &Path, word: &str) -> anyhow::Result<()> {
    let mut files = Vec::new();
    list(root, &mut files)?;
    if let [only] = files.as_slice() {
        let mut file = fs::File::options().write(true).open(only)?;
        file.seek(SeekFrom::Start(LARGE_BYTES / 2))?;
        return Ok(file.write_all(&word.as_bytes().repeat(EDIT_BYTES / word.len()))?);
    }
    files.sort();
    let apart = (files.len() / (EDITED + DELETED + 1)).max(1);
    let mut picked = files.iter().step_by(apart);
    for path in picked.by_ref().take(EDITED) {
        let mut file = fs::File::options().append(true).open(path)?;
        writeln!(file, "{word}")?;
    }
    for path in picked.take(DELETED) {
        fs::remove_file(path)?;
    }
    let directories: Vec<_> = files
        .iter()
        .step_by(apart)
        .filter_map(|path| path.parent())
        .collect();
    for number in 0..ADDED {
        let directory = directories[number % directories.len()];
        fs::write(
            directory.join(format!("added-{word}-{number}")),
            word.repeat(number),
        )?;
    }
    Ok(())
}

/// For a program that brings nothing back: removes at least what was added, so that its copy stays small.
pub(super) fn reverse(root: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    list(root, &mut files)?;
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("added-spoilt-") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Adds the regular files below `root`.
fn list(root: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_and_sixty_files_change() {
        let place = tempfile::tempdir().unwrap();
        let root = Tree::Small.make(place.path()).unwrap();
        let count = || {
            let mut files = Vec::new();
            list(&root, &mut files).unwrap();
            files.len()
        };
        edit(&root, "edited").unwrap();
        assert_eq!(count(), SMALL_FILES + ADDED - DELETED);
        edit(&root, "spoilt").unwrap();
        assert_eq!(count(), SMALL_FILES + 2 * (ADDED - DELETED));
        reverse(&root).unwrap();
        assert_eq!(count(), SMALL_FILES + ADDED - 2 * DELETED);
    }
}
