//! One sandbox, opened: the parts that `run.rs` tells its story with.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sandbox_isolation::Launcher;
use sandbox_rollback::{Gate, RollbackManager};
use sandbox_safety::{Confinement, SafetyValidator, Surroundings};
use sandbox_state::{Journal, StateManager};
use sandbox_types::{Bytes, Limits, Operation, ReportedOperation, SandboxConfig, SandboxName};

use crate::{
    host::Host,
    launch_plan::{self, PlanError},
    registry::SandboxRecord,
};

/// One sandbox with everything it needs to run operations.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) record: SandboxRecord,
    pub(crate) host: Host,
    pub(crate) config: SandboxConfig,
    pub(crate) limits: Limits,
    pub(crate) validator: SafetyValidator,
    pub(crate) state: StateManager,
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

    pub(crate) fn journal(&self) -> &Journal {
        self.state.journal()
    }

    pub(crate) fn launcher(&self) -> &dyn Launcher {
        self.launcher.as_ref()
    }

    pub(crate) fn rollback(&self) -> Result<&RollbackManager, PlanError> {
        self.rollback
            .as_ref()
            .ok_or_else(|| PlanError::NoTransaction {
                reason: self.record.no_layers_because.clone().unwrap_or_default(),
            })
    }

    /// Refuses when another directory stands where the workspace was.
    pub(crate) fn check_workspace(&self) -> Result<(), PlanError> {
        let same = std::fs::symlink_metadata(self.workspace()).is_ok_and(|metadata| {
            metadata.is_dir()
                && (metadata.dev(), metadata.ino())
                    == (self.record.workspace_device, self.record.workspace_inode)
        });
        if same {
            return Ok(());
        }
        Err(PlanError::WorkspaceReplaced {
            workspace: self.record.workspace.clone(),
        })
    }

    /// What the judge should know of where the operation will run.
    pub(crate) fn surroundings(&self, operation: &Operation) -> Surroundings {
        let text = |path: &PathBuf| path.to_str().map(str::to_owned);
        Surroundings {
            workspace: text(&self.record.workspace),
            home: text(&self.host.home),
            confinement: Confinement::Sandboxed {
                network: operation
                    .network
                    .clone()
                    .unwrap_or_else(|| self.config.network()),
                transaction: !operation.direct,
            },
        }
    }

    /// What the commit gate asks of this operation's changes.
    pub(crate) fn gate(&self, operation: &Operation) -> Gate {
        let disk = operation
            .limits
            .disk
            .or(self.limits.disk.map(|limit| limit.value));
        Gate {
            declared: operation.files.clone(),
            bytes_max: disk.map(Bytes::get),
            ..Gate::open()
        }
    }

    /// The operation, as reports name it.
    pub(crate) fn reported(&self, operation: &Operation) -> ReportedOperation {
        let cwd = launch_plan::cwd(operation, self.workspace());
        ReportedOperation::of(operation, cwd.to_string_lossy().into_owned())
    }
}
