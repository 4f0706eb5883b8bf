//! What can be typed about operations that run.

use std::time::Duration;

use clap::Args;
use sandbox_core::KillSignal;

use super::values;

#[derive(Debug, Args)]
#[command(after_help = "\
The output of a detached command is kept: the beginning and the end of it, for the newest of them.
Of other operations that have ended, it is the beginning that the report has (`sandbox show`).")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that can be typed"
)]
pub(crate) struct LogsArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the newest detached one]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
    /// Go on with what it prints, until it ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what it printed on standard output
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only what it printed on standard error
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Print on a terminal, too, what would act on it (colours, titles, cursor)
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: those of `sandbox run`: the command's own code, or how it ended.
  124  also: it has not ended in time (--timeout); it runs on
  125  it cannot be waited for
  1    also: there is no such operation")]
pub(crate) struct WaitArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the newest that runs, or was detached]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
    /// Wait no longer than this, as in 30s
    #[arg(long, value_name = "TIME", value_parser = values::wall_time, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every process of the operation gets the signal, and those that are left after the grace time are killed.
It is settled like a command that failed, and its report says who killed it.")]
pub(crate) struct KillArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the one that runs, if it is the only one]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
    /// Send HUP, INT, QUIT, KILL or TERM first
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal, default_value = "TERM")]
    pub(crate) signal: KillSignal,
    /// How long it has to end by itself
    #[arg(long, value_name = "TIME", value_parser = values::grace, default_value = "5s")]
    pub(crate) grace: Duration,
}
