//! What a guest sees of the host, and what of ours is covered in it.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use sandbox_isolation::View;
use sandbox_types::Operation;

use super::hidden;
use crate::{
    home::user_configuration,
    host::Host,
    layout::{LAYERS_BESIDE, Layout},
    registry,
    sandbox::Sandbox,
};

/// Returns what the guest of an operation sees besides the system: what was granted, without what is ours.
pub(super) fn of(operation: &Operation, sandbox: &Sandbox) -> View {
    let isolation = &sandbox.config.isolation;
    let together = |configured: &[PathBuf], asked: &[PathBuf]| {
        configured.iter().chain(asked).cloned().collect::<Vec<_>>()
    };
    let mut hide = hidden(operation, sandbox);
    hide.push(sandbox.host.data.clone());
    if sandbox.record.has_layers_inside() {
        hide.extend(layers_in(sandbox.workspace()));
    }
    let read = together(&isolation.read, &operation.read);
    let write = together(&isolation.write, &operation.write);
    if !read.is_empty() || !write.is_empty() {
        hide.extend(layers_beside_workspaces(&sandbox.host.data));
    }
    if !write.is_empty() {
        hide.extend(cover_of_configuration(&sandbox.host, sandbox.workspace()));
    }
    View {
        home: sandbox.host.home.clone(),
        search_path: sandbox.host.search_path.clone(),
        toolchains: sandbox.host.toolchains(),
        secrets: sandbox.host.secrets(),
        read,
        write,
        hide,
    }
}

/// Returns the directories of transactions of all sandboxes that are not in their own data: a grant of what holds a
/// workspace is none of the transactions and undo sets beside it, nor of what the next ones will be found in.
fn layers_beside_workspaces(data: &Path) -> Vec<PathBuf> {
    let records = registry::all(&Layout::new(data)).unwrap_or_default();
    records
        .into_iter()
        .filter_map(|record| record.layers)
        .filter(|layers| !layers.starts_with(data))
        .filter_map(|layers| layers.parent().map(Path::to_owned))
        .collect()
}

/// Returns the directories of transactions that lie in a workspace: its own, and those of a sandbox of another home.
fn layers_in(workspace: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(workspace) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| {
            name.as_encoded_bytes()
                .starts_with(LAYERS_BESIDE.as_bytes())
        })
        .map(|name| workspace.join(name))
        .collect()
}

/// Returns the places of the user's configuration, which grants to all sandboxes. Its directory is made if it is
/// missing: what is not there cannot be covered, and a command could put it there.
fn cover_of_configuration(host: &Host, workspace: &Path) -> Vec<PathBuf> {
    let directory = host.user_config.parent();
    if let Some(directory) = directory.filter(|_| host.home.is_dir()) {
        let mut new = DirBuilder::new();
        // Where the user cannot make it, a command that has no more rights cannot either.
        let _made = new.recursive(true).mode(0o700).create(directory);
    }
    user_configuration(host, workspace)
}
