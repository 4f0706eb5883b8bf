//! Which sandboxes exist, and which one belongs to a directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sandbox_types::SandboxName;
use serde::{Deserialize, Serialize, de};

use crate::{host_ids, layout::Layout, private};

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
    /// When the workspace was made, where the file system keeps that: inodes are used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_born: Option<Timestamp>,
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
    /// Why no overlay can be mounted on the workspace: its operations write to it directly, with a
    /// snapshot before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_overlay_because: Option<String>,
}

/// What stands where the workspace of a sandbox was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// The workspace.
    Workspace,
    /// Something else.
    Other,
    /// Nothing.
    Nothing,
}

impl SandboxRecord {
    /// Returns whether the transactions lie in the workspace, which is a file system of its own.
    pub(crate) fn has_layers_inside(&self) -> bool {
        let layers = self.layers.as_ref();
        layers.is_some_and(|it| it.starts_with(&self.workspace))
    }

    /// Looks whether the workspace is still the directory that the sandbox was bound to.
    pub(crate) fn find_workspace(&self) -> Found {
        match fs::symlink_metadata(&self.workspace) {
            Ok(metadata) if self.is_workspace(&metadata) => Found::Workspace,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Ok(_) | Err(_) => Found::Other,
        }
    }

    /// Returns whether a directory is the workspace, wherever it lies now.
    pub(crate) fn is_workspace(&self, metadata: &fs::Metadata) -> bool {
        let inode = (self.workspace_device, self.workspace_inode);
        metadata.is_dir()
            && (metadata.dev(), metadata.ino()) == inode
            && match (self.workspace_born, born(metadata)) {
                (Some(recorded), Some(found)) => recorded == found,
                (None, _) | (_, None) => true,
            }
    }
}

/// Returns when a file was made, where the file system keeps that.
pub(crate) fn born(metadata: &fs::Metadata) -> Option<Timestamp> {
    Timestamp::try_from(metadata.created().ok()?).ok()
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
        if let Some(record) = indexed(layout, ancestor)? {
            return Ok(record);
        }
    }
    unindexed(layout, |workspace| directory.starts_with(workspace))?.ok_or_else(|| {
        FindError::NoneHere {
            directory: directory.to_owned(),
        }
    })
}

/// Returns the sandbox that is bound to exactly this directory, if the index has it.
fn indexed(layout: &Layout, workspace: &Path) -> Result<Option<SandboxRecord>, FindError> {
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

/// Looks at every record, and adds the one that is found to the index: a process that was killed
/// while it made the sandbox did not come to it.
fn unindexed(
    layout: &Layout,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Option<SandboxRecord>, FindError> {
    let nearest = all(layout)?
        .into_iter()
        .filter(|record| wanted(&record.workspace))
        .max_by_key(|record| record.workspace.as_os_str().len());
    if let Some(record) = &nearest {
        // Without the entry the next search is as long as this one, and finds the same.
        let _written =
            private::replace(&layout.index_entry(&record.workspace), record.name.as_str());
    }
    Ok(nearest)
}

/// Returns all sandboxes that can be used, sorted by name. One whose record is damaged is left out, so that the
/// others can be used; [`by_name`] says what is wrong with it, and [`claims`] has it too.
pub(crate) fn all(layout: &Layout) -> Result<Vec<SandboxRecord>, FindError> {
    let names = names(layout)?;
    let read = |name| read(&layout.record(name)).ok().flatten();
    Ok(names.iter().filter_map(read).collect())
}

/// What one sandbox has for itself. Read without regard to the version of its record: what others must keep away from
/// does not end where this program cannot use the sandbox.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    /// Its name.
    pub(crate) name: SandboxName,
    /// The directory that it is bound to.
    pub(crate) workspace: PathBuf,
    /// Where its transactions lie.
    pub(crate) layers: Option<PathBuf>,
    /// The first of the host ids of its guests.
    pub(crate) host_ids: u32,
}

/// Returns what all sandboxes have for themselves, sorted by name. Fails when one of them does not say it: who asks
/// would take what is another's.
pub(crate) fn claims(layout: &Layout) -> Result<Vec<Claims>, FindError> {
    let names = names(layout)?;
    let read = |name: &SandboxName| {
        let path = layout.record(name);
        let claims = |text: String| serde_json::from_str(&text);
        let read = text_of(&path)?.map(claims).transpose();
        read.map_err(|source| FindError::Damaged { path, source })
    };
    names
        .iter()
        .filter_map(|name| read(name).transpose())
        .collect()
}

/// Returns the names of all sandboxes, sorted.
pub(crate) fn names(layout: &Layout) -> Result<Vec<SandboxName>, FindError> {
    let path = layout.sandboxes();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FindError::Read { path, source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| FindError::Read {
            path: path.clone(),
            source,
        })?;
        names.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok()),
        );
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Option<SandboxRecord>, FindError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let Some(text) = text_of(path)? else {
        return Ok(None);
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
    let record: SandboxRecord = serde_json::from_str(&text).map_err(damaged)?;
    if !host_ids::are_ours(record.host_ids) {
        let problem = format!("host_ids: {} begins no range of ours", record.host_ids);
        return Err(damaged(de::Error::custom(problem)));
    }
    Ok(Some(record))
}

/// Returns what a file holds; `None` if it is not there.
fn text_of(path: &Path) -> Result<Option<String>, FindError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FindError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}
