//! Arguments of `sandbox policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check one rule pack: its fields, patterns and examples
    Validate {
        /// The rule pack
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Judge the commands of a file, and compare the decisions with what it expects
    Test(PolicyTestArgs),
}

/// A file of expectations is a list in YAML, as in
/// `[{command: git push --force, decision: ask, rules: [git.force-push]}]`
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all as expected, 1 not, 2 wrong usage or an unusable file.")]
pub(crate) struct PolicyTestArgs {
    /// The expectations (- is standard input)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) by: JudgedBy,
}

/// What a command is judged by.
#[derive(Debug, Args)]
pub(crate) struct JudgedBy {
    /// Count what confinement and undo take away from the risk, as `run` does
    #[arg(long)]
    pub(crate) in_sandbox: bool,
    /// Judge by this rule pack too (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Read this configuration file too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
