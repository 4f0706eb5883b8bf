//! Why the state of a sandbox cannot be read or changed.

use std::{io, path::PathBuf};

use sandbox_state::{AppendError, ReadError, StateError};

use crate::recover::RecoveryError;

/// The state of a sandbox cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateAccessError {
    /// The sandbox was destroyed meanwhile.
    #[error("cannot use the state of a sandbox that is gone")]
    Gone(#[source] io::Error),
    /// The store refused it.
    #[error(transparent)]
    State(Box<StateError>),
    /// The store is gone. Nothing was made in its place.
    #[error(
        "cannot find the store of the state: the journal has changes of it up to {recorded}, and there is no file {}",
        path.display()
    )]
    Lost {
        /// Where it was.
        path: PathBuf,
        /// The last change that the journal has.
        recorded: u64,
    },
    /// The store is an older copy of itself.
    #[error(
        "cannot use {}: it ends at change {sequence}, and the journal has changes up to {recorded}; an older copy is in its place",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its last change.
        sequence: u64,
        /// The last change that the journal has.
        recorded: u64,
    },
    /// The damaged store cannot be moved aside.
    #[error("cannot move the damaged {} aside", path.display())]
    Aside {
        /// The store.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A rollback that was killed cannot be finished, and the state must not change before. Nothing was changed.
    #[error("cannot finish an interrupted rollback, and the state must not change before")]
    Rollback(#[source] Box<RecoveryError>),
    /// A rollback that was killed is not finished, because what an operation left cannot be settled. Nothing was changed.
    #[error("cannot change the state before an interrupted rollback is finished")]
    RollbackLeft,
    /// The journal cannot be read. Nothing was changed.
    #[error("cannot read the journal, in which changes of the state are recorded")]
    Journal(#[source] ReadError),
    /// The change was made and not recorded; the next change records it.
    #[error("cannot record a change of the state in the journal")]
    Record(#[source] AppendError),
}

impl From<StateError> for StateAccessError {
    fn from(error: StateError) -> Self {
        Self::State(Box::new(error))
    }
}
