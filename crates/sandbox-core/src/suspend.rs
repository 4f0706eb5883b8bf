//! Suspends and resumes a sandbox: freezes every process, refuses new operations, survives us.
//!
//! The file `suspended.json` beside the record says that the sandbox is suspended. It is written
//! before the first process is frozen and removed after the last one was thawed, so that a process
//! that is killed in between leaves a sandbox that `suspend` or `resume` brings to its end.
//!
//! A new operation looks for the file after it has written down that it starts; who suspends looks
//! for operations after it has written the file. So one of the two always sees the other.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    fs::{FlockOperation, flock},
    io::retry_on_intr,
};
use sandbox_isolation::{FreezeError, Frozen};
use sandbox_state::{AppendError, ReadError};
use sandbox_types::{OperationId, SandboxName};
use serde::{Deserialize, Serialize};

use crate::{
    event::{SandboxResumed, SandboxSuspended},
    history, ledger,
    lifecycle::{IllegalTransition, State, Transition},
    private,
    process_mark::ProcessMark,
    sandbox::Sandbox,
};

/// The file that says that a sandbox is suspended.
const FILE: &str = "suspended.json";
/// The version of that file.
const FORMAT: u32 = 1;
/// Held by who suspends or resumes.
const LOCK_FILE: &str = "lifecycle.lock";
/// How many of the newest records are searched for operations that run.
pub(crate) const SEARCHED_RECORDS_MAX: usize = 100_000;
/// How long to wait until the changes of an ended command are settled.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An operation that runs now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningNow {
    /// Its name.
    pub id: OperationId,
    /// When it started.
    pub since: Timestamp,
    /// The process that carries it out.
    pub process: ProcessMark,
    /// What is executed.
    pub argv: Vec<String>,
    /// Whether what it prints is kept in a file: it is, if nobody waits for it.
    #[serde(default)]
    pub detached: bool,
}

/// A sandbox that stands still.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suspension {
    /// The version of this form.
    pub format: u32,
    /// Since when.
    pub since: Timestamp,
    /// Whether everything was frozen: not if who suspended it was killed in the middle.
    pub complete: bool,
    /// The operations that were frozen.
    pub operations: Vec<RunningNow>,
    /// Those of them that were stopped by signals, for want of a cgroup: a hostile command can go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_signals: Vec<OperationId>,
}

