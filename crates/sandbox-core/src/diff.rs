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
    /// Why the content cannot be shown, as for a file that the guest closed to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
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
                let (unified, unreadable) = match unified(self.workspace(), &upper, &change) {
                    Ok(unified) => (unified, None),
                    Err(error) => (None, Some(error.to_string())),
                };
                FileDiff {
                    change,
                    unified,
                    unreadable,
                }
            })
            .collect();
        Ok((id, files))
    }
}

fn unified(before: &Path, after: &Path, change: &Change) -> io::Result<Option<String>> {
    if change.kind == ChangeKind::Renamed {
        // It is found by its content.
        return Ok(None);
    }
    let old = match change.kind {
        ChangeKind::Created => Some(String::new()),
        ChangeKind::Modified | ChangeKind::Deleted | ChangeKind::Metadata | ChangeKind::Renamed => {
            text(before, &change.path)?
        }
    };
    let new = match change.kind {
        ChangeKind::Deleted => Some(String::new()),
        ChangeKind::Created | ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Renamed => {
            text(after, &change.path)?
        }
    };
    let (Some(old), Some(new)) = (old, new) else {
        return Ok(None);
    };
    if old == new {
        return Ok(None);
    }
    let name = header_name(&change.path);
    let (from, to) = match change.kind {
        ChangeKind::Created => ("/dev/null".to_owned(), format!("b/{name}")),
        ChangeKind::Deleted => (format!("a/{name}"), "/dev/null".to_owned()),
        ChangeKind::Modified | ChangeKind::Metadata | ChangeKind::Renamed => {
            (format!("a/{name}"), format!("b/{name}"))
        }
    };
    let diff = TextDiff::from_lines(&old, &new);
    Ok(Some(
        diff.unified_diff()
            .context_radius(3)
            .header(&from, &to)
            .to_string(),
    ))
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

/// Returns the content of a regular file that is text and not too large. The tree is hostile: no
/// symbolic link is followed, nothing that could block is opened.
fn text(root: &Path, path: &Path) -> io::Result<Option<String>> {
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
        Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.by_ref().take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
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
