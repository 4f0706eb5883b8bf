//! What an operation changed in its workspace, and what became of it.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContentFinding, ContentScan};

/// How one path changed.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there before.
    Created,
    /// Its content changed, or its type.
    Modified,
    /// It is gone.
    Deleted,
    /// Only mode, owner, times or extended attributes changed.
    Metadata,
    /// It came from another path.
    Renamed,
}

/// One changed path.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Change {
    /// Relative to the workspace; bytes as the file system has them.
    pub path: PathBuf,
    /// How it changed.
    pub kind: ChangeKind,
    /// Size of the file now (before, if it was deleted); 0 for what is not a regular file.
    pub bytes: u64,
    /// The path that it came from. A created path that has one is told as renamed by
    /// [`told_changes`], if the other one is deleted.
    pub from: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct ChangeDocument {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path_base64: Option<String>,
    change: ChangeKind,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from_base64: Option<String>,
}

impl Serialize for Change {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (path, path_base64) = path_as_text(&self.path);
        let from = self.from.as_deref().map(path_as_text);
        let (from, from_base64) = from.map_or((None, None), |(text, base64)| (Some(text), base64));
        ChangeDocument {
            path,
            path_base64,
            change: self.kind,
            bytes: self.bytes,
            from,
            from_base64,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = ChangeDocument::deserialize(deserializer)?;
        let read = |text: String, base64: Option<String>| match base64 {
            None => Ok(PathBuf::from(text)),
            Some(base64) => path_of_base64(&base64).map_err(serde::de::Error::custom),
        };
        let from = document.from.map(|text| read(text, document.from_base64));
        Ok(Self {
            path: read(document.path, document.path_base64)?,
            kind: document.change,
            bytes: document.bytes,
            from: from.transpose()?,
        })
    }
}

/// Returns a path as text, and in base64 too where the text is not exactly it.
pub(crate) fn path_as_text(path: &Path) -> (String, Option<String>) {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    match path.to_str() {
        Some(exact) => (exact.to_owned(), None),
        None => (
            path.to_string_lossy().into_owned(),
            Some(BASE64_STANDARD.encode(path.as_os_str().as_encoded_bytes())),
        ),
    }
}

/// Returns the path that [`path_as_text`] wrote in base64.
pub(crate) fn path_of_base64(base64: &str) -> Result<PathBuf, base64::DecodeError> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let bytes = BASE64_STANDARD.decode(base64)?;
    Ok(path_of_bytes(bytes))
}

#[cfg(unix)]
fn path_of_bytes(bytes: Vec<u8>) -> PathBuf {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

    PathBuf::from(OsString::from_vec(bytes))
}

/// Elsewhere a path is not just bytes: what is no UTF-8 becomes U+FFFD, so such a path can be shown and
/// not opened. Changes are only made on Linux.
#[cfg(not(unix))]
fn path_of_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

impl Change {
    /// Returns how long its paths are.
    fn path_bytes(&self) -> usize {
        let from = self.from.as_deref().map_or(0, |it| it.as_os_str().len());
        self.path.as_os_str().len() + from
    }

    /// Returns a change.
    pub fn new(path: impl AsRef<Path>, kind: ChangeKind, bytes: u64) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            kind,
            bytes,
            from: None,
        }
    }

    /// Returns the change of a file that goes from one path to another.
    pub fn renamed(from: impl AsRef<Path>, to: impl AsRef<Path>, bytes: u64) -> Self {
        Self {
            from: Some(from.as_ref().to_owned()),
            ..Self::new(to, ChangeKind::Renamed, bytes)
        }
    }
}

