//! What happens in a sandbox, as typed and numbered events: each record of the journal is one.
//!
//! [`EventKind`] is the table of all kinds. A new kind of record becomes a typed event by one line
//! there; until then, and for the records of newer versions, it is [`EventKind::Other`].

use std::fmt;

use jiff::Timestamp;
use sandbox_monitor::HealthState;
use sandbox_state::Record;
use sandbox_types::{Alert, OperationId, OperationReport, ReportedOperation, SandboxName, Verdict};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    approvals::ApprovalEvent,
    ledger,
    orders::KillRequested,
    process_mark::ProcessMark,
    snapshots::{
        RollbackDone, SnapshotCreated, SnapshotDeleted, SnapshotRestored, SnapshotsRekeyed,
    },
    state::StateRecovered,
};

/// One thing that happened in a sandbox.
///
/// As JSON: `{"sequence": 7, "at": "…", "sandbox": "…", "kind": "operation.started", "data": {…}}`.
#[derive(Clone, Debug)]
pub struct SandboxEvent {
    /// Its number in this sandbox: 1, 2, 3, without a gap. It is the number of the journal's record.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// In which sandbox.
    pub sandbox: SandboxName,
    /// What happened.
    pub kind: EventKind,
}

/// Hears what happens in a sandbox, as long as this process has it open.
///
/// It hears what this process does, in order, after the journal has it; what other processes do is
/// in [`crate::SandboxCore::events`]. It is called on a thread of its own, so neither its time nor
/// its panics reach an operation: what comes while [`crate::HANDLER_QUEUE_MAX`] events wait for it
/// is not handed to it (the numbers show the gap), and after a panic it is not called again.
pub trait EventHandler: Send + Sync + 'static {
    /// Hears one event.
    fn handle(&self, event: &SandboxEvent);
}

/// Defines [`EventKind`] from one line for each kind: its name here, its payload, its name in the
/// journal.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($payload:ty) = $kind:path;)*) => {
        /// What happened.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $name($payload),)*
            /// Something that this version has no type for. It is kept as it is.
            Other {
                /// Its name in the journal.
                kind: String,
                /// What is said of it.
                data: Value,
            },
        }

        impl EventKind {
            /// The names of all kinds that have a type.
            pub const NAMES: &'static [&'static str] = &[$($kind),*];

            /// Returns its name in the journal, as in `operation.started`.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$name(_) => $kind,)*
                    Self::Other { kind, .. } => kind,
                }
            }

            /// Returns the kind of that name with its payload, typed if both are known.
            pub fn new(kind: &str, data: Value) -> Self {
                let known = match kind {
                    $($kind => typed(&data).map(Self::$name),)*
                    _ => None,
                };
                known.unwrap_or_else(|| Self::Other { kind: kind.to_owned(), data })
            }

            /// Returns what is said of it, as JSON.
            ///
            /// # Errors
            ///
            /// Fails only where a payload has no form in JSON; those of the journal have one.
            pub fn data(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$name(payload) => serde_json::to_value(payload),)*
                    Self::Other { data, .. } => Ok(data.clone()),
                }
            }
        }
    };
}

