//! What went wrong with operations that run elsewhere.

use sandbox_core::{KillError, OutputError, WaitError};

use super::{Failure, Kind, hints::with_system_hint};

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::History(error) => error.into(),
            WaitError::Follow(_) | _ => with_system_hint(Self::of(Kind::Sandbox, &error), &error),
        }
    }
}

impl From<KillError> for Failure {
    fn from(error: KillError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match error {
            KillError::History(error) => error.into(),
            KillError::Wait(error) => error.into(),
            KillError::NotRunning { ref id } => failure(Kind::Refused).hint(format!(
                "`sandbox show {id}` says how it ended; `sandbox ps` lists what runs"
            )),
            KillError::Unanswered { ref process, .. } => failure(Kind::Sandbox).hint(format!(
                "it may have been stopped: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends all that it carries out",
                pid = process.pid
            )),
            KillError::Record { .. } | KillError::Order { .. } | _ => {
                with_system_hint(failure(Kind::Sandbox), &error)
            }
        }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match error {
            OutputError::History(error) => error.into(),
            OutputError::NotKept { .. } => failure(Kind::NotFound)
                .hint("output goes to a log if the command is started with `sandbox run --detach`"),
            OutputError::File { .. } | OutputError::Damaged { .. } | _ => {
                with_system_hint(failure(Kind::Sandbox), &error)
            }
        }
    }
}
