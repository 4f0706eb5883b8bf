//! Checks that only look: the workspace, layers without a sandbox, the store, the snapshots, the usage
//! history.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sandbox_monitor::{Health, HealthCheck};
use sandbox_rollback::{RepositoryError, VerifyDepth};
use sandbox_state::StoreError;
use sandbox_types::causes;

use crate::{registry::Found, sandbox::Sandbox};

/// Layers younger than this may belong to a sandbox that is being made.
const LAYERS_AGE_MIN: Duration = Duration::from_secs(60);
/// How long the check of the store waits for another process that has it open.
const STORE_BUSY_WAIT: Duration = Duration::from_secs(1);
/// The way out of most damage to the snapshots; never by itself, because it gives up what is lost.
const REPAIR_SNAPSHOTS: &str = "`sandbox snapshot repair` saves what is intact";
/// The most names that a finding lists.
const NAMES_MAX: usize = 5;

/// The workspace is there, is the directory that the sandbox was made for, and can be written.
#[derive(Debug)]
pub(super) struct Workspace(pub(super) Arc<Sandbox>);

impl HealthCheck for Workspace {
    fn name(&self) -> &'static str {
        "workspace"
    }

    fn check(&self) -> Health {
        let path = self.0.workspace();
        let shown = path.display();
        match self.0.record.find_workspace() {
            Found::Nothing => return Health::failed(format!("{shown} was removed")),
            Found::Other => {
                return Health::failed(format!("{shown} was replaced by something else"));
            }
            Found::Workspace => {}
        }
        let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        match accessat(CWD, path, access, AtFlags::EACCESS) {
            Ok(()) => Health::healthy(format!("{shown} can be written")),
            Err(errno) => Health::failed(format!("{shown} cannot be written: {errno}")),
        }
    }
}

/// No layers are kept for sandboxes that are gone.
#[derive(Debug)]
pub(super) struct Layers(pub(super) PathBuf);

impl HealthCheck for Layers {
    fn name(&self) -> &'static str {
        "layers"
    }

    fn check(&self) -> Health {
        let without = layers_without_sandbox(&self.0);
        if without.is_empty() {
            return Health::healthy("all belong to a sandbox");
        }
        Health::degraded(format!(
            "{} belong to no sandbox: remove them if nothing in them is needed",
            listed(without.iter().map(|path| path.display().to_string()))
        ))
    }
}

fn layers_without_sandbox(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("layers"))
        .into_iter()
        .flatten()
        .flatten();
    let is_old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|it| it.modified()).ok();
        let age = modified.and_then(|it| it.elapsed().ok());
        age.is_some_and(|age| age >= LAYERS_AGE_MIN)
    };
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| !data.join("sandboxes").join(entry.file_name()).exists())
        .filter(is_old)
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The store, once there is one, can be opened: that examines its format and its tables.
#[derive(Debug)]
pub(super) struct Store(pub(super) Arc<Sandbox>);

impl HealthCheck for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    fn check(&self) -> Health {
        // Looking must not make it, and who holds it longer than this uses it.
        let state = self.0.state.clone().with_busy_wait(STORE_BUSY_WAIT);
        // Before the store: a change is committed first and recorded then. What is wrong with the
        // journal itself, its own check says.
        let recorded = self.0.recorded_sequence().ok().flatten().unwrap_or(0);
        match state.store_to_read() {
            Ok(None) if recorded > 0 => Health::failed(format!(
                "it is gone: the journal has changes of it up to {recorded}"
            )),
            Ok(None) => Health::healthy("there is none yet"),
            Ok(Some(store)) => match store.sequence() {
                Ok(sequence) if sequence < recorded => Health::failed(format!(
                    "it ends at change {sequence}, the journal has {recorded}: an older copy is in its place"
                )),
                Ok(_) => Health::healthy("it can be opened"),
                Err(error) => Health::failed(causes(&error).join(": ")),
            },
            Err(error @ StoreError::Busy { .. }) => Health::healthy(error.to_string()),
            Err(error) => Health::failed(causes(&error).join(": ")),
        }
    }
}

/// The repository of the snapshots has all its parts. Their bytes are not read: that takes long.
#[derive(Debug)]
pub(super) struct Snapshots(pub(super) Arc<Sandbox>);

impl HealthCheck for Snapshots {
    fn name(&self) -> &'static str {
        "repository"
    }

    fn check(&self) -> Health {
        let Ok(repository) = self.0.repository() else {
            return Health::healthy("there are no snapshots without transactions");
        };
        match repository.verify(VerifyDepth::Structure) {
            Ok(found) if found.ok && found.snapshots == 0 => {
                Health::healthy("there is no snapshot yet")
            }
            Ok(found) if found.ok => Health::healthy(format!(
                "{} snapshots in {} packs",
                found.snapshots, found.packs
            )),
            Ok(found) => {
                let damaged = found.problems.iter().flat_map(|it| &it.snapshots);
                let damaged: BTreeSet<String> = damaged.map(ToString::to_string).collect();
                let what = found.problems.first().map_or("", |it| it.what.as_str());
                let which = match damaged.len() {
                    0 => "no snapshot in particular".to_owned(),
                    _ => format!("damaged: {}", listed(damaged.into_iter())),
                };
                Health::failed(format!("{what}; {which}; {REPAIR_SNAPSHOTS}"))
            }
            Err(RepositoryError::Empty) => Health::healthy("there is no snapshot yet"),
            Err(error @ RepositoryError::Busy { .. }) => Health::healthy(error.to_string()),
            Err(error @ (RepositoryError::Index { .. } | RepositoryError::Damaged { .. })) => {
                let what = causes(&error).join(": ");
                Health::failed(format!("{what}; {REPAIR_SNAPSHOTS}"))
            }
            Err(error) => Health::failed(causes(&error).join(": ")),
        }
    }
}

/// The usage history can be read.
#[derive(Debug)]
pub(super) struct Usage(pub(super) Arc<Sandbox>);

impl HealthCheck for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn check(&self) -> Health {
        match self.0.tracker().history() {
            Ok(history) if history.damaged > 0 => Health::degraded(format!(
                "{} of {} records of the usage history are damaged and left out",
                history.damaged,
                history.damaged + history.records.len() as u64
            )),
            Ok(history) => Health::healthy(format!(
                "{} records in {} KiB",
                history.records.len(),
                history.bytes >> 10
            )),
            Err(error) => Health::failed(causes(&error).join(": ")),
        }
    }
}

/// Returns names, the first of them if there are many.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = names.take(NAMES_MAX).collect::<Vec<_>>().join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
