//! Operations that run, whichever process carries them out: listed, waited for, ended.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use sandbox_state::{AppendError, ReadError};
use sandbox_types::OperationId;
use tokio::time::{sleep, timeout};

use crate::{
    approvals::Who,
    core::{SandboxCore, in_background},
    event::EventKind,
    events::EventsError,
    history::{HistoryError, LogEntry},
    home::now,
    ledger,
    orders::{Kill, KillOrder, KillRequested},
    process_mark::ProcessMark,
    suspend::RunningNow,
};

/// How often to look whether the process of an operation is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long its process has, after the last signal, to settle and record an operation that was killed.
const SETTLING_MAX: Duration = Duration::from_secs(30);

/// An operation cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// There is none, or the journal cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The journal cannot be followed.
    #[error("cannot follow the journal")]
    Follow(#[source] EventsError),
}

/// An operation cannot be killed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KillError {
    /// There is none, or the journal cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It has ended.
    #[error("the operation {id} is not running")]
    NotRunning {
        /// The operation.
        id: OperationId,
    },
    /// It is not written down who kills it, and so it is not killed.
    #[error("cannot record who kills the operation {id}")]
    Record {
        /// The operation.
        id: OperationId,
        /// Why not.
        #[source]
        source: AppendError,
    },
    /// The order cannot be left where its process looks for it.
    #[error("cannot write {}", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be waited for; it may end all the same.
    #[error("cannot wait for the operation")]
    Wait(#[source] WaitError),
    /// The process that carries it out does not obey: it may have been stopped.
    #[error("the process {} that carries out the operation {id} does not answer", process.pid)]
    Unanswered {
        /// The operation.
        id: OperationId,
        /// The process.
        process: ProcessMark,
    },
}

impl SandboxCore {
    /// Returns the operations that run now, also frozen ones and those of other processes, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read.
    pub fn running(&self) -> Result<Vec<RunningNow>, ReadError> {
        self.shared().running()
    }

    /// Waits for the end of an operation, whichever process carries it out; returns at once if it has ended.
    /// `id` is its name, or a unique beginning or end of it.
    ///
    /// # Errors
    ///
    /// Fails when there is none or more than one, or the journal cannot be read.
    pub async fn wait(&self, id: &str) -> Result<LogEntry, WaitError> {
        // Before the first look: what comes between is heard.
        let mut events = self.events(None).map_err(WaitError::Follow)?;
        let mut followed = true;
        let sandbox = Arc::clone(self.shared());
        let text = id.to_owned();
        let id = in_background(move || sandbox.resolve_running(&text)).await?;
        loop {
            if let Some(entry) = self.ended(&id).await? {
                return Ok(entry);
            }
            let Some(process) = self.process_of(&id)? else {
                // Ended between the two looks, or its start is not there yet.
                sleep(LOOK_AGAIN).await;
                continue;
            };
            while process.is_alive() {
                let heard = timeout(LOOK_AGAIN, async {
                    if followed {
                        events.next().await
                    } else {
                        sleep(LOOK_AGAIN).await;
                        None
                    }
                });
                match heard.await {
                    Ok(Some(Ok(event))) if is_end_of(&event.kind, &id) => break,
                    Ok(Some(Err(_)) | None) => {
                        // The sandbox cannot go while the operation runs; then it is looked at now and then.
                        followed = false;
                        if self.ended(&id).await?.is_some() {
                            break;
                        }
                    }
                    Ok(Some(Ok(_))) | Err(_) => {}
                }
            }
        }
    }

    /// Ends an operation, whichever process carries it out, and waits until it is settled and recorded. `who`
    /// is written to the journal before.
    ///
    /// # Errors
    ///
    /// Fails when it is not running, or when its process does not answer.
    pub async fn kill(&self, id: &str, how: Kill, who: Who) -> Result<LogEntry, KillError> {
        let (sandbox, text) = (Arc::clone(self.shared()), id.to_owned());
        let (id, process) = in_background(move || {
            let id = sandbox.resolve_running(&text)?;
            let running = sandbox.running().map_err(HistoryError::Read)?;
            let Some(found) = running.into_iter().find(|it| it.id == id) else {
                return Err(KillError::NotRunning { id });
            };
            let requested = KillRequested {
                operation: id.clone(),
                signal: how.signal,
                grace_ms: u64::try_from(how.grace.as_millis()).unwrap_or(u64::MAX),
                by: who,
            };
            let recorded = sandbox
                .journal()
                .append(ledger::KILL_REQUESTED, now(), &requested);
            if let Err(source) = recorded {
                return Err(KillError::Record { id, source });
            }
            sandbox
                .order(&KillOrder::new(requested, now()))
                .map_err(|(path, source)| KillError::Order { path, source })?;
            Ok((id, found.process))
        })
        .await?;
        let patience = how.grace.saturating_add(SETTLING_MAX);
        let ended = timeout(patience, self.wait(id.as_str())).await;
        self.shared().take_order_back(&id);
        match ended {
            Ok(ended) => ended.map_err(KillError::Wait),
            Err(_elapsed) => Err(KillError::Unanswered { id, process }),
        }
    }

    /// Returns the end of an operation, if it has one.
    async fn ended(&self, id: &OperationId) -> Result<Option<LogEntry>, HistoryError> {
        let (sandbox, id) = (Arc::clone(self.shared()), id.clone());
        in_background(move || sandbox.end_of(&id)).await
    }

    fn process_of(&self, id: &OperationId) -> Result<Option<ProcessMark>, HistoryError> {
        let running = self.running().map_err(HistoryError::Read)?;
        let found = running.into_iter().find(|it| it.id == *id);
        Ok(found.map(|it| it.process))
    }
}

fn is_end_of(kind: &EventKind, id: &OperationId) -> bool {
    matches!(kind, EventKind::OperationFinished(report) if report.id() == id)
}
