//! All sandboxes of one user: find, make, open, destroy.

mod destroy;
mod destroyed;
mod event_file;
mod finding;
mod guest_paths;
mod losses;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use sandbox_isolation::{
    Confinement, KeeperProgram, KernelLauncher, Launcher, SessionLauncher, probe_namespaces,
};
use sandbox_rollback::{OpenError as RollbackOpenError, RollbackManager};
use sandbox_safety::{Policy, SafetyValidator};
use sandbox_state::AppendError;
use sandbox_types::{SandboxConfig, SandboxName};

pub(crate) use guest_paths::{
    links_to_user_configuration, places_of_configuration, user_configuration,
};

pub use destroy::{DestroyError, HeldChanges, WorkspaceFate};
pub use destroyed::{DestroyedError, DestroyedSandbox};
pub use losses::Losses;

use crate::{
    approvals::Shelf,
    check,
    config_layers::{self, ConfigLoadError, Effective, Layers, SeccompError},
    core::SandboxCore,
    host::Host,
    initializer::{
        self, CreateError, InitializationCheck, InitializationPlan, NewSandbox, SandboxInitializer,
    },
    layout::Layout,
    ledger::{self, Ledger},
    plugins::{PluginError, Plugins},
    policies::{Policies, PolicyError, check_policies_with},
    recover::{RecoveryError, RecoveryReport},
    registry::{FindError, Found, SandboxRecord},
    sandbox::Sandbox,
    state,
};

