//! One sandbox, opened: the parts that `run.rs` tells its story with.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::retry_on_intr,
};
use sandbox_isolation::{Confinement as Tier, Launcher, SeccompProfile};
use sandbox_rollback::{Gate, Progress, RollbackManager};
use sandbox_safety::{Confinement, SafetyValidator, Surroundings};
use sandbox_state::StateManager;
use sandbox_types::{
    Limits, NetworkAccess, Operation, ReportedOperation, SandboxConfig, SandboxName,
};

use crate::{
    approvals::Shelf,
    config_layers::CommitPolicy,
    home::places_of_configuration,
    host::Host,
    launch_plan::{self, PlanError},
    layout::RECORD_FILE,
    ledger::Ledger,
    plugins::Plugins,
    policies::PolicyError,
    registry::{Found, SandboxRecord},
};

/// One sandbox with everything it needs to run operations.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) record: SandboxRecord,
    pub(crate) host: Host,
    pub(crate) config: SandboxConfig,
    pub(crate) limits: Limits,
    pub(crate) seccomp: SeccompProfile,
    /// Counts what is done with snapshots.
    pub(crate) snapshot_progress: Arc<Progress>,
    /// What becomes of changes by their paths.
    pub(crate) commit_policy: CommitPolicy,
    /// Why nothing may run or be committed: a rule pack or the commit policy cannot be used.
    pub(crate) policies_unusable: Option<Arc<PolicyError>>,
    /// What this host can confine with.
    pub(crate) tier: Tier,
    pub(crate) validator: SafetyValidator,
    pub(crate) state: StateManager,
    pub(crate) ledger: Ledger,
    pub(crate) approvals: Shelf,
    pub(crate) plugins: Plugins,
    pub(crate) rollback: Option<RollbackManager>,
    pub(crate) launcher: Box<dyn Launcher>,
}

impl Sandbox {
    pub(crate) fn name(&self) -> &SandboxName {
        &self.record.name
    }

    pub(crate) fn workspace(&self) -> &Path {
        &self.record.workspace
    }

    /// The journal: what is appended here is also an event.
    pub(crate) fn journal(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the directory of its record, its journal and its history.
    pub(crate) fn directory(&self) -> PathBuf {
        let journal = self.journal().path();
        journal.parent().unwrap_or(&journal).to_owned()
    }

    pub(crate) fn launcher(&self) -> &dyn Launcher {
        self.launcher.as_ref()
    }

    /// Returns whether the operation writes to the workspace itself: without namespaces, no transaction is possible.
    pub(crate) fn is_direct(&self, operation: &Operation) -> bool {
        operation.direct || self.has_no_overlay()
    }

    /// Returns whether the operation writes to the workspace itself, with a snapshot before.
    pub(crate) fn has_checkpoint(&self, operation: &Operation) -> bool {
        !operation.direct && self.rollback.is_some() && self.has_no_overlay()
    }

    /// Returns why the operation has a snapshot before, and no transaction.
    pub(crate) fn no_overlay_because(&self) -> &str {
        let reason = self.record.no_overlay_because.as_deref();
        reason.unwrap_or("there are no namespaces")
    }

    fn has_no_overlay(&self) -> bool {
        self.tier == Tier::LandlockAlone || self.record.no_overlay_because.is_some()
    }

    pub(crate) fn rollback(&self) -> Result<&RollbackManager, PlanError> {
        self.rollback
            .as_ref()
            .ok_or_else(|| PlanError::NoTransaction {
                reason: self.record.no_layers_because.clone().unwrap_or_default(),
            })
    }

    /// Returns where its record is: who uses the sandbox locks it.
    pub(crate) fn record_file(&self) -> PathBuf {
        self.journal().path().with_file_name(RECORD_FILE)
    }

    /// Keeps the sandbox from being destroyed until the file is closed. Waits for who destroys it, and
    /// fails when it was destroyed.
    ///
    /// The lock is on the record: the directory itself is locked by the store.
    pub(crate) fn in_use(&self) -> io::Result<File> {
        let record = File::open(self.record_file())?;
        retry_on_intr(|| flock(&record, FlockOperation::LockShared))?;
        if record.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(record)
    }

    /// Refuses when another directory stands where the workspace was.
    pub(crate) fn check_workspace(&self) -> Result<(), PlanError> {
        if self.record.find_workspace() == Found::Workspace {
            return Ok(());
        }
        Err(PlanError::WorkspaceReplaced {
            workspace: self.record.workspace.clone(),
        })
    }

    /// Refuses when a rule pack or the commit policy cannot be used.
    pub(crate) fn check_policies(&self) -> Result<(), PlanError> {
        match &self.policies_unusable {
            Some(error) => Err(PlanError::Policy(Arc::clone(error))),
            None => Ok(()),
        }
    }

    /// What the operation may reach over the network.
    pub(crate) fn network(&self, operation: &Operation) -> NetworkAccess {
        let asked = operation.network.clone();
        asked.unwrap_or_else(|| self.config.network())
    }

    /// What the judge should know of where the operation will run.
    pub(crate) fn surroundings(&self, operation: &Operation) -> Surroundings {
        let text = |path: &PathBuf| path.to_str().map(str::to_owned);
        Surroundings {
            workspace: text(&self.record.workspace),
            home: text(&self.host.home),
            confinement: Confinement::Sandboxed {
                network: self.network(operation),
                transaction: !self.is_direct(operation) || self.has_checkpoint(operation),
            },
            // What files of the workspace do is the confinement's to hold.
            ..Surroundings::unconfined()
        }
    }

    /// What the commit gate asks of this operation's changes.
    pub(crate) fn gate(&self, operation: &Operation) -> Gate {
        let limits = launch_plan::limits(operation, self);
        Gate {
            declared: operation.files.clone(),
            bytes_max: limits.disk.map(|limit| limit.value.get()),
            paths_max: limits.inodes.map(|limit| limit.value),
            protected: self.commit_policy.protected,
            rules: self.commit_policy.rules.clone(),
            own: places_of_configuration(&self.host, self.workspace()),
        }
    }

    /// The operation, as reports name it.
    pub(crate) fn reported(&self, operation: &Operation) -> ReportedOperation {
        let cwd = launch_plan::cwd(operation, self.workspace());
        ReportedOperation::of(operation, cwd.to_string_lossy().into_owned())
    }
}