/// A sandbox cannot be suspended or resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// Its state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A process cannot be frozen. Everything runs on, and the sandbox is as before.
    #[error("cannot freeze the operation {id}")]
    Freeze {
        /// The operation.
        id: OperationId,
        /// Why not.
        #[source]
        source: FreezeError,
    },
    /// A process cannot be thawed. The sandbox stays suspended.
    #[error("cannot thaw the operation {id}")]
    Thaw {
        /// The operation.
        id: OperationId,
        /// Why not.
        #[source]
        source: FreezeError,
    },
    /// The operations that run cannot be listed.
    #[error("cannot tell which operations run")]
    List(#[source] ReadError),
    /// A file of the sandbox cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be written down; the sandbox is as before.
    #[error("cannot record it")]
    Record(#[source] AppendError),
}

/// A sandbox cannot be used for anything that changes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// It is suspended.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// It was destroyed, or its record cannot be locked.
    #[error("cannot hold the sandbox '{sandbox}' in use")]
    Hold {
        /// The sandbox.
        sandbox: SandboxName,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Sandbox {
    /// Keeps the sandbox from being destroyed until the file is closed, and refuses if it is suspended:
    /// for whatever changes the workspace or a transaction.
    pub(crate) fn enter(&self) -> Result<File, EnterError> {
        let in_use = self.in_use().map_err(|source| EnterError::Hold {
            sandbox: self.name().clone(),
            source,
        })?;
        self.check_not_suspended()?;
        Ok(in_use)
    }

    /// Refuses if the sandbox is suspended.
    pub(crate) fn check_not_suspended(&self) -> Result<(), IllegalTransition> {
        // Whether the file can be read does not matter: it is there.
        if fs::symlink_metadata(self.suspension_file()).is_ok() {
            State::Suspended.after(Transition::Start, self.name())?;
        }
        Ok(())
    }

    /// Returns since when the sandbox is suspended, if it is.
    pub(crate) fn suspension(&self) -> Result<Option<Suspension>, SuspendError> {
        let path = self.suspension_file();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SuspendError::File { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(suspension) => Ok(Some(suspension)),
            Err(error) => Err(SuspendError::File {
                path,
                source: error.into(),
            }),
        }
    }

    /// Returns the operations that run now, also frozen ones, oldest first.
    pub(crate) fn running(&self) -> Result<Vec<RunningNow>, ReadError> {
        if self.is_unused() {
            return Ok(Vec::new());
        }
        self.running_by_journal()
    }

    /// Returns the state that follows from what is there.
    pub(crate) fn state_with(&self, running: &[RunningNow], used: bool) -> State {
        if fs::symlink_metadata(self.suspension_file()).is_ok() {
            State::Suspended
        } else if !running.is_empty() {
            State::Running
        } else if self.check_workspace().is_err() {
            State::Broken
        } else if used {
            State::Ready
        } else {
            State::Created
        }
    }

    /// Freezes every process of the sandbox; from now on nothing starts in it.
    pub(crate) fn suspend(&self, now: Timestamp) -> Result<Suspension, SuspendError> {
        let _alone = self.lifecycle_lock()?;
        let before = self.suspension()?;
        if before.as_ref().is_none_or(|it| it.complete) {
            let running = self.running().map_err(SuspendError::List)?;
            self.state_with(&running, true)
                .after(Transition::Suspend, self.name())?;
        }
        let mut suspension = Suspension {
            format: FORMAT,
            since: before.map_or(now, |it| it.since),
            complete: false,
            operations: Vec::new(),
            by_signals: Vec::new(),
        };
        self.write(&suspension)?;
        // What waits for the next operation is to go too. If it does not, it waits in vain.
        drop(sandbox_isolation::end_session(&self.directory()));
        let done = self.freeze_all(&mut suspension).and_then(|()| {
            let operations = suspension.operations.iter().map(|it| it.id.clone());
            let suspended = SandboxSuspended {
                operations: operations.collect(),
            };
            let recorded = self.journal().append(ledger::SUSPENDED, now, &suspended);
            recorded.map_err(SuspendError::Record)?;
            suspension.complete = true;
            self.write(&suspension)
        });
        if let Err(error) = done {
            for operation in &suspension.operations {
                let _runs_on = thaw(operation);
            }
            let path = self.suspension_file();
            fs::remove_file(&path).map_err(|source| SuspendError::File { path, source })?;
            return Err(error);
        }
        Ok(suspension)
    }

    fn freeze_all(&self, frozen: &mut Suspension) -> Result<(), SuspendError> {
        for operation in self.running().map_err(SuspendError::List)? {
            let id = operation.id.clone();
            match sandbox_isolation::freeze_operation(operation.process.pid, id.as_str()) {
                Ok(how) => {
                    if how == Frozen::BySignals {
                        frozen.by_signals.push(id);
                    }
                    frozen.operations.push(operation);
                }
                // Nothing of it runs but its caller, who ends it.
                Err(FreezeError::NoGuest) => self.await_settled(&id)?,
                Err(source) => {
                    // It may be thawed in part, or have ended meanwhile.
                    let _runs_on = thaw(&operation);
                    let running = self.running().map_err(SuspendError::List)?;
                    if running.iter().any(|it| it.id == id) {
                        return Err(SuspendError::Freeze { id, source });
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until the changes of an operation without processes are settled: a commit may take its time.
    fn await_settled(&self, id: &OperationId) -> Result<(), SuspendError> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let running = self.running().map_err(SuspendError::List)?;
            if running.iter().all(|it| it.id != *id) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let (id, source) = (id.clone(), FreezeError::NoGuest);
                return Err(SuspendError::Freeze { id, source });
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Lets every process go on, and says what did not survive.
    pub(crate) fn resume(&self, now: Timestamp) -> Result<SandboxResumed, SuspendError> {
        let _alone = self.lifecycle_lock()?;
        let Some(suspension) = self.suspension()? else {
            let running = self.running().map_err(SuspendError::List)?;
            return Err(IllegalTransition {
                sandbox: self.name().clone(),
                state: self.state_with(&running, true),
                transition: Transition::Resume,
            }
            .into());
        };
        let running = self.running().map_err(SuspendError::List)?;
        for operation in &running {
            thaw(operation).map_err(|source| SuspendError::Thaw {
                id: operation.id.clone(),
                source,
            })?;
        }
        let goes_on = |id: &OperationId| running.iter().any(|it| it.id == *id);
        let gone: Vec<OperationId> = suspension
            .operations
            .into_iter()
            .map(|it| it.id)
            .filter(|id| !goes_on(id))
            .collect();
        let reported = self.reported_among(&gone).map_err(SuspendError::List)?;
        let (ended, lost) = gone.into_iter().partition(|id| reported.contains(id));
        let resumed = SandboxResumed {
            suspended_at: suspension.since,
            operations: running.into_iter().map(|it| it.id).collect(),
            ended,
            lost,
        };
        self.journal()
            .append(ledger::RESUMED, now, &resumed)
            .map_err(SuspendError::Record)?;
        let path = self.suspension_file();
        match fs::remove_file(&path).and_then(|()| sync_parent(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SuspendError::File {
                path,
                source: error,
            }),
            Ok(()) | Err(_) => Ok(resumed),
        }
    }

    /// Returns those of `ids` that have a report.
    fn reported_among(&self, ids: &[OperationId]) -> Result<BTreeSet<OperationId>, ReadError> {
        let mut found = BTreeSet::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let records = self.journal().records_newest_first()?;
        for record in records.take(SEARCHED_RECORDS_MAX) {
            let record = record?;
            if record.kind == ledger::FINISHED {
                found.extend(history::operation_id(&record).filter(|id| ids.contains(id)));
            }
            if found.len() == ids.len() {
                break;
            }
        }
        Ok(found)
    }

    /// Whether nobody holds the sandbox in use: then no operation runs, and no record need be read.
    fn is_unused(&self) -> bool {
        // Released when the file is closed. Without a record nobody can hold it.
        File::open(self.record_file()).map_or(true, |record| {
            flock(&record, FlockOperation::NonBlockingLockExclusive).is_ok()
        })
    }

    pub(crate) fn suspension_file(&self) -> PathBuf {
        self.record_file().with_file_name(FILE)
    }

    fn lifecycle_lock(&self) -> Result<File, SuspendError> {
        let path = self.record_file().with_file_name(LOCK_FILE);
        let lock = || {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
            Ok(file)
        };
        lock().map_err(|source| SuspendError::File {
            path: path.clone(),
            source,
        })
    }

    fn write(&self, suspension: &Suspension) -> Result<(), SuspendError> {
        let path = self.suspension_file();
        let written = serde_json::to_string_pretty(suspension)
            .map_err(io::Error::from)
            .and_then(|text| private::replace(&path, &text));
        written.map_err(|source| SuspendError::File { path, source })
    }
}

fn thaw(operation: &RunningNow) -> Result<(), FreezeError> {
    sandbox_isolation::thaw_operation(operation.process.pid, operation.id.as_str())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), private::sync)
}
