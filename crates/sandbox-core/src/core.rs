//! The front door: one open sandbox, usable by many tasks at once.
//!
//! The pipeline below is synchronous, because confining and settling are system calls; each
//! operation runs on a blocking thread of tokio. Dropping the future of an operation cancels it:
//! the guest is ended, its transaction is settled and the operation is recorded all the same.

mod approvals;
mod review;
mod state;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sandbox_isolation::Cancellation;
use sandbox_types::{
    Operation, OperationId, OperationReport, RiskLevel, SandboxConfig, SandboxName, Verdict,
};
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    caller::{Caller, Unattended},
    config_layers::{OperationTextError, operation_from_text_with},
    diff::{DiffError, FileDiff},
    event::{EventHandler, SandboxResumed},
    events::{EventStream, EventsError, PastEvents},
    history::{HistoryError, LogEntry},
    home::{DestroyError, HeldChanges, Home, OpenError, Overrides, WorkspaceFate, now},
    host::Host,
    initializer::{MissingWorkspace, NewSandbox, submounts},
    launch_plan::PlanError,
    plugins::Plugins,
    registry::{FindError, SandboxRecord},
    review::ReviewError,
    run::{RunError, RunFault},
    sandbox::Sandbox,
    scan::{ScanError, ScanInput, ScanReport, ScanRequest, scan},
    status::{Status, StatusError},
    suspend::{SuspendError, Suspension},
};

/// One open sandbox.
#[derive(Clone, Debug)]
pub struct SandboxCore {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) home: Home,
}

