//! What is compared before and after: every file's content, type, mode, owner and time.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The most differences that are named.
const DIFFERENCES_NAMED_MAX: usize = 3;

/// A directory tree, by path below it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Tree(BTreeMap<PathBuf, Node>);

#[derive(Debug, Eq, PartialEq)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Content,
}

#[derive(Debug, Eq, PartialEq)]
enum Content {
    Directory,
    File(Vec<u8>),
    Link(PathBuf),
    Other,
}

impl Tree {
    pub(super) fn of(root: &Path) -> Result<Self, String> {
        let mut nodes = BTreeMap::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
            let full = root.join(&path);
            let metadata = fs::symlink_metadata(&full).map_err(failed)?;
            let content = if metadata.is_dir() {
                for entry in fs::read_dir(&full).map_err(failed)? {
                    waiting.push(path.join(entry.map_err(failed)?.file_name()));
                }
                Content::Directory
            } else if metadata.is_symlink() {
                Content::Link(fs::read_link(&full).map_err(failed)?)
            } else if metadata.is_file() {
                Content::File(fs::read(&full).map_err(failed)?)
            } else {
                Content::Other
            };
            let node = Node {
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                content,
            };
            nodes.insert(path, node);
        }
        Ok(Self(nodes))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails with what differs.
    pub(super) fn expect_same(&self, now: &Self) -> Result<(), String> {
        let paths = self
            .0
            .keys()
            .chain(now.0.keys().filter(|path| !self.0.contains_key(*path)));
        let different: Vec<String> = paths
            .filter(|path| self.0.get(*path) != now.0.get(*path))
            .map(|path| describe(path, self.0.get(path), now.0.get(path)))
            .take(DIFFERENCES_NAMED_MAX)
            .collect();
        if different.is_empty() {
            Ok(())
        } else {
            Err(different.join("; "))
        }
    }
}

fn describe(path: &Path, before: Option<&Node>, now: Option<&Node>) -> String {
    let shown = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let what = match (before, now) {
        (Some(_), None) => "is missing",
        (None, _) => "is new",
        (Some(before), Some(now)) if before.content != now.content => "has another content",
        (Some(before), Some(now)) if before.mode != now.mode => "has another mode",
        (Some(before), Some(now)) if before.owner != now.owner => "has another owner",
        (Some(_), Some(_)) => "has another time",
    };
    format!("{} {what}", shown.display())
}
