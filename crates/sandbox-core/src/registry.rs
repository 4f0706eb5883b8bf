//! Which sandboxes exist, and which one belongs to a directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sandbox_types::SandboxName;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// The version of `sandbox.json`.
pub(crate) const RECORD_FORMAT: u32 = 1;

/// What is written down about one sandbox when it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// The version of this form.
    pub format: u32,
    /// Its name.
    pub name: SandboxName,
    /// The directory that it is bound to: absolute, without symbolic links.
    pub workspace: PathBuf,
    /// Device of the workspace when it was bound.
    pub workspace_device: u64,
    /// Inode of the workspace when it was bound.
    pub workspace_inode: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The first of 65,536 host ids that guests of a root caller run with.
    pub host_ids: u32,
    /// Where transactions lie: on the workspace's own file system. `None` where no place allows it;
    /// then only direct runs are possible.
    pub layers: Option<PathBuf>,
    /// Why there is no place for transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_layers_because: Option<String>,
}

/// A sandbox cannot be found or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// There is none of that name.
    #[error("there is no sandbox named '{name}'")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The known name that is most like it.
        nearest: Option<String>,
    },
    /// No sandbox is bound to the directory or one above it.
    #[error("no sandbox belongs to {}", directory.display())]
    NoneHere {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("cannot understand {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file was written by a newer version.
    #[error("{} has format {found}, this program knows up to {RECORD_FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Returns the sandbox of that name.
pub(crate) fn by_name(layout: &Layout, name: &SandboxName) -> Result<SandboxRecord, FindError> {
    read(&layout.record(name))?.ok_or_else(|| {
        let known = names(layout).unwrap_or_default();
        let nearest = sandbox_types::nearest(name.as_str(), known.iter().map(SandboxName::as_str));
        FindError::Unknown {
            name: name.to_string(),
            nearest: nearest.map(str::to_owned),
        }
    })
}

/// Returns the sandbox whose workspace is `directory` or the nearest one above it.
pub(crate) fn by_directory(layout: &Layout, directory: &Path) -> Result<SandboxRecord, FindError> {
    for ancestor in directory.ancestors() {
        if let Some(record) = bound_to(layout, ancestor)? {
            return Ok(record);
        }
    }
    Err(FindError::NoneHere {
        directory: directory.to_owned(),
    })
}

/// Returns the sandbox that is bound to exactly this directory.
pub(crate) fn bound_to(
    layout: &Layout,
    workspace: &Path,
) -> Result<Option<SandboxRecord>, FindError> {
    let path = layout.index_entry(workspace);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FindError::Read { path, source }),
    };
    let Ok(name) = text.trim().parse::<SandboxName>() else {
        return Ok(None);
    };
    let record = read(&layout.record(&name))?;
    Ok(record.filter(|record| record.workspace == workspace))
}

/// Returns all sandboxes, sorted by name.
pub(crate) fn all(layout: &Layout) -> Result<Vec<SandboxRecord>, FindError> {
    let mut records = Vec::new();
    for name in names(layout)? {
        records.extend(read(&layout.record(&name))?);
    }
    Ok(records)
}

/// Returns the names of all sandboxes, sorted.
pub(crate) fn names(layout: &Layout) -> Result<Vec<SandboxName>, FindError> {
    let path = layout.sandboxes();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FindError::Read { path, source }),
    };
    let mut names: Vec<SandboxName> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Option<SandboxRecord>, FindError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(FindError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let damaged = |source| FindError::Damaged {
        path: path.to_owned(),
        source,
    };
    let version: Version = serde_json::from_str(&text).map_err(damaged)?;
    if version.format > RECORD_FORMAT {
        return Err(FindError::Newer {
            path: path.to_owned(),
            found: version.format,
        });
    }
    serde_json::from_str(&text).map(Some).map_err(damaged)
}