kinds! {
    /// An operation was cleared and is about to start.
    OperationStarted(Box<OperationStarted>) = ledger::STARTED;
    /// An operation ended: its report.
    OperationFinished(Box<OperationReport>) = ledger::FINISHED;
    /// Somebody has asked for the end of a running operation.
    OperationKillRequested(KillRequested) = ledger::KILL_REQUESTED;
    /// The process of an operation was killed before its changes were committed: they were dropped.
    OperationDropped(AboutOperation) = ledger::DROPPED;
    /// The process of an operation was killed while it committed: the changes are in the workspace.
    OperationCompleted(AboutOperation) = ledger::COMPLETED;
    /// The changes of an operation were put back.
    OperationUndone(AboutOperation) = ledger::UNDONE;
    /// The undo of an operation was taken back.
    OperationRedone(AboutOperation) = ledger::REDONE;
    /// Held changes were committed.
    ReviewCommitted(AboutOperation) = ledger::COMMITTED;
    /// Held changes were discarded.
    ReviewDiscarded(AboutOperation) = ledger::DISCARDED;
    /// A snapshot was taken.
    SnapshotCreated(SnapshotCreated) = ledger::SNAPSHOT_CREATED;
    /// The workspace, or another directory, was brought back to a snapshot.
    SnapshotRestored(SnapshotRestored) = ledger::SNAPSHOT_RESTORED;
    /// A snapshot was deleted.
    SnapshotDeleted(SnapshotDeleted) = ledger::SNAPSHOT_DELETED;
    /// The snapshots were encrypted, or have another key.
    SnapshotsRekeyed(SnapshotsRekeyed) = ledger::SNAPSHOTS_REKEYED;
    /// The workspace was rolled back.
    RollbackDone(RollbackDone) = ledger::ROLLED_BACK;
    /// An operation waits for a person.
    ApprovalRequested(ApprovalEvent) = ledger::REQUESTED;
    /// An operation on which the judge asks was approved.
    ApprovalGranted(ApprovalEvent) = ledger::GRANTED;
    /// An operation on which the judge asks was denied.
    ApprovalDenied(ApprovalEvent) = ledger::DENIED;
    /// Nobody decided on a request in time.
    ApprovalExpired(ApprovalEvent) = ledger::EXPIRED;
    /// A rule that approves was stored.
    ApprovalRemembered(ApprovalEvent) = ledger::REMEMBERED;
    /// A rule that approves was removed.
    ApprovalForgotten(ApprovalEvent) = ledger::FORGOTTEN;
    /// The sandbox was made.
    SandboxCreated(AboutSandbox) = ledger::CREATED;
    /// The sandbox was destroyed: its last event.
    SandboxDestroyed(AboutSandbox) = ledger::DESTROYED;
    /// Every process of the sandbox was frozen.
    SandboxSuspended(SandboxSuspended) = ledger::SUSPENDED;
    /// The sandbox goes on.
    SandboxResumed(SandboxResumed) = ledger::RESUMED;
    /// A value was stored in the state.
    StateSet(StateChanged) = ledger::STATE_SET;
    /// A key of the state was deleted.
    StateDeleted(StateChanged) = ledger::STATE_DELETED;
    /// A key of the state is again what it was.
    StateRolledBack(StateChanged) = ledger::STATE_ROLLED_BACK;
    /// The store of the state was lost, damaged or replaced, and somebody goes on with what is there.
    StateRecovered(StateRecovered) = ledger::STATE_RECOVERED;
    /// The secrets of the state are sealed with another key.
    StateRekeyed(StateRekeyed) = ledger::STATE_REKEYED;
    /// An operation uses more than its threshold for some time.
    AlertRaised(AlertOf) = ledger::ALERT_RAISED;
    /// It no longer does, or it ended.
    AlertResolved(AlertOf) = ledger::ALERT_RESOLVED;
    /// A health check says something else than before.
    HealthChanged(HealthChanged) = ledger::HEALTH_CHANGED;
    /// What a health check found is being repaired.
    RecoveryBegun(RecoveryOf) = ledger::RECOVERY_BEGUN;
    /// It is repaired: the check was run again, and is healthy.
    RecoveryDone(RecoveryOf) = ledger::RECOVERY_DONE;
    /// It is not repaired.
    RecoveryFailed(RecoveryOf) = ledger::RECOVERY_FAILED;
}

/// An operation that starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationStarted {
    /// What is to run.
    pub operation: ReportedOperation,
    /// What the judge said, for the report of an operation whose process is killed.
    pub verdict: Verdict,
    /// Who carries it out: an operation without an end is running as long as that process is there.
    pub process: ProcessMark,
}

/// Something about one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AboutOperation {
    /// Which one.
    pub operation: OperationId,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something about the sandbox itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AboutSandbox {
    /// Its name.
    pub sandbox: SandboxName,
    /// The directory that it is bound to.
    pub workspace: std::path::PathBuf,
}

/// The sandbox was suspended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSuspended {
    /// The operations that were frozen.
    pub operations: Vec<OperationId>,
}

