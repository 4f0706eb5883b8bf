//! What can be typed after `sandbox run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sandbox_types::{HostPattern, OnFailure};

use super::{limits::LimitArgs, values};

const USAGE: &str = "\
sandbox run [OPTIONS] [--] CMD [ARG]...
       sandbox run [OPTIONS] --shell TEXT
       sandbox run [OPTIONS] --operation FILE";

const AFTER_HELP: &str = "\
A directory without a sandbox gets one. Changes to the workspace go to a transaction, which is
committed when the command has ended; `sandbox undo` puts back what it changed.

A pipe or a file on standard input is passed on; a terminal is not: the command then reads an empty
input, unless --tty gives it a terminal of its own.

The command's own exit code is passed on. Ours:
  2    wrong usage or configuration; nothing was run
  124  the time limit was reached
  125  the sandbox itself failed, and nothing was committed
  126  refused: denied, not approved, changes outside of --files, or not executable; or the command
       succeeded and its changes are held, because of a conflict or a rule (not by --review)
       A command that succeeded and whose report (--json, --report) cannot be written ends with 125
       if nothing was committed, else with 126; so does --detach that cannot print the id (126: it
       runs on). Another code of the command stays
  127  command not found
  128+n  ended by signal n (137 also when the memory, process, disk, inode or output limit was
         reached, 152 the CPU time limit, 153 the file size limit)
The report (--json, --report, `sandbox show`) says it without doubt.";

/// What can be typed after `sandbox run`.
#[derive(Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("what").required(true), override_usage = USAGE, after_help = AFTER_HELP)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that can be typed"
)]
pub(crate) struct RunArgs {
    /// Use the sandbox of this directory, not of the current one
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Run this shell text by /bin/sh
    #[arg(long, value_name = "TEXT", group = "what", allow_hyphen_values = true)]
    pub(crate) shell: Option<String>,
    /// Run the operation document in FILE (- is standard input)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) operation: Option<PathBuf>,
    /// Read this configuration file too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Hold the changes for review
    #[arg(long, conflicts_with = "direct")]
    pub(crate) review: bool,
    /// What becomes of the changes of a command that fails, also of one that is ended half-way by a limit, a signal or
    /// Ctrl-C; beyond --disk and --inodes they are always discarded [default: keep]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_failure: Option<OnFailureMode>,
    /// Write to the workspace directly: no transaction, no undo
    #[arg(long)]
    pub(crate) direct: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Give it no network, a list of allowed hosts, or the host's own network [default: from the configuration, else
    /// none]
    #[arg(long, value_name = "none|allow|host", value_parser = values::network)]
    pub(crate) net: Option<NetworkMode>,
    /// Let it reach this host, as in example.com, *.example.com:443, 192.0.2.7:8080 or 10.0.0.0/8; without a port: 80
    /// and 443. May be given more than once; implies --net allow
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) allow_host: Vec<HostPattern>,
    /// Let it see this host path, read-only
    #[arg(long, value_name = "PATH")]
    pub(crate) read: Vec<PathBuf>,
    /// Let it see and change this host path, outside of the transaction
    #[arg(long, value_name = "PATH")]
    pub(crate) write: Vec<PathBuf>,
    /// Hide this path, which must exist, from it: a file is empty for it, a directory too, and neither can be removed
    #[arg(long, value_name = "PATH")]
    pub(crate) hide: Vec<PathBuf>,
    /// What it may ask of the kernel: strict, default, permissive, or a profile of your own [default: from the
    /// configuration, else default]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) seccomp: Option<String>,
    /// Run it even if this host has no namespaces: confined by Landlock and the system call filter alone. It writes
    /// to the workspace directly, with a snapshot taken before, so that `undo` works
    #[arg(long, value_name = "WALL", value_parser = ["namespaces"])]
    pub(crate) allow_degraded: Vec<String>,
    /// Set an environment variable, or pass on the caller's
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = values::variable)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// Give it the secret KEY of the state in a variable of that name (deploy-token is `DEPLOY_TOKEN`), and keep it out
    /// of the output, the journal and the report
    #[arg(long, value_name = "KEY[=VARIABLE]", value_parser = values::variable)]
    pub(crate) secret: Vec<(String, Option<String>)>,
    /// Give it the secret KEY of the state as the file /run/secrets/NAME, and keep it out as --secret does
    #[arg(long, value_name = "KEY[=NAME]", value_parser = values::variable)]
    pub(crate) secret_file: Vec<(String, Option<String>)>,
    /// Declare what it writes: a change outside of these globs is a violation, and nothing is committed
    #[arg(long, value_name = "GLOB")]
    pub(crate) files: Vec<String>,
    /// Approve what the judge asks about
    #[arg(long)]
    pub(crate) yes: bool,
    /// Build its confinement for it alone, and none for the next one
    #[arg(long)]
    pub(crate) no_session: bool,
    /// Give it a terminal of its own, as for a shell or an editor; yours stays out of its reach
    #[arg(long)]
    pub(crate) tty: bool,
    /// Print its id and return once it runs; `sandbox logs`, `wait` and `kill` take the id
    #[arg(long, conflicts_with = "tty")]
    pub(crate) detach: bool,
    /// Write the JSON report to FILE too (- is standard output, behind what the command prints)
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// The command and its arguments
    #[arg(value_name = "CMD", group = "what", trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

/// What becomes of the changes of a command that fails.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnFailureMode {
    Keep,
    Discard,
    Review,
}

impl From<OnFailureMode> for OnFailure {
    fn from(mode: OnFailureMode) -> Self {
        match mode {
            OnFailureMode::Keep => Self::Keep,
            OnFailureMode::Discard => Self::Discard,
            OnFailureMode::Review => Self::Review,
        }
    }
}

/// What the command may reach over the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetworkMode {
    None,
    Allow,
    Host,
}
