//! The process that keeps the next operation's confinement ready: this program, started by `run`.

use std::{env, process::ExitCode};

use sandbox_core::keep_session_if_asked;

pub(crate) use sandbox_core::keeper_of_this_program as keeper;

/// Keeps a session if this process was started for that.
pub(crate) fn keep() -> Option<ExitCode> {
    // Nobody listens: what fails here is told by the next operation, which does without.
    Some(match keep_session_if_asked(env::args_os().nth(1))? {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