/// The sandbox was resumed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxResumed {
    /// Since when it was suspended.
    pub suspended_at: Timestamp,
    /// The operations that go on.
    pub operations: Vec<OperationId>,
    /// Operations that ended while they were frozen: somebody ended them, and there is a report.
    pub ended: Vec<OperationId>,
    /// Operations that were lost while they were frozen: their process was killed, or the machine
    /// was started anew.
    pub lost: Vec<OperationId>,
}

/// A key of the state got a new version. The value is not said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateChanged {
    /// The namespace of the key.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The number of the version among those of its key.
    pub version: u64,
    /// The number of the commit that made it.
    pub sequence: u64,
    /// Whether its value is sealed.
    pub secret: bool,
    /// Whether it deleted the key.
    pub deleted: bool,
    /// The number of the version that it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

/// The secrets of the state were sealed with another key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateRekeyed {
    /// The number of the last commit, which stays.
    pub sequence: u64,
    /// How many versions were sealed anew.
    pub versions: u64,
    /// The name of the key now.
    pub key: String,
    /// The hash of all changes now, in hexadecimal: it is another one, for sealed values are other bytes.
    pub head: Option<String>,
}

/// An alert of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertOf {
    /// Which operation.
    pub operation: OperationId,
    /// The alert as it is at this moment.
    pub alert: Alert,
}

/// A health check says something else than before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthChanged {
    /// The check.
    pub check: String,
    /// What it said before.
    pub from: HealthState,
    /// What it says now.
    pub to: HealthState,
    /// Why.
    pub detail: String,
}

/// A repair of what a health check found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecoveryOf {
    /// The check.
    pub check: String,
    /// How often it was tried since it last helped, this time included.
    pub attempt: u32,
    /// What is to be done, what was done, or why it failed.
    pub detail: String,
}

impl SandboxEvent {
    /// Returns the event that a record of `sandbox` is.
    pub fn of(sandbox: &SandboxName, record: Record) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at,
            sandbox: sandbox.clone(),
            kind: EventKind::new(&record.kind, record.payload),
        }
    }
}

impl fmt::Debug for dyn EventHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHandler")
    }
}

fn typed<T: DeserializeOwned>(data: &Value) -> Option<T> {
    T::deserialize(data).ok()
}

/// An event as JSON has it.
#[derive(Serialize, Deserialize)]
struct Written {
    sequence: u64,
    at: Timestamp,
    sandbox: SandboxName,
    kind: String,
    data: Value,
}

impl Serialize for SandboxEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written {
            sequence: self.sequence,
            at: self.at,
            sandbox: self.sandbox.clone(),
            kind: self.kind.name().to_owned(),
            data: self.kind.data().map_err(serde::ser::Error::custom)?,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SandboxEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        Ok(Self {
            sequence: written.sequence,
            at: written.at,
            sandbox: written.sandbox,
            kind: EventKind::new(&written.kind, written.data),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: Value) -> SandboxEvent {
        serde_json::from_value(json!({
            "sequence": 7,
            "at": "2026-11-22T20:00:00Z",
            "sandbox": "bench",
            "kind": kind,
            "data": data,
        }))
        .unwrap()
    }

    #[test]
    fn known_kinds_have_a_type_and_unknown_ones_are_kept() {
        let known = event("operation.undone", json!({"operation": "op-1"}));
        assert!(
            matches!(&known.kind, EventKind::OperationUndone(it) if it.operation.as_str() == "op-1")
        );
        for (kind, data) in [
            ("tomorrow.invented", json!({"a": [1, 2]})),
            // A newer version may say other things under a known name.
            ("operation.undone", json!({"operations": ["op-1"]})),
        ] {
            let other = event(kind, data.clone());
            assert!(matches!(&other.kind, EventKind::Other { .. }), "{other:?}");
            let written = serde_json::to_value(&other).unwrap();
            assert_eq!((&written["kind"], &written["data"]), (&kind.into(), &data));
            assert_eq!(written["sequence"], 7);
        }
    }

    #[test]
    fn every_kind_has_its_own_name() {
        let mut names = EventKind::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventKind::NAMES.len());
        assert!(names.iter().all(|name| name.contains('.')));
    }
}