/// How long [`SandboxCore::cleanup`] waits for operations that are being settled.
const SETTLING_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Ends the operation when the future that waits for it is dropped.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(pub(crate) Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl SandboxCore {
    pub(crate) fn new(sandbox: Sandbox, home: Home) -> Self {
        Self {
            sandbox: Arc::new(sandbox),
            home,
        }
    }

    /// Returns the sandbox, for work on other threads.
    pub(crate) fn shared(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    #[cfg(test)]
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Opens the sandbox that `config` names, or makes it.
    ///
    /// # Errors
    ///
    /// Fails when the configuration is wrong, the workspace cannot be used, or the sandbox is
    /// bound to another workspace.
    pub async fn open(config: SandboxConfig) -> Result<Self, OpenError> {
        Self::open_on(Host::from_environment(), config).await
    }

    /// Like [`SandboxCore::open`], with plugins.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::open`], and when two plugins add the same type of operations.
    pub async fn open_with(config: SandboxConfig, plugins: Plugins) -> Result<Self, OpenError> {
        let home = Home::new(Host::from_environment()).with_plugins(plugins);
        Self::open_in(home, config).await
    }

    /// Like [`SandboxCore::open`], with surroundings that the caller gives.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::open`].
    pub async fn open_on(host: Host, config: SandboxConfig) -> Result<Self, OpenError> {
        Self::open_in(Home::new(host), config).await
    }

    /// Like [`SandboxCore::open`], among the sandboxes and with the plugins of `home`.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::open_with`].
    pub async fn open_in(home: Home, config: SandboxConfig) -> Result<Self, OpenError> {
        in_background(move || {
            let record = find_or_create(&home, &config)?;
            let overrides = Overrides {
                file: None,
                flags: config,
            };
            home.open(record, &overrides).map(|(core, _recovery)| core)
        })
        .await
    }

    /// Returns the sandbox's name.
    pub fn name(&self) -> &SandboxName {
        self.sandbox.name()
    }

    /// Returns the directory that the sandbox is bound to.
    pub fn workspace(&self) -> &Path {
        self.sandbox.workspace()
    }

    /// Returns what was written down when the sandbox was made.
    pub fn record(&self) -> &SandboxRecord {
        &self.sandbox.record
    }

    /// Returns why an operation would write to the workspace directly, although it does not ask for that: a snapshot is
    /// taken before. `None` if it has a transaction.
    pub fn writes_directly_because(&self, operation: &Operation) -> Option<&str> {
        let is_direct = self.sandbox.has_checkpoint(operation);
        is_direct.then(|| self.sandbox.no_overlay_because())
    }

    /// Runs an operation; nobody approves, nobody listens.
    ///
    /// # Errors
    ///
    /// Fails when the sandbox itself fails. A refusal and a failing command are reports.
    pub async fn execute(&self, operation: Operation) -> Result<OperationReport, RunError> {
        self.execute_with(operation, Unattended).await
    }

    /// Runs an operation for a caller that approves, listens and receives the output.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::execute`].
    pub async fn execute_with(
        &self,
        operation: Operation,
        caller: impl Caller + 'static,
    ) -> Result<OperationReport, RunError> {
        let cancel = Cancellation::new();
        let _guard = CancelOnDrop(cancel.clone());
        self.execute_until(operation, caller, cancel).await
    }

    /// Like [`SandboxCore::execute_with`]; `cancel` ends the operation, and the report says so.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::execute`].
    pub async fn execute_until(
        &self,
        operation: Operation,
        mut caller: impl Caller + 'static,
        cancel: Cancellation,
    ) -> Result<OperationReport, RunError> {
        let core = self.clone();
        let ran = in_background(move || core.execute_here(&operation, &mut caller, &cancel)).await;
        if self.wants_to_be_kept_ready() {
            let core = self.clone();
            // Behind the answer: nobody waits for it.
            drop(spawn_blocking(move || core.keep_ready()));
        }
        ran
    }

    /// Like [`SandboxCore::execute_until`] on this thread, which waits: for programs that run one operation and
    /// need no runtime for it.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::execute`].
    pub fn execute_here(
        &self,
        operation: &Operation,
        caller: &mut dyn Caller,
        cancel: &Cancellation,
    ) -> Result<OperationReport, RunError> {
        let sandbox = &self.sandbox;
        let ran = sandbox.run(operation, caller, cancel, now());
        explained(sandbox, operation, ran)
    }

    /// Lets the next operation start sooner, if sessions are used: to be called when nobody waits any
    /// more.
    pub fn keep_ready(&self) {
        if self.wants_to_be_kept_ready() {
            self.sandbox.launcher().keep_ready();
        }
    }

    /// Nothing waits for the next operation of a sandbox that refuses it.
    fn wants_to_be_kept_ready(&self) -> bool {
        let sandbox = &self.sandbox;
        sandbox.launcher().wants_to_be_kept_ready() && sandbox.check_not_suspended().is_ok()
    }

    /// Reads an operation document in JSON or YAML, of the built-in types and those of plugins;
    /// `name` is the file's name in errors.
    ///
    /// # Errors
    ///
    /// Fails when `text` is neither, or does not describe an operation.
    pub fn read_operation(&self, text: &str, name: &str) -> Result<Operation, OperationTextError> {
        let plugins = &self.sandbox.plugins;
        plugins.with_types(|types| operation_from_text_with(text, name, types))
    }

    /// Returns what the judge says of an operation in this sandbox. Runs nothing.
    pub fn judge(&self, operation: &Operation) -> Verdict {
        self.sandbox.judge(operation)
    }

    /// Scans files for what they should not hold, by the content policy of this sandbox and with all
    /// severities from `least` on.
    ///
    /// # Errors
    ///
    /// Fails when a path cannot be opened; what cannot be read below it is in the report.
    pub async fn scan(
        &self,
        paths: Vec<PathBuf>,
        least: RiskLevel,
    ) -> Result<ScanReport, ScanError> {
        let request = ScanRequest::new(least).with_settings(&self.sandbox.config.content());
        let inputs = paths.into_iter().map(ScanInput::Path).collect();
        in_background(move || scan(&request, inputs)).await
    }

    /// Returns the newest `count` operations, newest first.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read.
    pub fn log(&self, count: usize) -> Result<Vec<LogEntry>, HistoryError> {
        self.sandbox.log(count)
    }

    /// Returns one operation by its name, or by a unique beginning or end of it.
    ///
    /// # Errors
    ///
    /// Fails when there is none or more than one, or the journal cannot be read.
    pub fn show(&self, id: &str) -> Result<LogEntry, HistoryError> {
        self.sandbox.show(id)
    }

    /// Checks that no operation of this name has run here: for names that the caller chose.
    ///
    /// # Errors
    ///
    /// Fails with [`HistoryError::Used`] when one has run or runs, and when the journal cannot be read.
    pub fn check_unused(&self, id: &OperationId) -> Result<(), HistoryError> {
        self.sandbox.check_unused(id)
    }

    /// Returns the operations whose changes wait for review, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the transactions cannot be read.
    pub fn pending(&self) -> Result<Vec<OperationId>, ReviewError> {
        self.sandbox.pending()
    }

    /// Returns what a held operation would change, file by file; `None` is the newest one.
    ///
    /// # Errors
    ///
    /// Fails when nothing is held under that name, or a file cannot be read.
    pub fn diff(&self, id: Option<&str>) -> Result<(OperationId, Vec<FileDiff>), DiffError> {
        self.sandbox.diff(id)
    }

    /// Freezes every process of the sandbox, also of other programs, and refuses new operations until
    /// [`SandboxCore::resume`]. It stays so when this program ends.
    ///
    /// # Errors
    ///
    /// Fails when it is suspended already, or when a process cannot be frozen: on hosts that give it
    /// no cgroup. Then everything runs on.
    pub async fn suspend(&self) -> Result<Suspension, SuspendError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.suspend(now())).await
    }

    /// Lets every process of a suspended sandbox go on, and says which operations did not survive.
    ///
    /// # Errors
    ///
    /// Fails when it is not suspended, or the kernel refuses; then it stays suspended.
    pub async fn resume(&self) -> Result<SandboxResumed, SuspendError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.resume(now())).await
    }

    /// Returns how the sandbox is.
    ///
    /// # Errors
    ///
    /// Fails when the journal or the transactions cannot be read.
    pub fn status(&self) -> Result<Status, StatusError> {
        self.sandbox.status()
    }

    /// Returns the newest `count` records of the journal, newest first.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read or one of these records is damaged.
    pub fn records(
        &self,
        count: usize,
    ) -> Result<Vec<sandbox_state::Record>, sandbox_state::ReadError> {
        self.sandbox
            .journal()
            .records_newest_first()?
            .take(count)
            .collect()
    }

    /// Follows what happens, whoever does it: first what happened after number `since`, then what
    /// comes. `Some(0)` begins with the first event, `None` with the next one.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read, or the system gives no thread or descriptor for it.
    pub fn events(&self, since: Option<u64>) -> Result<EventStream, EventsError> {
        EventStream::start(self.sandbox.state.journal(), self.name(), since)
    }

    /// Returns what happened after number `since` until now, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read.
    pub fn past_events(&self, since: u64) -> Result<PastEvents, sandbox_state::ReadError> {
        PastEvents::new(self.sandbox.state.journal(), self.name(), since)
    }

    /// Calls the handler for each event that this process causes in this open sandbox from now on.
    pub fn add_event_handler(&self, handler: Arc<dyn EventHandler>) {
        self.sandbox.journal().call(handler);
    }

    /// Returns why the configured file of events (`events.file`) is not written, if so.
    pub fn event_file_failure(&self) -> Option<String> {
        self.sandbox.journal().copy_failure()
    }

    /// Recomputes the hash chain of the journal.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be read at all; damage is a result.
    pub fn audit(&self) -> Result<sandbox_state::Verification, sandbox_state::ReadError> {
        self.sandbox.journal().verify()
    }

    /// Destroys the sandbox and keeps the workspace: releases everything that is held for it. Waits up
    /// to five seconds for operations of this program that were cancelled to be settled.
    ///
    /// # Errors
    ///
    /// Fails when an operation is running, changes wait for review, or something cannot be removed.
    pub async fn cleanup(self) -> Result<(), DestroyError> {
        let Self { sandbox, home } = self;
        in_background(move || {
            let patience = Instant::now() + SETTLING_MAX;
            loop {
                let destroyed =
                    home.destroy(&sandbox.record, WorkspaceFate::Keep, HeldChanges::Keep);
                // Whoever settles an operation in this process has the sandbox open, as we have.
                let others = Arc::strong_count(&sandbox) > 1;
                match destroyed {
                    Err(DestroyError::Running { .. }) if others && Instant::now() < patience => {
                        thread::park_timeout(LOOK_AGAIN);
                    }
                    destroyed => return destroyed,
                }
            }
        })
        .await
    }
}

