//! Copy-on-write transactions on a directory: begin, changes, commit, discard, undo.
//!
//! An operation runs on an overlay whose lower layer is the workspace and whose upper layer lies on
//! the same file system. This crate prepares the directories, reads the upper layer afterwards, and
//! moves it into the workspace by renames, or drops it. What a commit replaced is kept, by renames
//! too, so an undo copies nothing. It mounts nothing: whoever does passes `userxattr,volatile`.
//!
//! **Promises.** After a crash at any instant the workspace is before or after a commit or undo,
//! never between, once [`RollbackManager::recover`] has run. No file of the workspace is deleted:
//! it moves into the operation's undo set, until [`RollbackManager::retain`] drops that. Nobody
//! else's work is overwritten: what changed meanwhile is a conflict.
//!
//! **Terminology.** *Transaction*: an upper layer in use, or held for review. *Survey*: what it would
//! change. *Set*: the directory of a transaction, before and after its commit. *Seal*: the time at
//! which a commit was complete.
#![forbid(unsafe_code)]

mod manager;
mod transaction;

mod survey;

mod gate;

mod repository;

mod commit;
mod direction;
mod portion;
mod redo;
mod reserve;
mod retention;
mod undo;

mod settle;
mod split;
mod together;
mod unsettled;

mod apply;
mod plan;
mod renames;
mod renaming;

mod journal;
mod layout;
mod ledger;
mod meanwhile;
mod trash;

mod attributes;
mod begin;
mod clock;
mod file_error;
mod file_tree;
mod lock;
mod overlay;
mod picked;
mod progress;
mod raw;
mod ready;
mod root;
mod size;
mod space;
mod spare;
mod stat;
mod step;
mod tree;
mod xattr;

#[cfg(test)]
mod tests;

pub use commit::{CommitError, Committed};
pub use direction::Direction;
pub use file_error::FileError;
pub use file_tree::{FileTree, Opened};
pub use gate::{
    Gate, GateAction, GateDecision, GateError, GateOutcome, GateRule, protected_classes,
};
pub use manager::{BeginError, OpenError, Recovery, ResumeError, RollbackManager, UpkeepError};
pub use portion::PortionError;
pub use progress::Progress;
pub use ready::Ready;
pub use repository::{
    CompanionFailure, Compression, Destination, Excludes, ExcludesError, ExportError, Exported,
    ImportError, Imported, KeepPolicy, Kept, KeyBytes, KeyFailure, KeyRequest, NewSnapshot,
    Omission, Problem, Pruned, Rebuilt, Rekeyed, Repository, RepositoryError, RepositoryKey,
    RestoreError, RestoreOptions, Restored, Retention, Snapshot, SnapshotId, SnapshotIdError,
    Taken, Verification, VerifyDepth, opens, rekey_repository,
};
pub use retention::UndoLimits;
pub use size::UpperSize;
pub use space::Space;
pub use split::{Selected, SplitError};
pub use survey::{ChangesError, PATH_BYTES_MAX, Strip, Stripped, Survey};
pub use together::{Part, TogetherPlan};
pub use transaction::{DiscardError, Discarded, HoldError, Transaction};
pub use trash::{remove_known_tree, remove_tree};
pub use undo::{OnConflict, UndoError, UndoPlan, Undone};
pub use unsettled::Unsettled;
