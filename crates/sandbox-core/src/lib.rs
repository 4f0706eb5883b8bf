//! The lifecycle of sandboxes, and the story of one operation from request to report.
//!
//! This is where the crates below meet: the judge (`sandbox-safety`), the confinement
//! (`sandbox-isolation`), the transaction (`sandbox-rollback`), the memory (`sandbox-state`) and
//! the meter (`sandbox-monitor`). Start reading with `run.rs`: it tells the whole story.
#![forbid(unsafe_code)]

mod approvals;
mod caller;
mod check;
mod checkpoint;
pub mod config_layers;
mod content;
mod core;
mod course;
mod diff;
mod doctor;
mod draft;
mod event;
mod events;
mod expectations;
mod given_secrets;
mod guarded;
mod guest_program;
mod health;
mod history;
mod home;
mod host;
mod host_ids;
mod initializer;
mod launch_plan;
mod layout;
mod ledger;
mod lifecycle;
mod live_view;
mod metrics;
mod orders;
mod output_log;
mod part;
mod plain_file;
mod plugins;
mod policies;
mod private;
mod process_mark;
mod readied;
mod record_subject;
mod recover;
mod redaction;
mod registry;
mod review;
mod rule_packs;
mod run;
mod running_elsewhere;
mod running_now;
mod running_operation;
mod sandbox;
mod scan;
mod session;
mod settle;
mod snapshots;
mod state;
mod status;
mod suspend;
mod undo;
mod usage;
mod usage_now;
mod watch;

#[cfg(test)]
mod tests;

pub use approvals::{
    ApprovalDecision, ApprovalError, ApprovalEvent, ApprovalRequest, ApprovalRule, ApprovalState,
    ApproveError, Approved, PENDING_REQUESTS_MAX, REASON_CHARACTERS_MAX, Remember, RuleScope, Who,
};
pub use caller::{Answer, Caller, Event, Unattended};
pub use check::Judge;
pub use checkpoint::CheckpointError;
pub use core::SandboxCore;
pub use diff::{BinaryDiff, DiffError, FileDiff};
pub use doctor::{Attack, Attacked, Diagnosis, NoTargets, Protection, Targets, attack, diagnose};
pub use event::{
    AboutOperation, AboutSandbox, AlertOf, EventHandler, EventKind, HealthChanged,
    OperationStarted, RecoveryOf, SandboxEvent, SandboxResumed, SandboxSuspended, StateChanged,
    StateRekeyed,
};
pub use events::{EventStream, EventsError, PastEvents};
pub use expectations::{Expectation, ExpectationsError, expectations};
pub use health::{HealthOutcome, HealthWatch, Repair, RepairBy, RepairEnd, RepairError};
pub use history::{HistoryError, LogEntry};
pub use home::{
    DestroyError, DestroyedError, DestroyedSandbox, HeldChanges, Home, Losses, OpenError,
    Overrides, WorkspaceFate,
};
pub use host::Host;
pub use initializer::{
    Act, CreateError, InitializationCheck, InitializationPlan, InitializationStep,
    MissingWorkspace, NewSandbox, Part, SandboxInitializer,
};
pub use launch_plan::{PlanError, check_request};
pub use ledger::HANDLER_QUEUE_MAX;
pub use lifecycle::{IllegalTransition, State, Transition};
pub use live_view::{LiveLook, LiveOperation, LiveView};
pub use orders::{Kill, KillRequested, KillSignal};
pub use output_log::{
    FollowedOutput, KeepsOutput, LOGS_KEPT_MAX, OutputError, OutputKeeper, OutputLog, OutputPiece,
};
pub use plugins::{Approver, OperationHandler, PluginError, Plugins};
pub use policies::{PolicyError, check_isolation, check_policies};
pub use process_mark::{BootId, ProcessMark};
pub use recover::{RecoveryError, RecoveryReport};
pub use registry::{FindError, SandboxRecord};
pub use review::{HeldSelection, KeptEdit, ReviewError, ReviewOutcome, UndoOptions, UndoOutcome};
pub use rule_packs::{RulePackError, rule_pack, rule_packs};
pub use run::{RunError, RunFault};
pub use running_elsewhere::{KillError, WaitError};
pub use running_operation::{Progress, RunningOperation};
pub use scan::{ScanError, ScanInput, ScanReport, ScanRequest, Unreadable, scan};
pub use session::{keep_session, keep_session_if_asked, keeper_of_this_program};
pub use settle::{REVIEW_ASKED_FOR, SettleError};
pub use snapshots::{
    RestoreOutcome, RestoreRequest, RollbackDone, RollbackOptions, RollbackOutcome,
    SnapshotCreated, SnapshotDeleted, SnapshotError, SnapshotKeyError, SnapshotReport,
    SnapshotRequest, SnapshotRestored, SnapshotsRekeyed, StateBack, time_before_now,
};
pub use state::{
    RekeyError, RekeyedSandbox, StateAccessError, StateEdit, StatePut, StateRecovered, StateStream,
    without_core_dumps,
};
pub use status::{SessionNow, SpaceTaken, Status, StatusError};
pub use suspend::{EnterError, RunningNow, SuspendError, Suspension};
pub use usage_now::UsageNow;

pub use sandbox_isolation::{
    Cancellation, KeeperProgram, keep_descriptors_from_programs, look_names_up_without_plugins,
};
pub use sandbox_monitor as monitor;
pub use sandbox_monitor::{Health, HealthCheck, HealthState, Recovery, RecoveryFailure};
pub use sandbox_rollback::{
    Excludes, ExportError, Exported, ImportError, Imported, KeepPolicy, Kept, Omission, OnConflict,
    PortionError, Problem, Progress as SnapshotProgress, Pruned, Rebuilt,
    Rekeyed as RepositoryRekeyed, RepositoryError, RestoreError, Retention, Snapshot, SnapshotId,
    Space, SplitError, UndoError, Verification as RepositoryVerification, VerifyDepth,
};
pub use sandbox_safety::{Thresholds, Validator};
pub use sandbox_state::{
    AppendError, Difference, Entry, Fault as JournalFault, KeyBack, KeyError, Listed, LookupError,
    Pin, ReadError, Record, Rekeyed, RolledBack, Secrecy, StateError, StoreError, StoreReadError,
    StoreWriteError, VALUE_BYTES_MAX, Value, Verification, Version, When, hex,
};
pub use sandbox_types as types;

/// The tests compile the programs of this page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/embedding.md")]
pub struct EmbeddingGuide;

/// The tests run the programs of this page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/components.md")]
pub struct ComponentsGuide;

/// The tests compile the programs of this page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/running.md")]
pub struct RunningGuide;
