//! Destroys a sandbox: checks everything that speaks against it, then releases step by step.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use sandbox_state::AppendError;
use sandbox_types::{OperationId, SandboxName};

use super::{Home, now};
use crate::{
    initializer::{self, CreateError},
    layout::IGNORE_FILE,
    ledger, private,
    registry::{Found, SandboxRecord},
};

/// How many keepers may come while the last directory is removed; nobody can start more of them then.
const KEEPERS_MET_MAX: usize = 8;

/// What happens to the workspace of a destroyed sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkspaceFate {
    /// It stays as it is.
    Keep,
    /// It is deleted with all that is in it.
    Delete,
}

/// What to do with changes that wait for review.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeldChanges {
    /// Refuse to lose them.
    Keep,
    /// Drop them.
    Lose,
}

/// A sandbox cannot be destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestroyError {
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] CreateError),
    /// An operation is running in it. Nothing was released.
    #[error("an operation is running in '{name}'")]
    Running {
        /// The sandbox.
        name: SandboxName,
    },
    /// The workspace that is to be deleted is not the one that the sandbox was made for. Nothing was
    /// released.
    #[error("{} is not the directory that '{name}' was made for", workspace.display())]
    OtherWorkspace {
        /// The sandbox.
        name: SandboxName,
        /// Where its workspace was.
        workspace: PathBuf,
    },
    /// The process that keeps the next operation's confinement does not end. Nothing was released.
    #[error("cannot end the session of '{name}'")]
    Session {
        /// The sandbox.
        name: SandboxName,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its transactions cannot be read, so that nobody knows what would be lost.
    #[error("cannot open the transactions of '{name}'")]
    Open {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        #[source]
        source: sandbox_rollback::OpenError,
    },
    /// Its transactions cannot be removed; an operation may be running.
    #[error("cannot remove the transactions of '{name}'")]
    Rollback {
        /// The sandbox.
        name: SandboxName,
        /// Why.
        #[source]
        source: sandbox_rollback::UpkeepError,
    },
    /// A file or directory cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Look {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Changes wait for review, and would be lost.
    #[error("{} held operation(s) of '{name}' would be lost", held.len())]
    Held {
        /// The sandbox.
        name: SandboxName,
        /// The operations.
        held: Vec<OperationId>,
    },
    /// It cannot be written down.
    #[error("cannot record that the sandbox was destroyed")]
    Record(#[source] AppendError),
}

impl Home {
    /// Destroys a sandbox: everything that we hold for it is released.
    ///
    /// # Errors
    ///
    /// Fails when an operation is running, when held changes would be lost (unless `held` says to
    /// lose them), when the workspace to delete is another directory than the sandbox was made for,
    /// or when something cannot be removed; what is left then is removed by destroying it again.
    /// To destroy what is destroyed already is no failure, and is not recorded again.
    pub fn destroy(
        &self,
        record: &SandboxRecord,
        fate: WorkspaceFate,
        held: HeldChanges,
    ) -> Result<(), DestroyError> {
        let _lock = initializer::lock(&self.layout)?;
        if fate == WorkspaceFate::Delete {
            check_workspace(record)?;
        }
        let nobody_runs = self.alone(record)?;
        self.end_session(record)?;
        if let Some(layers) = &record.layers
            && is_there(layers)?
        {
            remove_layers(record, layers, held)?;
        }
        if fate == WorkspaceFate::Delete {
            // Once more: releasing took time. Before the record goes, so that who is killed here can
            // say it again.
            remove_workspace(record)?;
        }
        if nobody_runs.is_some() {
            self.record_lifecycle(ledger::DESTROYED, record)
                .map_err(DestroyError::Record)?;
            // The last event for who follows this sandbox. Who does not hear it sees its journal go.
            let own = self.own_ledger(record);
            let _told = ledger::lifecycle(&own, ledger::DESTROYED, record, now());
        }
        let entry = self.layout.index_entry(&record.workspace);
        removed(&entry, fs::remove_file(&entry))?;
        let sandbox = self.layout.sandbox(&record.name);
        let end_session = || self.end_session(record);
        let gone = remove_filled(|| fs::remove_dir_all(&sandbox), end_session)?;
        removed(&sandbox, gone)?;
        sandbox_isolation::remove_stale_cgroups();
        Ok(())
    }

    /// Ends the process that keeps the next operation's confinement, which holds the workspace.
    fn end_session(&self, record: &SandboxRecord) -> Result<(), DestroyError> {
        let ended = sandbox_isolation::end_session(&self.layout.sandbox(&record.name));
        ended.map(drop).map_err(|source| DestroyError::Session {
            name: record.name.clone(),
            source,
        })
    }

    /// Makes sure that nobody runs an operation until the file is closed.
    fn alone(&self, record: &SandboxRecord) -> Result<Option<fs::File>, DestroyError> {
        let path = self.layout.record(&record.name);
        let look = |source| DestroyError::Look {
            path: path.clone(),
            source,
        };
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(look(source)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Err(DestroyError::Running {
                name: record.name.clone(),
            }),
            Err(error) => Err(look(error.into())),
        }
    }
}

/// Refuses to delete another directory than the sandbox was made for.
fn check_workspace(record: &SandboxRecord) -> Result<(), DestroyError> {
    match record.find_workspace() {
        Found::Workspace | Found::Nothing => Ok(()),
        Found::Other => Err(DestroyError::OtherWorkspace {
            name: record.name.clone(),
            workspace: record.workspace.clone(),
        }),
    }
}

fn remove_layers(
    record: &SandboxRecord,
    layers: &Path,
    held: HeldChanges,
) -> Result<(), DestroyError> {
    let seen = look_at(record, layers)?;
    let refuse = |held| DestroyError::Held {
        name: record.name.clone(),
        held,
    };
    let failed = |source| DestroyError::Rollback {
        name: record.name.clone(),
        source,
    };
    // Opened for another directory, a commit that was interrupted would be finished in there.
    let is_bound = record.find_workspace() == Found::Workspace;
    let opened = is_bound.then(|| super::open_layers(record, layers));
    match opened {
        Some(Ok(rollback)) => {
            if held == HeldChanges::Keep {
                let waiting = rollback.pending().map_err(failed)?;
                if !waiting.is_empty() {
                    return Err(refuse(waiting));
                }
            }
            rollback.remove_all().map_err(failed)?;
        }
        Some(Err(source)) if held == HeldChanges::Keep => {
            return Err(DestroyError::Open {
                name: record.name.clone(),
                source,
            });
        }
        None if held == HeldChanges::Keep && !seen.is_empty() => return Err(refuse(seen)),
        // Without the workspace nothing can be settled any more, only removed.
        Some(Err(_)) | None => remove_blindly(layers)?,
    }
    // The directory that all layers of this home lie in goes with the last of them.
    if let Some(parent) = layers.parent() {
        let others = entries(parent)?;
        if others.iter().all(|path| path.ends_with(IGNORE_FILE)) {
            let _none = fs::remove_file(parent.join(IGNORE_FILE));
        }
        let _still_used = fs::remove_dir(parent);
    }
    Ok(())
}

/// Returns what waits for review, without opening the layers: that needs the workspace. Refuses when
/// a process works on one of the transactions.
fn look_at(record: &SandboxRecord, layers: &Path) -> Result<Vec<OperationId>, DestroyError> {
    let mut held = Vec::new();
    for set in entries(&layers.join("tx"))? {
        // Made for the next operation, which will not come.
        if set
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        {
            continue;
        }
        let path = set.join("lock");
        let look = |source| DestroyError::Look {
            path: path.clone(),
            source,
        };
        match fs::File::open(&path) {
            Ok(lock) => match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(DestroyError::Running {
                        name: record.name.clone(),
                    });
                }
                Err(error) => return Err(look(error.into())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(look(source)),
        }
        if is_there(&set.join("held"))?
            && let Some(name) = set.file_name().and_then(|name| name.to_str())
        {
            held.extend(name.parse::<OperationId>());
        }
    }
    held.sort();
    Ok(held)
}

fn remove_blindly(layers: &Path) -> Result<(), DestroyError> {
    // Where others may rename things, something of somebody else's may stand there now.
    let ways = layers.parent().into_iter().chain([layers]);
    for path in ways {
        removed(path, private::confirm(path, 0))?;
    }
    removed(layers, remove_tree(layers))
}

/// Removes a directory into which a keeper may put its files meanwhile: an operation that has just ended had one
/// started for the next operation, and it does not listen before it has them.
fn remove_filled(
    remove: impl Fn() -> io::Result<()>,
    end_session: impl Fn() -> Result<(), DestroyError>,
) -> Result<io::Result<()>, DestroyError> {
    for _ in 0..KEEPERS_MET_MAX {
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => end_session()?,
            done => return Ok(done),
        }
    }
    Ok(remove())
}

