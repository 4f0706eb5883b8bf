//! What can be typed. The doc comments are the help.

mod approvals;
mod changes;
mod limits;
mod monitor;
mod plain;
mod policy;
mod run;
mod running;
mod scan;
mod snapshot;
mod state;
mod values;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use globset::GlobMatcher;
use sandbox_types::SandboxName;

use crate::{habits, ui::Form};
pub(crate) use approvals::{ApprovalsArgs, ApprovalsCommand, ApproveArgs, RequestArgs};
pub(crate) use changes::{
    DiscardArgs, EditedArgs, HeldArgs, RedoArgs, SettleArgs, UndoArgs, WayArgs,
};
pub(crate) use monitor::{HealthArgs, StatsArgs, TopArgs};
pub(crate) use policy::{JudgedBy, PolicyCommand, PolicyTestArgs};
pub(crate) use run::{NetworkMode, RunArgs};
pub(crate) use running::{KillArgs, LogsArgs, WaitArgs};
pub(crate) use scan::ScanArgs;
pub(crate) use snapshot::{
    RollbackArgs, SnapshotCommand, SnapshotCreateArgs, SnapshotPruneArgs, SnapshotRestoreArgs,
};
pub(crate) use state::{
    StateCommand, StateGetArgs, StateRollbackArgs, StateSetArgs, StateWatchArgs,
};

/// Judge, confine, run and undo commands
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, after_help = EXIT_CODES_HELP)]
pub(crate) struct Typed {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES_HELP: &str = "\
A sandbox belongs to one directory, and is found from where you stand, like a git repository.
Everything it keeps lies under SANDBOX_HOME (default: ~/.local/share/sandbox).

Exit codes: 0 yes, 1 no or failed, 2 wrong usage or configuration.
`run` passes on the command's own code (`sandbox run --help` lists ours);
`check` exits with 0 (allow), 10 (ask) or 20 (deny).";

/// Options that every command takes.
#[derive(Debug, Default, Args)]
pub(crate) struct GlobalArgs {
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help = "Use the sandbox of this name, not the one of the current directory [env: SANDBOX_NAME]"
    )]
    pub(crate) sandbox: Option<SandboxName>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge, confine, run and settle one command in the sandbox of this directory
    Run(Box<RunArgs>),
    /// Say what the judge thinks of a command, without running it
    Check(CheckArgs),
    /// Look for secrets, malicious scripts and disguised files
    Scan(ScanArgs),
    /// List the operations that ran, newest first
    Log(LogArgs),
    /// Show the report of one operation
    Show(ShowArgs),
    /// List the operations that run now
    Ps,
    /// Show what an operation has printed
    Logs(LogsArgs),
    /// Wait for the end of an operation, and end as it did
    Wait(WaitArgs),
    /// End an operation that runs
    Kill(KillArgs),
    /// Show the changes of an operation that waits for review
    Diff(HeldArgs),
    /// Accept the changes of an operation that waits for review
    Commit(SettleArgs),
    /// Drop the changes of an operation that waits for review
    Discard(DiscardArgs),
    /// Put back what an operation changed
    Undo(UndoArgs),
    /// Take an undo back
    Redo(RedoArgs),
    /// Take, look at, restore and check snapshots of the workspace
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Bring the workspace back to a snapshot, or to just before an operation
    Rollback(RollbackArgs),
    /// Decide on operations that wait for a person
    Approvals(ApprovalsArgs),
    /// Make a sandbox for a directory
    Create(CreateArgs),
    /// List all sandboxes
    List,
    /// Show how the sandbox is
    Status,
    /// Freeze every process of the sandbox, and start no operation until `resume`
    Suspend,
    /// Let every process of a suspended sandbox go on
    Resume,
    /// Show what happened in the sandbox, oldest first
    Events(EventsArgs),
    /// Release everything that is held for a sandbox
    Destroy(DestroyArgs),
    /// Show, check and start configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check rule packs, and what is expected of them
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show what this kernel and user can enforce, what is missing, and how to get it
    Doctor(DoctorArgs),
    /// Show and verify the journal
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Keep values and secrets, with every version of them
    #[command(subcommand)]
    State(StateCommand),
    /// Show what operations did and used
    Stats(StatsArgs),
    /// Show what operations use now, again and again
    Top(TopArgs),
    /// Show how the sandbox is, and repair it
    Health(HealthArgs),
    /// Print figures of all sandboxes, or of the named one, for Prometheus
    Metrics,
    /// Carry out a detached operation: started by `run --detach`
    #[command(hide = true)]
    Supervise,
    /// Tell the whole story on a temporary workspace, and verify every step of it
    Demo,
    /// Print the completions of this command line for a shell
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page of `sandbox`, or write the pages of all commands
    Man(ManArgs),
}

