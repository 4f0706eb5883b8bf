//! What a held operation would change, file by file, as text where it is text.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use sandbox_types::{Change, ChangeKind, OperationId};
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
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Sandbox {
    pub(crate) fn diff(&self, id: Option<&str>) -> Result<(OperationId, Vec<FileDiff>), DiffError> {
        let transaction = self.held(id)?;
        let changes = transaction.changes().map_err(DiffError::Changes)?;
        let id = transaction.id().clone();
        let upper = transaction.upper().to_owned();
        let files = changes
            .into_iter()
            .map(|change| {
                let unified = unified(self.workspace(), &upper, &change)?;
                Ok(FileDiff { change, unified })
            })
            .collect::<Result<_, DiffError>>();
        Ok((id, files?))
    }
}

fn unified(before: &Path, after: &Path, change: &Change) -> Result<Option<String>, DiffError> {
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
    let name = change.path.display();
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

/// Returns the content of a regular file that is text and not too large. The tree is hostile: no
/// symbolic link is followed, nothing that could block is opened.
fn text(root: &Path, path: &Path) -> Result<Option<String>, DiffError> {
    let failed = |source: rustix::io::Errno| DiffError::Read {
        path: root.join(path),
        source: source.into(),
    };
    let directory = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let opened = openat2(
        &directory,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    let mut file = match opened {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOENT | rustix::io::Errno::NXIO) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let read = |source| DiffError::Read {
        path: root.join(path),
        source,
    };
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() || metadata.len() > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.by_ref()
        .take(TEXT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.contains(&0) {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}
