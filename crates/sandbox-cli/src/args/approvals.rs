//! What can be typed after `sandbox approvals`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandbox_core::{REASON_CHARACTERS_MAX, Who};

/// The judge asks about some operations; without a person at the terminal they wait here
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ApprovalsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ApprovalsCommand>,
    #[command(flatten)]
    pub(crate) list: ApprovalsListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits, oldest first (this is the default)
    List(ApprovalsListArgs),
    /// Approve a request and run it, once; the exit codes are those of `run`
    Approve(ApproveArgs),
    /// Deny a request, or all
    Deny(RequestArgs),
    /// Remove a remembered approval
    Forget(RuleArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ApprovalsListArgs {
    /// Also what was decided in the last 30 days
    #[arg(long)]
    pub(crate) all: bool,
    /// List the remembered approvals instead
    #[arg(long, conflicts_with = "all")]
    pub(crate) rules: bool,
}

/// Runs exactly what was judged: with the input, environment, directory and network of that time. A
/// request that is judged more severely by now is refused.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The request: its id, or a unique beginning or end of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Approve exactly this operation in this sandbox from now on
    #[arg(long, group = "scope")]
    pub(crate) remember: bool,
    /// From now on, approve every command that begins with the first N words of this one
    #[arg(long, value_name = "N", group = "scope")]
    pub(crate) remember_prefix: Option<usize>,
    /// From now on, approve all of this type in which nothing else is found than in this one
    #[arg(long, group = "scope")]
    pub(crate) remember_findings: bool,
    #[command(flatten)]
    pub(crate) why: WhyArgs,
    /// Read this configuration file too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The request: its id, or a unique beginning or end of it
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// Deny all that wait
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) why: WhyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RuleArgs {
    /// The remembered approval: its id, or a unique beginning or end of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) why: WhyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Say why, for the journal (up to 1,000 characters)
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

impl WhyArgs {
    /// Adds the reason to who decides.
    pub(crate) fn told(&self, who: Who) -> Who {
        match &self.reason {
            Some(reason) => who.because(reason),
            None => who,
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        0 => Err("it is empty".to_owned()),
        length if length > REASON_CHARACTERS_MAX => Err(format!(
            "it has {length} characters, and {REASON_CHARACTERS_MAX} are kept"
        )),
        _ => Ok(text.to_owned()),
    }
}
