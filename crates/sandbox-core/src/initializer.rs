//! Makes a sandbox: a plan that is checked and can be shown, then applied step by step and taken
//! back if a step fails.

mod place;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use sandbox_types::{SandboxConfig, SandboxName};

use crate::{
    layout::Layout,
    registry::{self, FindError, RECORD_FORMAT, SandboxRecord},
};

/// The first host id that guests of a root caller may get. Above the ranges that useradd(8) hands
/// out in /etc/subuid and that systemd-nspawn(1) picks from, so that no container shares them.
const HOST_IDS_FIRST: u32 = 0x7000_0000;
/// How many ids each sandbox has.
const HOST_IDS_EACH: u32 = 0x1_0000;
/// The most sandboxes of one home directory.
const SANDBOXES_MAX: u32 = 4096;

/// A sandbox cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is no such directory.
    #[error("the workspace {} does not exist", workspace.display())]
    Missing {
        /// The workspace.
        workspace: PathBuf,
    },
    /// It is a file.
    #[error("the workspace {} is not a directory", workspace.display())]
    NotADirectory {
        /// The workspace.
        workspace: PathBuf,
    },
    /// The directory would give the guest more than a workspace.
    #[error("{} cannot be a workspace: {reason}", workspace.display())]
    Unsuitable {
        /// The workspace.
        workspace: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The path is not text.
    #[error("the workspace {} has a name that is not UTF-8", workspace.display())]
    NotUnicode {
        /// The workspace.
        workspace: PathBuf,
    },
    /// The name is taken.
    #[error("there is already a sandbox named '{name}', for {}", workspace.display())]
    NameTaken {
        /// The name.
        name: SandboxName,
        /// Its workspace.
        workspace: PathBuf,
    },
    /// The directory is taken.
    #[error("{} already belongs to the sandbox '{name}'", workspace.display())]
    WorkspaceTaken {
        /// The workspace.
        workspace: PathBuf,
        /// Its sandbox.
        name: SandboxName,
    },
    /// No ids are left.
    #[error("there are already {SANDBOXES_MAX} sandboxes")]
    TooMany,
    /// The sandboxes that exist cannot be read.
    #[error("cannot look at the sandboxes that exist")]
    Registry(#[source] FindError),
    /// A step failed; what was done before it was taken back.
    #[error("cannot {step} {}", path.display())]
    Step {
        /// What was attempted.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What a new sandbox is to be.
#[derive(Clone, Debug)]
pub struct NewSandbox<'a> {
    /// Its name; `None` derives one from the workspace.
    pub name: Option<SandboxName>,
    /// The directory that it will be bound to.
    pub workspace: &'a Path,
    /// What to do when that does not exist.
    pub missing: MissingWorkspace,
    /// The configuration that is stored with it.
    pub config: &'a SandboxConfig,
}

/// What to do when the workspace does not exist.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingWorkspace {
    /// Refuse: it is probably a typo.
    Refuse,
    /// Make it, if its parent directory exists.
    Create,
}

/// Makes sandboxes.
#[derive(Debug)]
pub struct SandboxInitializer<'a> {
    layout: &'a Layout,
}

/// What will be done to make one sandbox.
#[derive(Clone, Debug)]
pub struct InitializationPlan {
    /// What will be written down about it.
    pub record: SandboxRecord,
    /// Whether the workspace directory will be made.
    pub creates_workspace: bool,
    /// The configuration that will be stored with it, as YAML (JSON is YAML).
    pub config: String,
}

