//! The layers of the next operation's transaction: they are mounted while nobody waits for it.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::{
    launch::{error::LaunchError, layers::Layers},
    plan::{LaunchPlan, WorkspaceMode},
};

/// Empty layers that no transaction has yet. The transaction that gets them takes their directory with a rename.
#[derive(Debug)]
pub struct ReadyLayers {
    /// For the overlay's `upperdir`.
    pub upper: PathBuf,
    /// For the overlay's `workdir`, beside it.
    pub work: PathBuf,
    /// Tells their maker, and whoever begins the transaction, that they are mounted. It is open until they are not.
    pub lock: OwnedFd,
}

/// Makes the next layers for a workspace, in the directory that is the parent of its transactions' directories.
pub type MakeLayers<'a> = dyn FnMut(&Path, &Path) -> io::Result<ReadyLayers> + 'a;

/// One directory, whatever its name becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    /// Returns the identity of the directory at `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// Layers that a confinement has mounted.
pub(crate) struct Mounted {
    /// Of the upper layer.
    pub(crate) upper: Identity,
    pub(crate) lock: OwnedFd,
}

/// Gives `plan` layers of its own, if its workspace is changed by a transaction.
pub(crate) fn supply(
    plan: &mut LaunchPlan,
    make: &mut MakeLayers<'_>,
) -> Result<Option<Mounted>, LaunchError> {
    let Some(layers) = Layers::of(plan)? else {
        return Ok(None);
    };
    let made = make(&plan.workspace, layers.directory).and_then(|made| {
        let upper = Identity::of(&made.upper)?;
        Ok((made, upper))
    });
    let (made, upper) =
        made.map_err(|error| LaunchError::new("make the next transaction's layers", error))?;
    plan.workspace_mode = WorkspaceMode::Overlay {
        upper: made.upper,
        work: made.work,
    };
    let lock = made.lock;
    Ok(Some(Mounted { upper, lock }))
}
