//! Makes a sandbox: a plan that is checked and can be shown, then applied step by step and taken
//! back if a step fails.

pub(crate) mod checks;
mod made;
mod place;
mod steps;
#[cfg(test)]
mod tests;
mod trust;

pub use checks::{InitializationCheck, Part};
use made::Made;
pub(crate) use place::{mounted_in, submounts};
pub use steps::{Act, InitializationStep};

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with},
    io::Errno,
};
use sandbox_types::{SandboxConfig, SandboxName};

use crate::{
    host_ids::{self, SANDBOXES_MAX},
    layout::{CONFIG_FILE, Layout, RECORD_FILE, UNFINISHED},
    ledger::{self, Ledger},
    private,
    registry::{self, FindError, RECORD_FORMAT, SandboxRecord},
};

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
    steps: Vec<InitializationStep>,
}

impl InitializationPlan {
    /// Returns what will be done, in order.
    pub fn steps(&self) -> &[InitializationStep] {
        &self.steps
    }
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
        place::check_home(self.layout)?;
        let (workspace, metadata) = resolve(workspace, missing)?;
        let registry = CreateError::Registry;
        let existing = registry::claims(self.layout).map_err(registry)?;
        place::check_workspace(self.layout, &workspace, &existing)?;
        if let Some(bound) = existing.iter().find(|it| it.workspace == workspace) {
            return Err(CreateError::WorkspaceTaken {
                workspace,
                name: bound.name.clone(),
            });
        }
        let name = if let Some(name) = name {
            self.free_name(name)?
        } else {
            let taken = registry::names(self.layout).map_err(registry)?;
            derived_name(&workspace, &taken)
        };
        let place = place::layers(self.layout, &name, &workspace, &existing);
        let no_layers_because = place.as_ref().err().cloned();
        let layers = place.ok();
        let no_overlay_because = place::no_overlay(&workspace).filter(|_| layers.is_some());
        let mut record = SandboxRecord {
            format: RECORD_FORMAT,
            name,
            workspace,
            workspace_device: 0,
            workspace_inode: 0,
            workspace_born: None,
            created_at: now,
            host_ids: host_ids::free(&existing).ok_or(CreateError::TooMany)?,
            layers,
            no_layers_because,
            no_overlay_because,
        };
        if let Some(metadata) = &metadata {
            identify(&mut record, metadata);
        }
        let config = serde_json::to_string_pretty(config).map_err(|error| {
            step(
                "write the configuration of",
                &record.workspace,
                error.into(),
            )
        })?;
        let creates_workspace = metadata.is_none();
        Ok(InitializationPlan {
            steps: steps::of(self.layout, &record, creates_workspace),
            record,
            creates_workspace,
            config,
        })
    }

    fn free_name(&self, name: SandboxName) -> Result<SandboxName, CreateError> {
        match registry::by_name(self.layout, &name) {
            Err(FindError::Unknown { .. }) => Ok(name),
            Err(error) => Err(CreateError::Registry(error)),
            Ok(record) => Err(CreateError::NameTaken {
                name,
                workspace: record.workspace,
            }),
        }
    }

    /// Removes what processes left that were killed while they made or destroyed a sandbox. The
    /// caller holds the lock, so that no such process lives.
    pub(crate) fn remove_leftovers(&self) -> Result<(), CreateError> {
        let sandboxes = self.layout.sandboxes();
        let entries = match fs::read_dir(&sandboxes) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(step("list", &sandboxes, source)),
        };
        for entry in entries {
            let entry = entry.map_err(|source| step("list", &sandboxes, source))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_record_gone = || {
                let record = fs::symlink_metadata(entry.path().join(RECORD_FILE));
                record.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            if name.starts_with(UNFINISHED)
                || (name.parse::<SandboxName>().is_ok() && is_record_gone())
            {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|source| step("remove", &path, source))?;
            }
        }
        Ok(())
    }

    /// Does what the plan says, step by step.
    ///
    /// # Errors
    ///
    /// Fails when a step fails; what the plan made before is taken away again.
    pub(crate) fn apply(&self, plan: InitializationPlan) -> Result<SandboxRecord, CreateError> {
        self.apply_after(plan, |_| Ok(()))
    }

    /// Like [`Self::apply`]; a step is done only after `begins` has said yes to it.
    ///
    /// The sandbox is put together under another name and published by one rename: a process that is
    /// killed leaves nothing, or a whole sandbox.
    fn apply_after(
        &self,
        mut plan: InitializationPlan,
        mut begins: impl FnMut(&InitializationStep) -> Result<(), CreateError>,
    ) -> Result<SandboxRecord, CreateError> {
        let mut made = Made::default();
        let done = plan.steps.clone().iter().try_for_each(|step| {
            begins(step).and_then(|()| self.apply_step(step, &mut plan, &mut made))
        });
        match done {
            Ok(()) => Ok(plan.record),
            Err(error) => {
                made.take_back();
                Err(error)
            }
        }
    }

    fn apply_step(
        &self,
        it: &InitializationStep,
        plan: &mut InitializationPlan,
        made: &mut Made,
    ) -> Result<(), CreateError> {
        let path = &it.path;
        let failed = |source| step(it.act.words(), path, source);
        let unfinished = self.layout.unfinished();
        match it.act {
            Act::PrepareHome => [self.layout.sandboxes(), self.layout.index()]
                .iter()
                .try_for_each(|path| private::make(path).map(drop))
                .map_err(failed),
            Act::MakeWorkspace => {
                fs::create_dir(path).map_err(failed)?;
                made.directories.push(path.clone());
                identify(&mut plan.record, &fs::metadata(path).map_err(failed)?);
                Ok(())
            }
            Act::MakeLayers => made.layers(path, plan.record.has_layers_inside()),
            Act::WriteRecord => {
                private::make(&unfinished).map_err(failed)?;
                made.sandbox = Some(unfinished.clone());
                serde_json::to_string_pretty(&plan.record)
                    .map_err(io::Error::from)
                    .and_then(|record| private::write(&unfinished.join(RECORD_FILE), &record))
                    .map_err(failed)
            }
            Act::WriteConfiguration => {
                private::write(&unfinished.join(CONFIG_FILE), &plan.config).map_err(failed)
            }
            Act::StartJournal => {
                let (record, ledger) = (&plan.record, Ledger::open(&unfinished, &plan.record.name));
                ledger::lifecycle(&ledger, ledger::CREATED, record, record.created_at)
                    .map_err(|error| failed(io::Error::other(error)))
            }
            Act::Publish => {
                private::sync(&unfinished)
                    .and_then(|()| publish(&unfinished, path))
                    .map_err(failed)?;
                made.sandbox = Some(path.clone());
                private::sync(&self.layout.sandboxes()).map_err(failed)
            }
            Act::AddToIndex => private::replace(path, plan.record.name.as_str()).map_err(failed),
        }
    }
}

