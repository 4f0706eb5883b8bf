//! How much an upper layer holds, for the disk limit.

use std::{io, path::Path};

use crate::{
    file_error::{FileError, cannot},
    stat::{Stat, is_absent},
    tree::{Tree, is_link},
};

/// The bytes of one block as stat(2) counts them.
const BLOCK_BYTES: u64 = 512;

/// What an upper layer holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UpperSize {
    /// Allocated bytes; hard links count once a name.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
    /// Whether all was counted; `false` if a limit was reached before.
    pub complete: bool,
}

/// Counts what lies in `upper` until it exceeds one of the limits.
pub(crate) fn measure(
    upper: &Path,
    limit_bytes: u64,
    limit_inodes: u64,
) -> Result<UpperSize, FileError> {
    let tree = Tree::open(upper)?;
    let mut size = UpperSize::default();
    let mut stack = vec![Path::new("").to_owned()];
    while let Some(path) = stack.pop() {
        let names = match tree.names(&path) {
            Ok(names) => names,
            Err(error) if passes(&error) && !path.as_os_str().is_empty() => continue,
            Err(error) => return Err(cannot("read", upper)(error)),
        };
        for name in names {
            let inner = path.join(name);
            // Gone in between, or closed to us.
            let Ok(Some(stat)) = tree.find(&inner) else {
                continue;
            };
            count(&mut size, &stat);
            if size.bytes > limit_bytes || size.inodes > limit_inodes {
                return Ok(size);
            }
            if stat.is_dir() {
                stack.push(inner);
            }
        }
    }
    size.complete = true;
    Ok(size)
}

fn count(size: &mut UpperSize, stat: &Stat) {
    size.bytes = size
        .bytes
        .saturating_add(stat.blocks.saturating_mul(BLOCK_BYTES));
    size.inodes += 1;
}

/// Returns whether a running guest can cause this by changing its files meanwhile.
fn passes(error: &io::Error) -> bool {
    is_absent(error) || is_link(error) || error.kind() == io::ErrorKind::PermissionDenied
}
