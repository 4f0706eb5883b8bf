//! All sandboxes of one user: find, make, open, destroy.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sandbox_isolation::KernelLauncher;
use sandbox_rollback::{OpenError as RollbackOpenError, RollbackManager};
use sandbox_safety::{Policy, SafetyValidator};
use sandbox_state::{AppendError, StateManager};
use sandbox_types::{OperationId, SandboxConfig, SandboxName};
use serde_json::json;

use crate::{
    check,
    config_layers::{self, ConfigLoadError, Effective, Layers},
    core::SandboxCore,
    host::Host,
    initializer::{self, CreateError, InitializationPlan, NewSandbox, SandboxInitializer},
    layout::Layout,
    ledger,
    recover::{RecoveryError, RecoveryReport},
    registry::{self, FindError, SandboxRecord},
    sandbox::Sandbox,
};

/// The sandboxes below one `SANDBOX_HOME`.
#[derive(Clone, Debug)]
pub struct Home {
    host: Host,
    layout: Layout,
}

/// What a caller adds to the configuration of a sandbox that it opens.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A configuration file named by the caller.
    pub file: Option<PathBuf>,
    /// Single values that the caller gives, by flags or in code.
    pub flags: SandboxConfig,
}

/// A sandbox cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigLoadError),
    /// A value of its configuration is wrong.
    #[error(transparent)]
    Value(#[from] sandbox_types::ConfigError),
    /// The directory of its transactions cannot be used.
    #[error("cannot open the transactions of '{name}'")]
    Rollback {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        #[source]
        source: RollbackOpenError,
    },
    /// What a killed process left cannot be settled.
    #[error("cannot recover '{name}'")]
    Recover {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        #[source]
        source: RecoveryError,
    },
    /// The configuration has no workspace.
    #[error("the configuration names no workspace_path")]
    NoWorkspace,
    /// The sandbox exists and is bound to another directory.
    #[error("the sandbox '{name}' is bound to {}, not to {}", bound.display(), asked.display())]
    OtherWorkspace {
        /// The sandbox.
        name: SandboxName,
        /// Its workspace.
        bound: PathBuf,
        /// The workspace that was asked for.
        asked: PathBuf,
    },
    /// The name is not usable.
    #[error(transparent)]
    Name(#[from] sandbox_types::IdError),
    /// The creation cannot be written down.
    #[error("cannot record that the sandbox was made")]
    Record(#[source] AppendError),
}

/// What happens to the workspace of a destroyed sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkspaceFate {
    /// It stays as it is.
    Keep,
    /// It is deleted with all that is in it.
    Delete,
}

/// A sandbox cannot be destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestroyError {
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] CreateError),
    /// Its transactions cannot be removed; an operation may be running.
    #[error("cannot remove the transactions of '{name}'")]
    Rollback {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        #[source]
        source: sandbox_rollback::UpkeepError,
    },
    /// A directory cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Changes wait for review, and would be lost.
    #[error("{} held operation(s) of '{name}' would be lost", held.len())]
    Held {
        /// The sandbox.
        name: SandboxName,
        /// The operations.
        held: Vec<OperationId>,
    },
    /// It cannot be written down.
    #[error("cannot record that the sandbox was destroyed")]
    Record(#[source] AppendError),
}

impl Home {
    /// Returns the sandboxes of the caller. Touches nothing on disk.
    pub fn new(host: Host) -> Self {
        let layout = Layout::new(&host.data);
        Self { host, layout }
    }

    /// Returns the caller's surroundings.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns all sandboxes, sorted by name.
    ///
    /// # Errors
    ///
    /// Fails when a record cannot be read.
    pub fn list(&self) -> Result<Vec<SandboxRecord>, FindError> {
        registry::all(&self.layout)
    }

    /// Returns the sandbox of that name.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or its record cannot be read.
    pub fn find(&self, name: &SandboxName) -> Result<SandboxRecord, FindError> {
        registry::by_name(&self.layout, name)
    }

    /// Returns the sandbox whose workspace contains `directory`.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or its record cannot be read.
    pub fn find_here(&self, directory: &Path) -> Result<SandboxRecord, FindError> {
        let directory = fs::canonicalize(directory).map_err(|source| FindError::Read {
            path: directory.to_owned(),
            source,
        })?;
        registry::by_directory(&self.layout, &directory)
    }

    /// Returns what [`Home::create`] would do.
    ///
    /// # Errors
    ///
    /// Fails when the workspace or the name cannot be used.
    pub fn plan(&self, request: NewSandbox<'_>) -> Result<InitializationPlan, CreateError> {
        SandboxInitializer::new(&self.layout).plan(request, now())
    }

    /// Makes a sandbox.
    ///
    /// # Errors
    ///
    /// Fails when the workspace or the name cannot be used, or a step fails; then nothing is left.
    pub fn create(&self, request: NewSandbox<'_>) -> Result<SandboxRecord, OpenError> {
        let lock = initializer::lock(&self.layout)?;
        let initializer = SandboxInitializer::new(&self.layout);
        let plan = initializer.plan(request, now())?;
        let record = initializer.apply(plan)?;
        drop(lock);
        self.record_lifecycle(ledger::CREATED, &record)
            .map_err(OpenError::Record)?;
        Ok(record)
    }

