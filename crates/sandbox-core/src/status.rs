//! How a sandbox is: read only, cheap.

use std::path::Path;

use jiff::Timestamp;
use sandbox_rollback::{RollbackManager, Space, UpkeepError};
use sandbox_state::ReadError;
use sandbox_types::{OperationId, SandboxName};
use serde::Serialize;

use crate::{
    ledger,
    lifecycle::State,
    sandbox::Sandbox,
    suspend::{RunningNow, SuspendError},
};

/// How a sandbox is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub sandbox: SandboxName,
    /// The directory that it is bound to.
    pub workspace: std::path::PathBuf,
    /// What it is doing.
    pub state: State,
    /// Since when it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_since: Option<Timestamp>,
    /// Operations that run now or are frozen, oldest first.
    pub running: Vec<RunningNow>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Records in its journal.
    pub journal_records: u64,
    /// When something last happened.
    pub last_activity: Option<Timestamp>,
    /// The process that keeps the next operation's confinement ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionNow>,
    /// Operations whose changes wait for review, oldest first.
    pub pending: Vec<OperationId>,
    /// Operations that can be undone, oldest first.
    pub undoable: Vec<OperationId>,
    /// What all that is kept takes on disk.
    pub space: SpaceTaken,
    /// The last change of the state that the journal has, if the store of the state is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_lost: Option<u64>,
    /// Why there can be no transactions, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_transactions_because: Option<String>,
}

/// What is kept for a sandbox takes so much on disk.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SpaceTaken {
    /// Undo sets, redo sets, and held changes.
    #[serde(flatten)]
    pub transactions: Space,
    /// Snapshots.
    pub snapshot_bytes: u64,
}

/// A process that keeps the next operation's confinement ready.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SessionNow {
    /// Its number.
    pub pid: u32,
    /// Whether a confinement is complete.
    pub ready: bool,
    /// Operations that run in it.
    pub operations: u32,
    /// How long nobody has used it, in seconds.
    pub idle_seconds: f64,
    /// It ends when nobody has used it for so long, in seconds.
    pub idle_timeout_seconds: f64,
}

impl SessionNow {
    fn of(directory: &Path) -> Option<Self> {
        // One that does not answer is none.
        let status = sandbox_isolation::session_status(directory).ok()??;
        Some(Self {
            pid: status.pid,
            ready: status.is_ready,
            operations: status.operations,
            idle_seconds: status.idle.as_secs_f64(),
            idle_timeout_seconds: status.idle_timeout.as_secs_f64(),
        })
    }
}

/// The status cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Journal(#[source] ReadError),
    /// Nobody can tell since when it is suspended.
    #[error("cannot tell since when the sandbox is suspended")]
    Suspension(#[source] SuspendError),
    /// The transactions cannot be listed.
    #[error("cannot list the transactions")]
    Transactions(#[source] UpkeepError),
}

impl Sandbox {
    pub(crate) fn status(&self) -> Result<Status, StatusError> {
        let mut newest = self
            .journal()
            .records_newest_first()
            .map_err(StatusError::Journal)?;
        let newest = newest.next().transpose().map_err(StatusError::Journal)?;
        let (pending, undoable) = match &self.rollback {
            None => (Vec::new(), Vec::new()),
            Some(rollback) => (
                rollback.pending().map_err(StatusError::Transactions)?,
                rollback.undoable().map_err(StatusError::Transactions)?,
            ),
        };
        let space = self.rollback.as_ref().map(RollbackManager::space);
        let running = self.running().map_err(StatusError::Journal)?;
        let suspension = self.suspension().map_err(StatusError::Suspension)?;
        let used = newest.as_ref().is_some_and(|it| it.kind != ledger::CREATED);
        Ok(Status {
            sandbox: self.record.name.clone(),
            workspace: self.record.workspace.clone(),
            state: self.state_with(&running, used),
            suspended_since: suspension.map(|it| it.since),
            running,
            created_at: self.record.created_at,
            journal_records: newest.as_ref().map_or(0, |record| record.sequence),
            last_activity: newest.map(|record| record.at),
            session: SessionNow::of(&self.directory()),
            pending,
            undoable,
            space: SpaceTaken {
                transactions: space
                    .transpose()
                    .map_err(StatusError::Transactions)?
                    .unwrap_or_default(),
                snapshot_bytes: self.snapshot_bytes(),
            },
            state_lost: self.lost_state(),
            no_transactions_because: self.record.no_layers_because.clone(),
        })
    }
}