/// As a package has them: sandbox(1), sandbox-run(1), sandbox-snapshot-create(1) and so on
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory, which must exist
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

/// Judges the text unconfined, or with --in-sandbox as `run` would
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    override_usage = "sandbox check [OPTIONS] [--] CMD [ARG]...\n       sandbox check [OPTIONS] --shell TEXT | --operation FILE | --script FILE | --stdin",
    after_help = "Exit codes: 0 allow, 10 ask, 20 deny; with --stdin the strictest of all; 2 wrong usage."
)]
pub(crate) struct CheckArgs {
    /// Judge this shell text
    #[arg(long, value_name = "TEXT", group = "what", allow_hyphen_values = true)]
    pub(crate) shell: Option<String>,
    /// Judge the operation document in FILE (- is standard input)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) operation: Option<PathBuf>,
    /// Judge the shell script in FILE
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) script: Option<PathBuf>,
    /// Read one shell command a line from standard input, and print one verdict a line
    #[arg(long, group = "what")]
    pub(crate) stdin: bool,
    /// Tell how the decision came about: each finding with its score, its effects and a safer form
    #[arg(long, conflicts_with = "stdin")]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) by: JudgedBy,
    /// Judge this command
    #[arg(value_name = "CMD", group = "what", trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// List at most this many
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 20, value_parser = values::count_of)]
    pub(crate) number: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the last one]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on with what happens, until Ctrl-C or until the reader is gone; without --since, show only that
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show what happened after the event of this number
    #[arg(long, value_name = "SEQ")]
    pub(crate) since: Option<u64>,
    /// Show only kinds like this, as in `operation.*` (can be repeated)
    #[arg(long, value_name = "GLOB", value_parser = values::glob)]
    pub(crate) kind: Vec<GlobMatcher>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name [default: from the configuration, else from the directory]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<SandboxName>,
    /// The directory that it may change; made if missing [default: from the configuration, else the current one]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Store this configuration with it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say what would be made
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that can be typed"
)]
pub(crate) struct DestroyArgs {
    /// The sandbox [default: the one of the current directory]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<SandboxName>,
    /// Keep the workspace as it is (this is the default)
    #[arg(long, conflicts_with = "delete_workspace")]
    pub(crate) keep_workspace: bool,
    /// Delete the workspace with all that is in it
    #[arg(long)]
    pub(crate) delete_workspace: bool,
    /// Also lose changes that wait for review
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask: on a terminal, a person is asked before snapshots, secrets or undoable operations go
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every value that holds, and where it comes from
    Show(ConfigShowArgs),
    /// Check one configuration file
    Validate {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of a configuration file, for editors
    Schema,
    /// Write a configuration file in which every key is explained
    Init(ConfigInitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigInitArgs {
    /// The file; must not exist
    #[arg(value_name = "FILE", default_value = "sandbox.yaml")]
    pub(crate) file: PathBuf,
    /// Write your own configuration, which holds for all your sandboxes
    #[arg(long, conflicts_with = "file")]
    pub(crate) user: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShowArgs {
    /// Read this configuration file too
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Attacks each layer from inside of a sandbox, with the same attack outside as the control
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Also do what `health --repair` does, in every sandbox of this user, and say what was done
    #[arg(long)]
    pub(crate) repair: bool,

    /// Make the attacks on these targets, and print those that succeed: what `doctor` runs inside
    #[arg(long, hide = true, num_args = 3)]
    pub(crate) attack: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Recompute the hash chain of the journal, and name the first record that is not as it was written
    Verify(AuditVerifyArgs),
    /// Write all records with their hashes as lines of JSON
    Export {
        /// The file; must not exist (- is standard output) [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the newest records of the journal, oldest of them first
    Show(AuditShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// A head that was kept elsewhere: the journal must still have the record with this hash, and so all before it
    #[arg(long, value_name = "HASH", value_parser = values::head)]
    pub(crate) head: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditShowArgs {
    /// Print at most this many
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 50)]
    pub(crate) number: usize,
}

/// What was typed is no command: an error, or a request for help or the version.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) error: clap::Error,
    /// What was probably meant, where another tool calls it so.
    pub(crate) meant: Option<&'static str>,
    pub(crate) form: Form,
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Typed, Unusable> {
    let words: Vec<OsString> = std::env::args_os().collect();
    // What is wrong with it, and the help, is told by the parser of everything.
    usual(&words).unwrap_or_else(|| any(&words))
}

/// Reads any command line.
fn any(words: &[OsString]) -> Result<Typed, Unusable> {
    Typed::try_parse_from(words).map_err(|error| {
        // The parser gave up, so look for the flag among what is surely ours.
        let mut ours = words.iter().take_while(|it| *it != "--");
        let form = if ours.any(|it| it == "--json") {
            Form::Json
        } else {
            Form::Text
        };
        let words = words.iter().skip(1);
        let words: Vec<String> = words.map(|it| it.to_string_lossy().into_owned()).collect();
        let meant = habits::meant(&error, &words);
        Unusable { error, meant, form }
    })
}

/// Reads what is typed most: the parser of everything takes longer to build than these take to run.
fn usual(words: &[OsString]) -> Option<Result<Typed, Unusable>> {
    let (global, command) = match words.get(1)?.to_str()? {
        "run" => {
            let (global, args) = plain::run(&words[2..]).or_else(|| alone("run", words))?;
            (global, Command::Run(Box::new(args)))
        }
        "check" => {
            let (global, args) = alone("check", words)?;
            (global, Command::Check(args))
        }
        "-V" | "--version" if words.len() == 2 => {
            let program = clap::Command::new("sandbox").version(env!("CARGO_PKG_VERSION"));
            let error = program.try_get_matches_from(words).err()?;
            let form = Form::Text;
            return (error.kind() == ErrorKind::DisplayVersion).then_some(Err(Unusable {
                error,
                meant: None,
                form,
            }));
        }
        _ => return None,
    };
    Some(Ok(Typed { global, command }))
}

/// Reads the command line by a parser that knows one command.
fn alone<A: Args>(name: &'static str, words: &[OsString]) -> Option<(GlobalArgs, A)> {
    let program = GlobalArgs::augment_args(clap::Command::new("sandbox"));
    let program = program.subcommand(A::augment_args(clap::Command::new(name)));
    let mut matches = program.try_get_matches_from(words).ok()?;
    let global = GlobalArgs::from_arg_matches_mut(&mut matches).ok()?;
    let (_, mut own) = matches.remove_subcommand()?;
    Some((global, A::from_arg_matches_mut(&mut own).ok()?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn the_parsers_of_one_command_agree_with_that_of_all() {
        for line in [
            "run -- true",
            "run make -j2 --json",
            "run --json -s a --net host -q -w /tmp -- ls -l --json",
            "run --json --sandbox a -q -w /tmp --no-session --yes --review -- ls -- -l --json",
            "run --direct --workspace x ls -l -w y --quiet",
            "run --memory 1G --timeout 30s --env A=b --shell true",
            "check ls",
            "check --quiet --in-sandbox --shell ls",
            "check --stdin --json",
        ] {
            let words = words(line);
            let read = |typed: Result<Typed, Unusable>| format!("{:?}", typed.unwrap());
            assert_eq!(read(usual(&words).unwrap()), read(any(&words)), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_the_parser_of_all() {
        for line in [
            "run",
            "run --jsn -- true",
            "check",
            "run --help",
            "-q run -- true",
        ] {
            assert!(usual(&words(line)).is_none(), "{line}");
        }
    }

    #[test]
    fn the_version_is_told_alike() {
        for line in ["--version", "-V"] {
            let told = |typed: Result<Typed, Unusable>| typed.unwrap_err().error.to_string();
            let words = words(line);
            assert_eq!(told(usual(&words).unwrap()), told(any(&words)));
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        let words = ["sandbox"].into_iter().chain(line.split(' '));
        words.map(OsString::from).collect()
    }
}