/// Says in plain words why a transaction was not possible.
fn explained(
    sandbox: &Sandbox,
    operation: &Operation,
    mut ran: Result<OperationReport, RunError>,
) -> Result<OperationReport, RunError> {
    if let Err(error) = &mut ran
        && matches!(*error.fault, RunFault::Launch(_))
        && !operation.direct
        && let Some(reason) = submounts(sandbox.workspace())
    {
        // What the kernel says of it, EINVAL, helps nobody.
        *error.fault = RunFault::Plan(PlanError::NoTransaction { reason });
    }
    ran
}

fn find_or_create(home: &Home, config: &SandboxConfig) -> Result<SandboxRecord, OpenError> {
    let name: Option<SandboxName> = config.sandbox_id.as_deref().map(str::parse).transpose()?;
    let workspace = config.workspace_path.clone();
    let found = match &name {
        Some(name) => home.find(name),
        None => home.find_here(workspace.as_deref().ok_or(OpenError::NoWorkspace)?),
    };
    let record = match found {
        Ok(record) => record,
        Err(FindError::Unknown { .. } | FindError::NoneHere { .. }) => {
            let workspace = workspace.ok_or(OpenError::NoWorkspace)?;
            let missing = MissingWorkspace::Create;
            return home.create(NewSandbox {
                name,
                workspace: &workspace,
                missing,
                config,
            });
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(asked) = workspace {
        let asked = std::fs::canonicalize(&asked).unwrap_or(asked);
        if asked != record.workspace {
            return Err(OpenError::OtherWorkspace {
                name: record.name,
                bound: record.workspace,
                asked,
            });
        }
    }
    Ok(record)
}

/// Runs blocking work on tokio's threads for that. A panic there goes on here.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    spawn_blocking(work).await.unwrap_or_else(resume)
}

pub(crate) fn resume<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => unreachable!("work is never aborted: {error}"),
    }
}
