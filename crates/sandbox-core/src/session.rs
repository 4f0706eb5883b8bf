//! The process that keeps the next operation's confinement, with the layers of its transaction.

use std::{
    env,
    ffi::OsStr,
    io::{self, Read},
};

use sandbox_isolation::{KeeperProgram, ReadyLayers};
use sandbox_rollback::{Ready, RollbackManager};

/// Not an argument that anybody types: what is read then is what only a session's user can write.
const COMMAND: &str = "__keep-session";

/// Returns how this very program is started as a keeper, for [`crate::Home::with_sessions`]. It must begin with
/// [`keep_session_if_asked`].
///
/// # Panics
///
/// Panics in a program that was started as a keeper and has not begun so: it would start keepers without end.
pub fn keeper_of_this_program() -> KeeperProgram {
    assert!(
        !is_asked(env::args_os().nth(1).as_ref()),
        "a program that keeps its own sessions begins with keep_session_if_asked"
    );
    KeeperProgram {
        arguments: vec![COMMAND.into()],
    }
}

/// Keeps a session if this program was started for that by [`keeper_of_this_program`]: `argument` is the first one
/// behind its name. `Some` then: the session is kept in another process, or has ended, and there is nothing else to do.
///
/// Must be called before the program does anything else.
pub fn keep_session_if_asked(argument: Option<impl AsRef<OsStr>>) -> Option<io::Result<()>> {
    is_asked(argument.as_ref()).then(|| keep_session(io::stdin().lock()))
}

fn is_asked(argument: Option<&impl AsRef<OsStr>>) -> bool {
    argument.is_some_and(|argument| argument.as_ref() == COMMAND)
}

/// Keeps a session until nobody has used it for its time, or it is told to end, in a process that it forks: returns at
/// once in the one that called it. What a program must do when it is
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
