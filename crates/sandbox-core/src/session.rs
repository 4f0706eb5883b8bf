//! The process that keeps the next operation's confinement, with the layers of its transaction.

use std::io::{self, Read};

use sandbox_isolation::ReadyLayers;
use sandbox_rollback::{Ready, RollbackManager};

/// Keeps a session until nobody has used it for its time, or it is told to end: what a program must do when it is
/// started with the arguments of [`crate::KeeperProgram`]. `charge` is its standard input.
///
/// # Errors
///
/// Fails if this is no charge, or the session cannot be kept.
pub fn keep_session(charge: impl Read) -> io::Result<()> {
    sandbox_isolation::keep_session(charge, &mut |workspace, transactions| {
        let layers = transactions.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let Ready { upper, work, lock } =
            RollbackManager::make_ready(workspace, layers).map_err(io::Error::other)?;
        Ok(ReadyLayers { upper, work, lock })
    })
}
