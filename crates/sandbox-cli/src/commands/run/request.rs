//! From what was typed to the operation that is asked for.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use sandbox_core::{Host, check_request, config_layers::operation_from_text};
use sandbox_types::{
    Action, AllowList, GivenSecret, HostPattern, NetworkAccess, Operation, SandboxConfig, nearest,
};

use crate::{
    args::{NetworkMode, RunArgs},
    commands::input,
    failure::{Failure, Kind},
    settings::{absolute, current_directory},
    ui::{Ui, inline},
};

/// Returns the operation. Options replace what its document says.
pub(super) fn operation(ui: Ui, args: RunArgs, host: &Host) -> Result<Operation, Failure> {
    let mut operation = match (args.shell, args.operation) {
        (Some(text), _) => Operation::shell(text),
        (None, Some(path)) => document(&path)?,
        (None, None) => Operation::command(args.command),
    };
    operation.review |= args.review;
    operation.direct |= args.direct;
    if let Some(mode) = args.on_failure {
        operation.on_failure = mode.into();
    }
    operation.network = network(args.net, args.allow_host, operation.network)?;
    operation.timeout = args.limits.timeout.or(operation.timeout);
    // What a person types may be more than the configuration allows; what a document asks for may not.
    operation = operation.grant_limits(args.limits.granted());
    if let Some(never) = args.files.iter().find(|glob| matches_nothing(glob)) {
        return Err(Failure::new(
            Kind::Usage,
            format!(
                "--files '{never}' can match nothing: globs are read from the workspace's root"
            ),
        )
        .hint("give a path or a glob relative to the workspace, as in --files 'target/**'"));
    }
    if !args.files.is_empty() {
        operation.files = Some(args.files);
    }
    operation.read.extend(existing(args.read)?);
    operation.write.extend(existing(args.write)?);
    operation.hide.extend(there_to_hide(args.hide)?);
    for (key, value) in args.env {
        if let Some(value) = value.or_else(|| host.variable(&key).map(str::to_owned)) {
            operation.env.insert(key, value);
        } else {
            ui.note(&format!(
                "sandbox: --env {0}: you have no such variable, so the command has none; --env {0}= gives an empty one",
                inline(&key)
            ));
        }
    }
    let variables = args.secret.into_iter();
    let files = args.secret_file.into_iter();
    operation.secrets = variables
        .map(|(key, name)| GivenSecret::variable(key, name))
        .chain(files.map(|(key, name)| GivenSecret::file(key, name)))
        .collect();
    // Before a sandbox is made for it.
    check_request(&operation)?;
    Ok(operation)
}

/// Whether a glob leads out of the workspace, or begins at the root of all.
fn matches_nothing(glob: &str) -> bool {
    glob.starts_with('/') || glob.split('/').any(|part| part == "..")
}

/// Reads an operation document.
fn document(path: &Path) -> Result<Operation, Failure> {
    let (text, name) = (input::read_text(path)?, input::name(path));
    if text.trim().is_empty() {
        let failure = Failure::new(Kind::Usage, format!("cannot use {name}: it is empty"));
        return Err(failure.hint(
            "write an operation, as in {\"type\": \"command\", \"command\": \"make test\"}",
        ));
    }
    Ok(operation_from_text(&text, &name)?)
}

/// Returns what was typed of the configuration.
pub(super) fn flags(args: &mut RunArgs) -> Result<SandboxConfig, Failure> {
    let mut flags = SandboxConfig::default();
    flags.isolation.seccomp = match args.seccomp.take() {
        Some(name) if !SECCOMP_PROFILES.contains(&name.as_str()) => {
            let path = absolute(Path::new(&name))?;
            if !path.exists() {
                return Err(no_such_profile(&name));
            }
            Some(path.to_string_lossy().into_owned())
        }
        named => named,
    };
    flags.isolation.allow_degraded = std::mem::take(&mut args.allow_degraded);
    Ok(flags)
}

/// The profiles that are built in.
const SECCOMP_PROFILES: [&str; 3] = ["strict", "default", "permissive"];

fn no_such_profile(name: &str) -> Failure {
    let failure = Failure::new(
        Kind::Usage,
        format!("there is no system call profile '{name}', and no such file"),
    );
    match nearest(name, SECCOMP_PROFILES) {
        Some(known) => failure.hint(format!("did you mean {known}?")),
        None => failure.hint("give strict, default, permissive, or the path of a profile"),
    }
}