/// Gives a directory its name, which nothing has yet.
fn publish(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag. A plain rename replaces an empty directory at most.
        Err(Errno::INVAL) => fs::rename(from, to),
        result => Ok(result?),
    }
}

/// Notes which directory the workspace is.
fn identify(record: &mut SandboxRecord, metadata: &fs::Metadata) {
    record.workspace_device = metadata.dev();
    record.workspace_inode = metadata.ino();
    // Where no layers can lie (overlayfs, network file systems) the time is not steady either.
    record.workspace_born = registry::born(metadata).filter(|_| record.layers.is_some());
}

/// Takes the lock under which sandboxes are made and destroyed; it is released when the file drops.
pub(crate) fn lock(layout: &Layout) -> Result<fs::File, CreateError> {
    let home = layout.home();
    private::make_home(home).map_err(|source| step("use", home, source))?;
    let path = layout.lock();
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
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

/// Returns the absolute path without symbolic links, and what is there.
fn resolve(
    workspace: &Path,
    missing: MissingWorkspace,
) -> Result<(PathBuf, Option<fs::Metadata>), CreateError> {
    let gone = || CreateError::Missing {
        workspace: workspace.to_owned(),
    };
    let unicode = |path: PathBuf| match path.to_str() {
        Some(_) => Ok(path),
        None => Err(CreateError::NotUnicode { workspace: path }),
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
            return Ok((unicode(parent.join(name))?, None));
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
    Ok((unicode(canonical)?, Some(metadata)))
}

/// Returns a free name made from the last part of the path.
fn derived_name(workspace: &Path, taken: &[SandboxName]) -> SandboxName {
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
        .find(|name| !taken.contains(name))
        .expect("one of more names than sandboxes is free")
}