/// Returns changes as they are told to people: what was created from a deleted path is one renamed
/// path, and not two.
pub fn told_changes(changes: &[Change]) -> Cow<'_, [Change]> {
    let created = |it: &&Change| it.kind == ChangeKind::Created;
    let sources: BTreeSet<&Path> = changes
        .iter()
        .filter(created)
        .filter_map(|it| it.from.as_deref())
        .collect();
    if sources.is_empty() {
        return Cow::Borrowed(changes);
    }
    let deleted = |it: &&Change| it.kind == ChangeKind::Deleted;
    let gone = changes.iter().filter(deleted).map(|it| it.path.as_path());
    let paired: BTreeSet<&Path> = gone.filter(|path| sources.contains(path)).collect();
    let is_paired = |path: &Path| paired.contains(path);
    let told = changes.iter().filter_map(|change| match change.kind {
        ChangeKind::Deleted if is_paired(&change.path) => None,
        ChangeKind::Created if change.from.as_deref().is_some_and(is_paired) => Some(Change {
            kind: ChangeKind::Renamed,
            ..change.clone()
        }),
        ChangeKind::Created => Some(Change {
            from: None,
            ..change.clone()
        }),
        ChangeKind::Deleted | ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Renamed => {
            Some(change.clone())
        }
    });
    Cow::Owned(told.collect())
}

/// What became of the changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// They are in the workspace; `undo` takes them back.
    Committed,
    /// They were dropped; the workspace is as before.
    Discarded,
    /// They wait for `commit` or `discard`.
    Pending,
    /// There was no transaction: nothing ran, or it wrote directly.
    None,
}

/// The most paths that a report lists.
pub const CHANGED_PATHS_LISTED_MAX: usize = 1000;

/// The most bytes of all paths that a report lists: a path may be longer than `PATH_MAX` a thousand times.
pub const CHANGED_PATH_BYTES_LISTED_MAX: usize = 1 << 20;

/// The most findings of the content scan that a report lists.
pub const FINDINGS_LISTED_MAX: usize = 100;

/// The changes of one operation, as the report shows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeSummary {
    /// What became of them.
    pub settlement: Settlement,
    /// How many paths were created.
    pub created: u64,
    /// How many were modified, in content or metadata.
    pub modified: u64,
    /// How many were deleted.
    pub deleted: u64,
    /// How many went from one path to another.
    #[serde(default)]
    pub renamed: u64,
    /// Bytes of the created and modified files.
    pub bytes: u64,
    /// The paths, up to [`CHANGED_PATHS_LISTED_MAX`] and [`CHANGED_PATH_BYTES_LISTED_MAX`].
    pub paths: Vec<Change>,
    /// Whether there are more paths than listed.
    pub truncated: bool,
    /// Why the changes were not committed, if a rule held them back.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub held_because: Vec<String>,
    /// What is worth knowing although it was committed: protected files, links that lead out.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notices: Vec<String>,
    /// What the content scan found in the created and modified files, strongest first, up to
    /// [`FINDINGS_LISTED_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub findings: Vec<ContentFinding>,
    /// How much the content scan read; `None` if it did not run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scan: Option<ContentScan>,
}

impl ChangeSummary {
    /// Returns the summary of an operation that changed nothing.
    pub const fn nothing() -> Self {
        Self {
            settlement: Settlement::None,
            created: 0,
            modified: 0,
            deleted: 0,
            renamed: 0,
            bytes: 0,
            paths: Vec::new(),
            truncated: false,
            held_because: Vec::new(),
            notices: Vec::new(),
            findings: Vec::new(),
            scan: None,
        }
    }

    /// Returns the summary of `changes`.
    pub fn of(settlement: Settlement, changes: &[Change]) -> Self {
        let changes = told_changes(changes);
        let mut summary = Self {
            settlement,
            ..Self::nothing()
        };
        for change in changes.iter() {
            match change.kind {
                ChangeKind::Created => summary.created += 1,
                ChangeKind::Renamed => summary.renamed += 1,
                ChangeKind::Modified | ChangeKind::Metadata => summary.modified += 1,
                ChangeKind::Deleted => summary.deleted += 1,
            }
            if matches!(change.kind, ChangeKind::Created | ChangeKind::Modified) {
                summary.bytes += change.bytes;
            }
        }
        let mut bytes = 0;
        let listed = changes.iter().take(CHANGED_PATHS_LISTED_MAX);
        let listed = listed.take_while(|change| {
            bytes += change.path_bytes();
            bytes <= CHANGED_PATH_BYTES_LISTED_MAX
        });
        summary.paths = listed.cloned().collect();
        summary.truncated = changes.len() > summary.paths.len();
        summary
    }
}
