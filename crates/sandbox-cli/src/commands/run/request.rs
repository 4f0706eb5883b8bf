//! From what was typed to the operation that is asked for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sandbox_core::{Host, check_request, config_layers::operation_from_text};
use sandbox_types::{AllowList, HostPattern, NetworkAccess, Operation};

use crate::{
    args::{NetworkMode, RunArgs},
    commands::input,
    failure::{Failure, Kind},
    settings::{absolute, current_directory},
};

/// Returns the operation. Options replace what its document says.
pub(super) fn operation(args: RunArgs, host: &Host) -> Result<Operation, Failure> {
    let mut operation = match (args.shell, args.operation) {
        (Some(text), _) => Operation::shell(text),
        (None, Some(path)) => operation_from_text(&input::read_text(&path)?, &input::name(&path))?,
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
    if !args.files.is_empty() {
        operation.files = Some(args.files);
    }
    operation.read.extend(existing(args.read)?);
    operation.write.extend(existing(args.write)?);
    for path in args.hide {
        operation.hide.push(absolute(&path)?);
    }
    for (key, value) in args.env {
        if let Some(value) = value.or_else(|| host.variable(&key).map(str::to_owned)) {
            operation.env.insert(key, value);
        }
    }
    // Before a sandbox is made for it.
    check_request(&operation)?;
    Ok(operation)
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

/// Returns typed paths as the absolute ones that they mean, symbolic links followed.
fn existing(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let follow = |path: PathBuf| {
        fs::canonicalize(&path).map_err(|error| {
            Failure::of(Kind::Usage, &error)
                .while_doing(format!("cannot grant {}", path.display()))
                .hint("give paths that exist to --read and --write")
        })
    };
    paths.into_iter().map(follow).collect()
}
