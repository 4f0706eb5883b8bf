//! What fingers type that are used to docker, podman and git, and what it is called here.

use clap::error::{ContextKind, ContextValue, Error};

/// Words behind `run`.
const OF_RUN: &[(&str, &str)] = &[
    (
        "-i",
        "`--tty` gives the command a terminal of its own; piped input is passed on without an option",
    ),
    ("-t", "`--tty` gives the command a terminal of its own"),
    ("-d", "`--detach` lets it run in the background"),
    ("-e", "`--env KEY=VALUE` sets a variable"),
    (
        "-v",
        "`--read PATH` and `--write PATH` show a path of the host; the workspace is there already",
    ),
    (
        "--volume",
        "`--read PATH` and `--write PATH` show a path of the host; the workspace is there already",
    ),
    (
        "--mount",
        "`--read PATH` and `--write PATH` show a path of the host; the workspace is there already",
    ),
    (
        "--rm",
        "nothing is left of a command but what it changed in the workspace: leave it out",
    ),
    ("-m", "`--memory 1G` limits the memory"),
    ("--cpus", "`--cpu 150%` limits the CPU"),
    (
        "--network",
        "`--net none`, `--net host` or `--allow-host HOST` is the network",
    ),
    ("-u", "a command has your id: there is no other user"),
    ("--user", "a command has your id: there is no other user"),
    (
        "-p",
        "a server in a sandbox is reached with `--net host` only",
    ),
];

/// Words behind any command.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("undo", "-n", "`--dry-run` only says what would be done"),
    ("redo", "-n", "`--dry-run` only says what would be done"),
    ("rollback", "-n", "`--dry-run` only says what would be done"),
    (
        "log",
        "-f",
        "`sandbox events -f` follows what happens, `sandbox logs -f` what a command prints",
    ),
    (
        "diff",
        "--stat",
        "`sandbox show` lists the changed paths, with how many",
    ),
    ("snapshot", "-n", "`--dry-run` only says what would be done"),
];

/// Names of commands.
const COMMANDS: &[(&str, &str)] = &[
    (
        "exec",
        "`sandbox run -- CMD` runs a command in the sandbox of this directory",
    ),
    ("rm", "`sandbox destroy` removes a sandbox"),
    ("remove", "`sandbox destroy` removes a sandbox"),
    ("delete", "`sandbox destroy` removes a sandbox"),
    (
        "stop",
        "`sandbox kill` ends an operation, `sandbox suspend` freezes all",
    ),
    (
        "start",
        "`sandbox run -- CMD` runs a command, `sandbox resume` lets frozen ones go on",
    ),
    (
        "pause",
        "`sandbox suspend` freezes all, `sandbox resume` lets it go on",
    ),
    ("version", "`sandbox --version` prints it"),
    ("ls", "`sandbox list` lists the sandboxes"),
    (
        "inspect",
        "`sandbox show OP` shows an operation, `sandbox status` the sandbox",
    ),
    ("attach", "`sandbox logs -f` shows what an operation prints"),
    ("shell", "`sandbox run --tty -- bash` gives a shell"),
    ("init", "`sandbox create` makes a sandbox"),
    (
        "revert",
        "`sandbox undo OP` puts back what an operation changed",
    ),
    (
        "reset",
        "`sandbox rollback TARGET` goes back to a snapshot or an operation",
    ),
];

/// Returns what is meant by something that no command takes, behind the words that were typed.
pub(crate) fn meant(error: &Error, words: &[String]) -> Option<&'static str> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if let Some(command) = text(ContextKind::InvalidSubcommand) {
        let found = COMMANDS.iter().find(|(name, _)| *name == command);
        return found.map(|(_, hint)| *hint);
    }
    let option = text(ContextKind::InvalidArg)?;
    let command = words.iter().find(|it| !it.starts_with('-'))?;
    let of_run = OF_RUN.iter().find(|(name, _)| *name == option);
    if command == "run" {
        return of_run.map(|(_, hint)| *hint);
    }
    let found = OPTIONS
        .iter()
        .find(|(of, name, _)| of == command && *name == option);
    found.map(|(.., hint)| *hint)
}
