//! What a held operation would change, file by file, as text where it is text.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};
use sandbox_types::{Change, ChangeKind, OperationId, told_changes};
use serde::Serialize;
use similar::TextDiff;

use crate::{review::ReviewError, sandbox::Sandbox};

/// Files larger than this are summed up, not compared line by line.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// The difference of one path.
#[derive(Clone, Debug, Serialize)]
pub struct FileDiff {
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
    /// The lines that differ, as a unified diff; `None` for what is not text, too large, or
    /// unchanged in content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<String>,
    /// The sizes of a file that is binary or larger than a mebibyte, and has other content than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryDiff>,
    /// Why the content cannot be shown, as for a file that the guest closed to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How long a file was and would be; `None` where there is no file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct BinaryDiff {
    /// In the workspace.
    pub bytes_before: Option<u64>,
    /// After the commit.
    pub bytes_after: Option<u64>,
}

/// The difference cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// There is no such held operation.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// What changed cannot be listed.
    #[error("cannot list the changes")]
    Changes(#[source] sandbox_rollback::ChangesError),
}

impl Sandbox {
    pub(crate) fn diff(&self, id: Option<&str>) -> Result<(OperationId, Vec<FileDiff>), DiffError> {
        let transaction = self.held(id)?;
        let changes = transaction.changes().map_err(DiffError::Changes)?;
        let changes = told_changes(&changes).into_owned();
        let id = transaction.id().clone();
        let upper = transaction.upper().to_owned();
        let files = changes
            .into_iter()
            .map(|change| {
                // One file that cannot be read must not hide the others.
                let compared = compared(self.workspace(), &upper, &change);
                let (shown, unreadable) = match compared {
                    Ok(shown) => (shown, None),
                    Err(error) => (Shown::Nothing, Some(error.to_string())),
                };
                let (unified, binary) = match shown {
                    Shown::Nothing => (None, None),
                    Shown::Lines(unified) => (Some(unified), None),
                    Shown::Sizes(binary) => (None, Some(binary)),
                };
                FileDiff {
                    change,
                    unified,
                    binary,
                    unreadable,
                }
            })
            .collect();
        Ok((id, files))
    }
}

/// What is shown of a difference.
enum Shown {
    Nothing,
    Lines(String),
    Sizes(BinaryDiff),
}

/// What a path holds.
enum Held {
    NoFile,
    Text(String),
    Binary(u64),
}

impl Held {
    const fn bytes(&self) -> Option<u64> {
        match self {
            Self::NoFile => None,
            Self::Text(text) => Some(text.len() as u64),
            Self::Binary(bytes) => Some(*bytes),
        }
    }
}

fn compared(before: &Path, after: &Path, change: &Change) -> io::Result<Shown> {
    let (old, new) = match change.kind {
        // It is found by its content.
        ChangeKind::Renamed => return Ok(Shown::Nothing),
        ChangeKind::Created => (Held::NoFile, held(after, &change.path)?),
        ChangeKind::Deleted => (held(before, &change.path)?, Held::NoFile),
        ChangeKind::Modified | ChangeKind::Metadata => {
            (held(before, &change.path)?, held(after, &change.path)?)
        }
    };
    let sizes = BinaryDiff {
        bytes_before: old.bytes(),
        bytes_after: new.bytes(),
    };
    let is_same_content = change.kind == ChangeKind::Metadata;
    let (old, new) = match (old, new) {
        (Held::Binary(_), _) | (_, Held::Binary(_)) if is_same_content => {
            return Ok(Shown::Nothing);
        }
        (Held::Binary(_), _) | (_, Held::Binary(_)) => return Ok(Shown::Sizes(sizes)),
        (Held::Text(old), Held::Text(new)) => (old, new),
        (Held::NoFile, Held::Text(new)) if change.kind == ChangeKind::Created => {
            (String::new(), new)
        }
        (Held::Text(old), Held::NoFile) if change.kind == ChangeKind::Deleted => {
            (old, String::new())
        }
        (Held::NoFile | Held::Text(_), Held::NoFile) | (Held::NoFile, Held::Text(_)) => {
            return Ok(Shown::Nothing);
        }
    };
    Ok(unified(&old, &new, change).map_or(Shown::Nothing, Shown::Lines))
}

fn unified(old: &str, new: &str, change: &Change) -> Option<String> {
    if old == new {
        return None;
    }
    let name = header_name(&change.path);
    let (from, to) = match change.kind {
        ChangeKind::Created => ("/dev/null".to_owned(), format!("b/{name}")),
        ChangeKind::Deleted => (format!("a/{name}"), "/dev/null".to_owned()),
        ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Renamed => {
            (format!("a/{name}"), format!("b/{name}"))
        }
    };
    let diff = TextDiff::from_lines(old, new);
    let mut lines = diff.unified_diff();
    Some(lines.context_radius(3).header(&from, &to).to_string())
}

/// Returns a path as the header of a diff can hold it: a name with control characters or a quote is
/// quoted, so that a name cannot forge lines.
fn header_name(path: &Path) -> String {
    let name = path.to_string_lossy();
    if name.chars().any(|c| c.is_control() || c == '"') {
        format!("{name:?}")
    } else {
        name.into_owned()
    }
}

/// Returns the content of a regular file that is text and not too large, and the size of others. The tree is hostile: no
/// symbolic link is followed, nothing that could block is opened.
fn held(root: &Path, path: &Path) -> io::Result<Held> {
    let directory = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let opened = openat2(
        &directory,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    let mut file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => return Ok(Held::NoFile),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Held::NoFile);
    }
    if metadata.len() > TEXT_BYTES_MAX {
        return Ok(Held::Binary(metadata.len()));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(Held::Binary(metadata.len()));
    }
    Ok(String::from_utf8(bytes).map_or(Held::Binary(metadata.len()), Held::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_header() {
        assert_eq!(header_name(Path::new("plain name")), "plain name");
        assert_eq!(header_name(Path::new("a\n+fake")), "\"a\\n+fake\"");
    }
}
