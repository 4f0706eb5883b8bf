//! How a sandbox is: read only, cheap.

use jiff::Timestamp;
use sandbox_rollback::UpkeepError;
use sandbox_state::ReadError;
use sandbox_types::{OperationId, SandboxName};
use serde::Serialize;

use crate::sandbox::Sandbox;

/// How a sandbox is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub sandbox: SandboxName,
    /// The directory that it is bound to.
    pub workspace: std::path::PathBuf,
    /// `ready`, or `broken` when the workspace was removed or replaced.
    pub state: &'static str,
    /// When it was made.
    pub created_at: Timestamp,
    /// Records in its journal.
    pub journal_records: u64,
    /// When something last happened.
    pub last_activity: Option<Timestamp>,
    /// Operations whose changes wait for review, oldest first.
    pub pending: Vec<OperationId>,
    /// Operations that can be undone, oldest first.
    pub undoable: Vec<OperationId>,
    /// Why there can be no transactions, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_transactions_because: Option<String>,
}

/// The status cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Journal(#[source] ReadError),
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
        Ok(Status {
            sandbox: self.record.name.clone(),
            workspace: self.record.workspace.clone(),
            state: if self.check_workspace().is_ok() {
                "ready"
            } else {
                "broken"
            },
            created_at: self.record.created_at,
            journal_records: newest.as_ref().map_or(0, |record| record.sequence),
            last_activity: newest.map(|record| record.at),
            pending,
            undoable,
            no_transactions_because: self.record.no_layers_because.clone(),
        })
    }
}