/// Deletes the workspace, if it is the one that the sandbox was made for. A mount point stays, as an empty directory.
fn remove_workspace(record: &SandboxRecord) -> Result<(), DestroyError> {
    let root = record.workspace.as_path();
    let identity = (record.workspace_device, record.workspace_inode);
    let is_empty = || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    match sandbox_rollback::remove_known_tree(root, identity) {
        Ok(true) => Ok(()),
        Ok(false) => Err(DestroyError::OtherWorkspace {
            name: record.name.clone(),
            workspace: record.workspace.clone(),
        }),
        Err(error) if error.source.kind() == io::ErrorKind::ResourceBusy && is_empty() => Ok(()),
        Err(error) => removed(root, Err(error.source)),
    }
}

/// Deletes a tree, also one with directories that a guest, or the overlay, closed to its owner, and of any depth.
fn remove_tree(root: &Path) -> io::Result<()> {
    sandbox_rollback::remove_tree(root).map_err(|error| error.source)
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, DestroyError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Ok(paths) => Ok(paths),
        Err(source) => Err(DestroyError::Look {
            path: path.to_owned(),
            source,
        }),
    }
}

fn is_there(path: &Path) -> Result<bool, DestroyError> {
    fs::exists(path).map_err(|source| DestroyError::Look {
        path: path.to_owned(),
        source,
    })
}

/// What is not there is removed.
fn removed(path: &Path, result: io::Result<()>) -> Result<(), DestroyError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DestroyError::Remove {
            path: path.to_owned(),
            source: error,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_a_keeper_that_starts_meanwhile_puts_there_goes_too() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("sandbox");
        fs::create_dir(&directory).unwrap();
        let starting = Cell::new(2);
        // After the files are gone, and before the directory is.
        let remove = || {
            if starting.get() > 0 {
                fs::write(directory.join("session.lock"), "")?;
                starting.set(starting.get() - 1);
                return fs::remove_dir(&directory);
            }
            fs::remove_dir_all(&directory)
        };
        assert_eq!(
            remove().unwrap_err().kind(),
            io::ErrorKind::DirectoryNotEmpty,
            "the control: once is not enough"
        );
        let ended = Cell::new(0);
        let end_session = || {
            ended.set(ended.get() + 1);
            Ok(())
        };
        remove_filled(remove, end_session).unwrap().unwrap();
        assert!(!directory.exists());
        assert_eq!(ended.get(), 1);
    }
}