/// Returns where the report goes; `-` is standard output, as for every other file that is named.
pub(super) fn report_path(ui: Ui, typed: PathBuf) -> Result<PathBuf, Failure> {
    if typed != Path::new("-") {
        return absolute(&typed);
    }
    if ui.is_json() {
        let message = "--json prints the report on standard output, and --report - would print it there again";
        return Err(Failure::new(Kind::Usage, message).hint("leave one of them out"));
    }
    Ok(PathBuf::from("/dev/stdout"))
}

/// Refuses a terminal that cannot be.
pub(super) fn check_tty(ui: Ui, operation: &Operation) -> Result<(), Failure> {
    let refuse = |message: &str, hint: &str| Err(Failure::new(Kind::Usage, message).hint(hint));
    if ui.is_json() {
        return refuse(
            "--tty shows the command's terminal, and --json prints one document",
            "give --report FILE instead of --json: the report is written there",
        );
    }
    let brings_input = !matches!(operation.action, Action::Argv(_) | Action::Shell(_));
    if brings_input || operation.stdin.is_some() {
        return refuse(
            "this operation brings its own standard input, so it cannot have a terminal",
            "leave --tty out, or run a command without \"stdin\"",
        );
    }
    if !io::stdin().is_terminal() {
        return refuse(
            "--tty needs a terminal on standard input",
            "leave --tty out, or give it a terminal: script -qec 'sandbox run --tty ...' /dev/null",
        );
    }
    Ok(())
}

/// Returns the network that was typed, else the one of the document.
fn network(
    mode: Option<NetworkMode>,
    hosts: Vec<HostPattern>,
    documented: Option<NetworkAccess>,
) -> Result<Option<NetworkAccess>, Failure> {
    let usage = |message: &str, hint: &str| Err(Failure::new(Kind::Usage, message).hint(hint));
    if !hosts.is_empty() {
        return match mode {
            None | Some(NetworkMode::Allow) => AllowList::of(hosts)
                .map(|list| Some(NetworkAccess::Allow(list)))
                .map_err(|error| Failure::of(Kind::Usage, &error)),
            Some(NetworkMode::None | NetworkMode::Host) => usage(
                "--allow-host gives a list of allowed hosts, and --net another network",
                "leave --net out, or write --net allow",
            ),
        };
    }
    match (mode, documented) {
        (None, documented) => Ok(documented),
        (Some(NetworkMode::None), _) => Ok(Some(NetworkAccess::None)),
        (Some(NetworkMode::Host), _) => Ok(Some(NetworkAccess::Host)),
        (Some(NetworkMode::Allow), Some(listed @ NetworkAccess::Allow(_))) => Ok(Some(listed)),
        (Some(NetworkMode::Allow), _) => usage(
            "--net allow needs the hosts that are allowed",
            "add --allow-host HOST[:PORT], as in --allow-host example.com; hosts of the configuration \
             (safety_constraints.network.allow_hosts) hold without --net",
        ),
    }
}

/// Lets the command start where the user stands, if that is inside the workspace; else in the
/// directory that was named.
pub(super) fn stand(
    operation: &mut Operation,
    workspace: &Path,
    named: Option<&Path>,
) -> Result<(), Failure> {
    if operation.cwd.is_some() {
        return Ok(());
    }
    let named = named.map(absolute).transpose()?;
    operation.cwd = [current_directory().ok(), named]
        .into_iter()
        .flatten()
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .find_map(|directory| directory.strip_prefix(workspace).map(Path::to_owned).ok())
        .filter(|inside| !inside.as_os_str().is_empty());
    Ok(())
}

/// Returns typed paths as absolute ones. What is not there would protect nothing: somebody has mistyped it.
fn there_to_hide(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let look = |path: PathBuf| {
        fs::symlink_metadata(&path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot hide {}", path.display()))
                .hint("give --hide paths that exist, and no patterns; `isolation.hide` of a configuration may name what is not there")
        })?;
        absolute(&path)
    };
    paths.into_iter().map(look).collect()
}

/// Returns typed paths as absolute ones. Where links in them lead is looked at by who grants them.
fn existing(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let follow = |path: PathBuf| {
        fs::metadata(&path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot grant {}", path.display()))
                .hint("give paths that exist to --read and --write")
        })?;
        // Without the `.` that was typed: messages name it.
        Ok(absolute(&path)?.components().collect())
    };
    paths.into_iter().map(follow).collect()
}