/// The sandboxes below one `SANDBOX_HOME`.
#[derive(Clone, Debug)]
pub struct Home {
    host: Host,
    layout: Layout,
    plugins: Plugins,
    sessions: Option<KeeperProgram>,
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
    /// The workspace was moved or removed.
    #[error("the workspace of '{name}' is not there any more: {}", workspace.display())]
    WorkspaceGone {
        /// The sandbox.
        name: SandboxName,
        /// Where it was.
        workspace: PathBuf,
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
    /// Its system call profile cannot be used.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// A rule pack or the commit policy of a new sandbox cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A plugin cannot be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The file of events lies where it must not.
    #[error("events.file: {} lies in {place}", path.display())]
    EventFile {
        /// The file.
        path: PathBuf,
        /// Where that is, and what would come of it.
        place: &'static str,
    },
    /// The creation cannot be written down.
    #[error("cannot record that the sandbox was made")]
    Record(#[source] AppendError),
}

impl Home {
    /// Returns the sandboxes of the caller. Touches nothing on disk.
    pub fn new(host: Host) -> Self {
        let layout = Layout::new(&host.data);
        Self {
            host,
            layout,
            plugins: Plugins::default(),
            sessions: None,
        }
    }

    /// Gives these plugins to each sandbox that is opened from now on.
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }

    /// Lets operations start in sessions, whose keepers are started as `keeper` says, where the
    /// configuration allows it: for programs that run one operation and end.
    #[must_use]
    pub fn with_sessions(mut self, keeper: KeeperProgram) -> Self {
        self.sessions = Some(keeper);
        self
    }

    fn launcher(&self, state: &Path, config: &SandboxConfig) -> Box<dyn Launcher> {
        match (&self.sessions, config.session_idle_timeout()) {
            (Some(keeper), Some(idle_timeout)) => Box::new(
                SessionLauncher::new(state.to_owned(), idle_timeout, keeper.clone())
                    .with_patience(config.session_patience()),
            ),
            (None, _) | (_, None) => Box::new(KernelLauncher::new()),
        }
    }

    /// Returns the caller's surroundings.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns what [`Home::create`] would do.
    ///
    /// # Errors
    ///
    /// Fails when the workspace or the name cannot be used.
    pub fn plan(&self, request: NewSandbox<'_>) -> Result<InitializationPlan, CreateError> {
        SandboxInitializer::new(&self.layout).plan(request, now())
    }

    /// Looks at what a planned sandbox will have: its workspace, its resources, its security
    /// configuration, and whether this host holds each of them.
    ///
    /// # Errors
    ///
    /// Fails when the configuration that will hold for it cannot be read or has a wrong value, or a
    /// rule pack or the commit policy that it names cannot be used.
    pub fn check_plan(
        &self,
        plan: &InitializationPlan,
        config: &SandboxConfig,
    ) -> Result<Vec<InitializationCheck>, OpenError> {
        let overrides = Overrides {
            file: None,
            flags: config.clone(),
        };
        let config = self.effective_config(None, &overrides)?.config;
        let limits = config.limits()?;
        check_policies_with(&config, Some(&plan.record.workspace), &self.plugins)?;
        let kernel = sandbox_isolation::probe_kernel();
        Ok(initializer::checks::all(plan, &config, &limits, &kernel))
    }

    /// Makes a sandbox.
    ///
    /// # Errors
    ///
    /// Fails when the workspace, the name, or a rule pack or the commit policy of the configuration
    /// cannot be used, or a step fails; then nothing is left.
    pub fn create(&self, request: NewSandbox<'_>) -> Result<SandboxRecord, OpenError> {
        let lock = initializer::lock(&self.layout)?;
        let initializer = SandboxInitializer::new(&self.layout);
        initializer.remove_leftovers()?;
        let config = request.config;
        let plan = initializer.plan(request, now())?;
        check_policies_with(config, Some(&plan.record.workspace), &self.plugins)?;
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
        let ignored = self.ignored_configuration(record);
        let trusted = |file: &PathBuf| !ignored.contains(file);
        config_layers::load(&Layers {
            system: Some(self.host.system_config.clone()).filter(trusted),
            user: Some(self.host.user_config.clone()).filter(trusted),
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
        let rollback = rollback(&record).map_err(|source| {
            let name = record.name.clone();
            if let RollbackOpenError::Workspace { path: workspace } = source {
                OpenError::WorkspaceGone { name, workspace }
            } else {
                OpenError::Rollback { name, source }
            }
        })?;
        let sandbox = self.assemble(record, rollback, overrides)?;
        // In another directory than the sandbox was made for, nothing may be finished or reversed.
        let recovery = if sandbox.check_workspace().is_ok() {
            let name = sandbox.name().clone();
            sandbox
                .recover(now())
                .map_err(|source| OpenError::Recover { name, source })?
        } else {
            RecoveryReport::default()
        };
        Ok((SandboxCore::new(sandbox, self.clone()), recovery))
    }

    /// Opens a sandbox to read about it, also when its workspace is gone and when another process
    /// settles something: then that is not waited for. Transactions that cannot be opened are as if
    /// the sandbox had none, and [`crate::Status::no_transactions_because`] says why.
    ///
    /// # Errors
    ///
    /// Fails when its configuration is wrong.
    pub fn open_to_read(
        &self,
        record: SandboxRecord,
        overrides: &Overrides,
    ) -> Result<(SandboxCore, RecoveryReport), OpenError> {
        let sandbox = self.assemble_to_read(record, overrides)?;
        let layers = sandbox.record.layers.as_deref();
        let settles = sandbox.rollback.is_some() && layers.is_some_and(is_unlocked);
        let recovery = if settles {
            // Who only reads does not fail for it: the next operation settles, or says why not.
            sandbox.recover(now()).unwrap_or_default()
        } else {
            RecoveryReport::default()
        };
        Ok((SandboxCore::new(sandbox, self.clone()), recovery))
    }

    /// Like [`Home::open_to_read`], and settles nothing: what killed processes left is there to be seen.
    ///
    /// # Errors
    ///
    /// Fails when its configuration is wrong.
    pub fn open_to_examine(
        &self,
        record: SandboxRecord,
        overrides: &Overrides,
    ) -> Result<SandboxCore, OpenError> {
        let sandbox = self.assemble_to_read(record, overrides)?;
        Ok(SandboxCore::new(sandbox, self.clone()))
    }

    fn assemble_to_read(
        &self,
        mut record: SandboxRecord,
        overrides: &Overrides,
    ) -> Result<Sandbox, OpenError> {
        let rollback = match record.find_workspace() {
            Found::Workspace => {
                rollback(&record).map_err(|error| sandbox_types::causes(&error).join(": "))
            }
            Found::Other => Err("the workspace was replaced by something else".to_owned()),
            Found::Nothing => Err("the workspace was removed".to_owned()),
        };
        let rollback = rollback.unwrap_or_else(|reason| {
            record.no_layers_because.get_or_insert(reason);
            None
        });
        self.assemble(record, rollback, overrides)
    }

    fn assemble(
        &self,
        record: SandboxRecord,
        rollback: Option<RollbackManager>,
        overrides: &Overrides,
    ) -> Result<Sandbox, OpenError> {
        self.plugins.check()?;
        let config = self.effective_config(Some(&record), overrides)?.config;
        let limits = config.limits()?;
        let named = config.isolation.seccomp.as_deref().unwrap_or("default");
        let seccomp = config_layers::seccomp_profile(named, &record.workspace)?;
        let policies = Policies::of(&config, &record.workspace, &self.plugins);
        let tier = tier(&config);
        let state = self.layout.sandbox(&record.name);
        let ledger = Ledger::open(&state, &record.name);
        if let Some(file) = &config.events.file {
            event_file::check(file, &record, &self.layout)?;
            ledger.copy_to(file);
        }
        for handler in self.plugins.event_handlers() {
            ledger.call(Arc::clone(handler));
        }
        let launcher = self.launcher(&state, &config);
        Ok(Sandbox {
            validator: SafetyValidator::new(Policy::of(check::profile(config.profile())))
                .with_packs(policies.packs)
                .with_validators(self.plugins.validators()),
            approvals: Shelf::of(&state),
            plugins: self.plugins.clone(),
            state: state::of(&self.host, &self.layout, &record.name)
                .with_versions_kept(config.state_keep())
                .with_versions_kept_for(config.state_keep_age()),
            ledger,
            launcher,
            host: self.host.clone(),
            record,
            config,
            limits,
            seccomp,
            snapshot_progress: Arc::default(),
            commit_policy: policies.commit,
            policies_unusable: policies.unusable,
            tier,
            rollback,
        })
    }

    /// Returns the ledger of a sandbox that is not open.
    fn own_ledger(&self, record: &SandboxRecord) -> Ledger {
        let ledger = Ledger::open(&self.layout.sandbox(&record.name), &record.name);
        let config = self.effective_config(Some(record), &Overrides::default());
        if let Some(file) = config.ok().and_then(|it| it.config.events.file)
            && event_file::check(&file, record, &self.layout).is_ok()
        {
            ledger.copy_to(&file);
        }
        ledger
    }

    fn record_lifecycle(&self, kind: &str, record: &SandboxRecord) -> Result<(), AppendError> {
        let all = Ledger::open(self.layout.home(), &record.name);
        ledger::lifecycle(&all, kind, record, now())
    }
}

/// Returns what operations are confined with. Only who allows less pays for looking.
fn tier(config: &SandboxConfig) -> Confinement {
    if config.isolation.allows_degraded_namespaces() && probe_namespaces().is_err() {
        Confinement::LandlockAlone
    } else {
        Confinement::Namespaces
    }
}

fn rollback(record: &SandboxRecord) -> Result<Option<RollbackManager>, RollbackOpenError> {
    let layers = record.layers.as_ref();
    layers.map(|layers| open_layers(record, layers)).transpose()
}

/// Opens the transactions of a sandbox, beside its workspace or in it.
fn open_layers(
    record: &SandboxRecord,
    layers: &Path,
) -> Result<RollbackManager, RollbackOpenError> {
    if record.has_layers_inside() {
        RollbackManager::open_within(&record.workspace, layers)
    } else {
        RollbackManager::open(&record.workspace, layers)
    }
}

/// Returns whether nobody settles anything in the layers at this moment.
fn is_unlocked(layers: &Path) -> bool {
    match fs::File::open(layers.join("lock")) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_not_made_yet) => true,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the lifecycle; operations are told the time"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
