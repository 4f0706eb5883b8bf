//! One open transaction: its directories, and the ways in which it ends.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use sandbox_types::{Change, OperationId};

use crate::{
    commit::{self, CommitError, Committed},
    file_error::{FileError, cannot},
    layout::{HELD, Layout},
    root::RootGap,
    size::{self, UpperSize},
    spare,
    stat::Time,
    step::{self, step},
    survey::{self, ChangesError, Subject, Survey},
    trash,
};

/// The upper layer of one operation. The kernel frees it if the process dies: the next
/// `RollbackManager::recover` discards it, unless it was held for review or its commit had begun.
///
/// The lock is inherited by children that do not execute another program; they must end first.
#[derive(Debug)]
pub struct Transaction {
    pub(crate) id: OperationId,
    pub(crate) layout: Layout,
    pub(crate) set: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) started: Time,
    pub(crate) workspace_ino: u64,
    pub(crate) root: Option<RootGap>,
    pub(crate) lock: OwnedFd,
}

/// What is left of a discarded transaction. Keep it until its overlay is unmounted: as long as it is there, no other
/// transaction gets the same directory.
#[derive(Debug)]
pub struct Discarded {
    _lock: OwnedFd,
}

/// The transaction could not be discarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscardError {
    /// Its directory could not be moved away or deleted.
    #[error("cannot discard the changes of operation '{id}'")]
    Remove {
        /// Whose.
        id: OperationId,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// The transaction could not be held for review.
#[derive(Debug, thiserror::Error)]
#[error("cannot hold the changes of operation '{id}' for review")]
pub struct HoldError {
    /// Whose.
    pub id: OperationId,
    /// Why.
    #[source]
    pub source: FileError,
}

impl Transaction {
    /// Returns the operation's id.
    pub fn id(&self) -> &OperationId {
        &self.id
    }

    /// Returns the directory for the overlay's `upperdir`.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Returns the directory for the overlay's `workdir`.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Returns what the transaction would change.
    ///
    /// # Errors
    ///
    /// As [`Self::survey`].
    pub fn changes(&self) -> Result<Vec<Change>, ChangesError> {
        Ok(self.survey()?.changes)
    }

    /// Tells `each` of every change. Up to 100,000 come as [`Self::changes`] has them. More come directory
    /// by directory and without a list, so that memory does not grow with their number; what was renamed
    /// is told as deleted and created then.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read, or when an immutable file would change.
    pub fn each_change(&self, each: &mut dyn FnMut(Change)) -> Result<(), ChangesError> {
        survey::stream(&self.subject(), each)
    }

    /// Compares the upper layer with the workspace. Call it after the last process of the operation
    /// has ended and the overlay is unmounted.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read, when an immutable file would change, or when there are more
    /// changes than [`crate::PATH_BYTES_MAX`] allows.
    pub fn survey(&self) -> Result<Survey, ChangesError> {
        survey::take(&self.subject())
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            workspace: &self.layout.workspace,
            set: &self.set,
            started: self.started,
            root: self.root.as_ref(),
        }
    }

    /// Returns how much the upper layer holds; stops counting above `limit_bytes`. May be called
    /// while the operation runs.
    ///
    /// # Errors
    ///
    /// Fails when the upper layer itself cannot be read; what vanishes meanwhile is left out.
    pub fn size(&self, limit_bytes: u64, limit_inodes: u64) -> Result<UpperSize, FileError> {
        size::measure(&self.upper, limit_bytes, limit_inodes)
    }

    /// Brings the surveyed changes into the workspace and keeps what they replaced for an undo.
    ///
    /// # Errors
    ///
    /// Fails with [`CommitError::Conflict`] when somebody else changed one of the paths since the
    /// transaction began. After any error the workspace is as before and the transaction is held
    /// for review, except for [`CommitError::Interrupted`]: then recovery completes the commit.
    pub fn commit(self, survey: Survey) -> Result<Committed, CommitError> {
        commit::commit(self, survey)
    }

    /// Drops the changes with one rename; [`crate::RollbackManager::sweep`] deletes them later. Where there are none,
    /// the next transaction uses the directory.
    ///
    /// # Errors
    ///
    /// Fails when the directory cannot be moved to the trash; then recovery discards it.
    pub fn discard(self) -> Result<Discarded, DiscardError> {
        if !spare::keep(&self.layout, &self.set) {
            trash::throw(&self.set, &self.layout.trash())
                .map_err(cannot("discard", &self.set))
                .map_err(|source| DiscardError::Remove {
                    id: self.id.clone(),
                    source,
                })?;
        }
        Ok(Discarded { _lock: self.lock })
    }

    /// Keeps the changes for a later decision; they survive a power cut.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be made durable.
    pub fn hold(self) -> Result<(), HoldError> {
        self.mark_held().map_err(|source| HoldError {
            id: self.id.clone(),
            source,
        })
    }

    pub(crate) fn mark_held(&self) -> Result<(), FileError> {
        let held = self.set.join(HELD);
        let mark = || {
            // The overlay is volatile: nothing of the upper layer is durable yet.
            step()?;
            let directory = fs::File::open(&self.set)?;
            step::sync_file_system(&directory)?;
            step()?;
            fs::write(&held, b"")?;
            step::sync_all(&directory)
        };
        mark().map_err(cannot("write", &held))
    }
}