    /// Returns the configuration that holds for a sandbox, with the origin of each value.
    ///
    /// # Errors
    ///
    /// Fails when a layer cannot be read or has a wrong key or value.
    pub fn effective_config(
        &self,
        record: Option<&SandboxRecord>,
        overrides: &Overrides,
    ) -> Result<Effective, ConfigLoadError> {
        config_layers::load(&Layers {
            system: Some(self.host.system_config.clone()),
            user: Some(self.host.user_config.clone()),
            sandbox: record.map(|record| self.layout.config(&record.name)),
            explicit: overrides.file.clone(),
            environment: self.host.variables.clone(),
            flags: overrides.flags.clone(),
        })
    }

    /// Opens a sandbox and settles what a killed process left in it.
    ///
    /// # Errors
    ///
    /// Fails when its configuration is wrong or it cannot be settled.
    pub fn open(
        &self,
        record: SandboxRecord,
        overrides: &Overrides,
    ) -> Result<(SandboxCore, RecoveryReport), OpenError> {
        let config = self.effective_config(Some(&record), overrides)?.config;
        let limits = config.limits()?;
        let name = record.name.clone();
        let rollback = match &record.layers {
            None => None,
            Some(layers) => Some(RollbackManager::open(&record.workspace, layers).map_err(
                |source| OpenError::Rollback {
                    name: name.clone(),
                    source,
                },
            )?),
        };
        let sandbox = Sandbox {
            validator: SafetyValidator::new(Policy::of(check::profile(config.profile()))),
            state: StateManager::open(&self.layout.sandbox(&record.name)),
            launcher: Box::new(KernelLauncher::new()),
            host: self.host.clone(),
            record,
            config,
            limits,
            rollback,
        };
        let recovery = sandbox
            .recover(now())
            .map_err(|source| OpenError::Recover { name, source })?;
        Ok((SandboxCore::new(sandbox, self.clone()), recovery))
    }

    /// Destroys a sandbox: everything that we hold for it is released.
    ///
    /// # Errors
    ///
    /// Fails when an operation is running, when held changes would be lost (unless `lose_held`), or
    /// when something cannot be removed; what is left then is removed by destroying it again.
    pub fn destroy(
        &self,
        record: &SandboxRecord,
        fate: WorkspaceFate,
        held: HeldChanges,
    ) -> Result<(), DestroyError> {
        let _lock = initializer::lock(&self.layout)?;
        let remove = |path: &Path| match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DestroyError::Remove {
                path: path.to_owned(),
                source: error,
            }),
            Ok(()) | Err(_) => Ok(()),
        };
        if let Some(layers) = &record.layers
            && layers.exists()
        {
            Self::remove_layers(record, layers, held)?;
        }
        self.record_lifecycle(ledger::DESTROYED, record)
            .map_err(DestroyError::Record)?;
        let entry = self.layout.index_entry(&record.workspace);
        if let Err(source) = fs::remove_file(&entry)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(DestroyError::Remove {
                path: entry,
                source,
            });
        }
        remove(&self.layout.sandbox(&record.name))?;
        sandbox_isolation::remove_stale_cgroups();
        match fate {
            WorkspaceFate::Keep => Ok(()),
            WorkspaceFate::Delete => remove(&record.workspace),
        }
    }

    fn remove_layers(
        record: &SandboxRecord,
        layers: &Path,
        held: HeldChanges,
    ) -> Result<(), DestroyError> {
        let Ok(rollback) = RollbackManager::open(&record.workspace, layers) else {
            // The workspace is gone: nothing can be settled any more, only removed.
            return fs::remove_dir_all(layers).map_err(|source| DestroyError::Remove {
                path: layers.to_owned(),
                source,
            });
        };
        let waiting = rollback.pending().unwrap_or_default();
        if held == HeldChanges::Keep && !waiting.is_empty() {
            return Err(DestroyError::Held {
                name: record.name.clone(),
                held: waiting,
            });
        }
        rollback
            .remove_all()
            .map_err(|source| DestroyError::Rollback {
                name: record.name.clone(),
                source,
            })?;
        // The directory beside the workspace is ours; it goes when its last sandbox goes.
        if let Some(parent) = layers.parent() {
            let _still_used = fs::remove_dir(parent);
        }
        Ok(())
    }

    fn record_lifecycle(&self, kind: &str, record: &SandboxRecord) -> Result<(), AppendError> {
        let payload = json!({"sandbox": record.name, "workspace": record.workspace});
        StateManager::open(self.layout.home())
            .journal()
            .append(kind, now(), &payload)
            .map(drop)
    }
}

/// What to do with changes that wait for review.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeldChanges {
    /// Refuse to lose them.
    Keep,
    /// Drop them.
    Lose,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the lifecycle; operations are told the time"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