impl<'a> SandboxInitializer<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    /// Checks everything and returns what would be done. Changes nothing.
    ///
    /// # Errors
    ///
    /// Fails when the workspace or the name cannot be used.
    pub(crate) fn plan(
        &self,
        request: NewSandbox<'_>,
        now: Timestamp,
    ) -> Result<InitializationPlan, CreateError> {
        let NewSandbox {
            name,
            workspace,
            missing,
            config,
        } = request;
        let (workspace, metadata) = resolve(workspace, missing)?;
        place::check_workspace(self.layout, &workspace)?;
        if let Some(record) =
            registry::bound_to(self.layout, &workspace).map_err(CreateError::Registry)?
        {
            return Err(CreateError::WorkspaceTaken {
                workspace,
                name: record.name,
            });
        }
        let existing = registry::all(self.layout).map_err(CreateError::Registry)?;
        let name = match name {
            Some(name) => free_name(name, &existing)?,
            None => derived_name(&workspace, &existing),
        };
        let parent = metadata.as_ref().map_or_else(
            || workspace.parent().unwrap_or(Path::new("/")).to_owned(),
            |_exists| workspace.clone(),
        );
        let place = place::layers(self.layout, &name, &workspace, &parent);
        let (layers, no_layers_because) = match place {
            Ok(path) => (Some(path), None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(InitializationPlan {
            record: SandboxRecord {
                format: RECORD_FORMAT,
                name,
                workspace,
                workspace_device: metadata.as_ref().map_or(0, fs::Metadata::dev),
                workspace_inode: metadata.as_ref().map_or(0, fs::Metadata::ino),
                created_at: now,
                host_ids: free_host_ids(&existing)?,
                layers,
                no_layers_because,
            },
            creates_workspace: metadata.is_none(),
            config: serde_json::to_string_pretty(config).unwrap_or_else(|_never| "{}".to_owned()),
        })
    }

    /// Does what the plan says.
    ///
    /// # Errors
    ///
    /// Fails when a step fails; what the plan made before is taken away again.
    pub(crate) fn apply(&self, mut plan: InitializationPlan) -> Result<SandboxRecord, CreateError> {
        let mut made = Vec::new();
        match self.apply_steps(&mut plan, &mut made) {
            Ok(()) => Ok(plan.record),
            Err(error) => {
                for path in made.iter().rev() {
                    // What cannot be taken back is an empty directory of ours; the error says more.
                    let _removed =
                        fs::remove_dir_all(path).or_else(|_not_a_directory| fs::remove_file(path));
                }
                Err(error)
            }
        }
    }

    fn apply_steps(
        &self,
        plan: &mut InitializationPlan,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), CreateError> {
        let workspace = plan.record.workspace.clone();
        if plan.creates_workspace {
            fs::create_dir(&workspace)
                .map_err(|source| step("create the workspace", &workspace, source))?;
            made.push(workspace.clone());
            let metadata = fs::metadata(&workspace)
                .map_err(|source| step("look at the workspace", &workspace, source))?;
            plan.record.workspace_device = metadata.dev();
            plan.record.workspace_inode = metadata.ino();
        }
        let directory = self.layout.sandbox(&plan.record.name);
        for parent in [
            self.layout.home(),
            &self.layout.sandboxes(),
            &self.layout.index(),
        ] {
            make_private(parent)?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|source| step("create", &directory, source))?;
        made.push(directory);
        if let Some(layers) = &plan.record.layers {
            let parent = layers.parent().unwrap_or(layers);
            make_private(parent)?;
            make_private(layers)?;
            made.push(layers.clone());
        }
        write(&self.layout.config(&plan.record.name), &plan.config)?;
        let record = serde_json::to_string_pretty(&plan.record).unwrap_or_default();
        write(&self.layout.record(&plan.record.name), &record)?;
        let entry = self.layout.index_entry(&plan.record.workspace);
        write(&entry, plan.record.name.as_str())
    }
}

/// Takes the lock under which sandboxes are made and destroyed; it is released when the file drops.
pub(crate) fn lock(layout: &Layout) -> Result<fs::File, CreateError> {
    make_private(layout.home())?;
    let path = layout.lock();
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| step("open", &path, source))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|error| step("lock", &path, error.into()))?;
    Ok(file)
}

fn step(step: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::Step {
        step,
        path: path.to_owned(),
        source,
    }
}

fn make_private(path: &Path) -> Result<(), CreateError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| step("create", path, source))
}

fn write(path: &Path, text: &str) -> Result<(), CreateError> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| step("write", path, source))
}

/// Returns the absolute path without symbolic links, and what is there.
fn resolve(
    workspace: &Path,
    missing: MissingWorkspace,
) -> Result<(PathBuf, Option<fs::Metadata>), CreateError> {
    let gone = || CreateError::Missing {
        workspace: workspace.to_owned(),
    };
    let canonical = match fs::canonicalize(workspace) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (MissingWorkspace::Create, Some(parent), Some(name)) =
                (missing, workspace.parent(), workspace.file_name())
            else {
                return Err(gone());
            };
            let parent = fs::canonicalize(parent).map_err(|_no_parent| gone())?;
            return Ok((parent.join(name), None));
        }
        Err(source) => return Err(step("look at the workspace", workspace, source)),
    };
    let metadata = fs::metadata(&canonical)
        .map_err(|source| step("look at the workspace", &canonical, source))?;
    if !metadata.is_dir() {
        return Err(CreateError::NotADirectory {
            workspace: canonical,
        });
    }
    if canonical.to_str().is_none() {
        return Err(CreateError::NotUnicode {
            workspace: canonical,
        });
    }
    Ok((canonical, Some(metadata)))
}

fn free_name(name: SandboxName, existing: &[SandboxRecord]) -> Result<SandboxName, CreateError> {
    match existing.iter().find(|record| record.name == name) {
        None => Ok(name),
        Some(record) => Err(CreateError::NameTaken {
            name,
            workspace: record.workspace.clone(),
        }),
    }
}

/// Returns a free name made from the last part of the path.
fn derived_name(workspace: &Path, existing: &[SandboxRecord]) -> SandboxName {
    let base: String = workspace
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(50)
        .collect();
    let base = if base.is_empty() {
        "sandbox".to_owned()
    } else {
        base
    };
    (1..=SANDBOXES_MAX + 1)
        .map(|n| {
            if n == 1 {
                base.clone()
            } else {
                format!("{base}-{n}")
            }
        })
        .filter_map(|text| text.parse::<SandboxName>().ok())
        .find(|name| existing.iter().all(|record| record.name != *name))
        .expect("one of more names than sandboxes is free")
}

fn free_host_ids(existing: &[SandboxRecord]) -> Result<u32, CreateError> {
    (0..SANDBOXES_MAX)
        .map(|n| HOST_IDS_FIRST + n * HOST_IDS_EACH)
        .find(|first| existing.iter().all(|record| record.host_ids != *first))
        .ok_or(CreateError::TooMany)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_directory() {
        let name = |path: &str| derived_name(Path::new(path), &[]).to_string();
        assert_eq!(name("/home/u/my project"), "my-project");
        assert_eq!(name("/home/u/.hidden"), "hidden");
        assert_eq!(name("/"), "sandbox");
    }
}
