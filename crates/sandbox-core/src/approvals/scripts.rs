//! The scripts of the workspace that an operation runs by name: an approval is for what they hold when it is asked for.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use sandbox_safety::scripts_named_by;
use sandbox_types::Operation;

use super::binding::hexadecimal;
use crate::{rule_packs::read_regular, sandbox::Sandbox};

/// A larger one is not read.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What stands for a script that is no file, or not there.
const NOTHING: &str = "nothing";

/// Returns the SHA-256 of each script that the operation names and that lies in the workspace, by the name that it has
/// there. What a command finds by itself, a library or a configuration, is not among them: it is left to the confinement.
pub(super) fn named_by(operation: &Operation, sandbox: &Sandbox) -> BTreeMap<String, String> {
    let workspace = sandbox.workspace();
    let directory = operation.cwd.as_ref();
    let directory = directory.map_or_else(|| workspace.to_owned(), |it| workspace.join(it));
    let inside = |name: &String| !name.starts_with('/') || Path::new(name).starts_with(workspace);
    let names = scripts_named_by(operation).into_iter().filter(inside);
    names
        .map(|name| {
            let content = content_of(&directory.join(&name));
            (name, content)
        })
        .collect()
}

/// Returns what stands for the content of a script, wherever links lead to it: what is too large to be read is known by
/// its inode and the kernel's time of its last change, which no command can set.
fn content_of(path: &Path) -> String {
    let Ok(real) = fs::canonicalize(path) else {
        return NOTHING.to_owned();
    };
    if let Ok(bytes) = read_regular(&real, READ_BYTES_MAX) {
        return hexadecimal(&bytes);
    }
    let found = fs::symlink_metadata(real);
    found.map_or_else(
        |_gone| NOTHING.to_owned(),
        |it| {
            let (inode, bytes, at) = (it.ino(), it.len(), (it.ctime(), it.ctime_nsec()));
            format!(
                "{bytes} bytes of inode {inode}, changed at {}.{:09}",
                at.0, at.1
            )
        },
    )
}
