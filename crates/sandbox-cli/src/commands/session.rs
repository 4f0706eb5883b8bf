//! The process that keeps the next operation's confinement ready: this program, started by `run`.

use std::{env, io, process::ExitCode};

use sandbox_core::{KeeperProgram, keep_session};

/// Not a command that anybody types: it reads what only `run` can write.
const COMMAND: &str = "__keep-session";

/// Says how `run` starts it.
pub(crate) fn keeper() -> KeeperProgram {
    KeeperProgram {
        arguments: vec![COMMAND.into()],
    }
}

/// Keeps a session if this process was started for that.
pub(crate) fn keep() -> Option<ExitCode> {
    if env::args_os().nth(1)? != COMMAND {
        return None;
    }
    // Nobody listens: what fails here is told by the next operation, which does without.
    Some(match keep_session(io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
