//! Turns a cleared operation into a plan for the launcher.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use sandbox_isolation::{LaunchPlan, WorkspaceMode, is_led_astray};
use sandbox_rollback::{Gate, GateError};
use sandbox_types::{Action, LimitRaised, Limits, LimitsRequest, OnFailure, Operation};

use crate::{
    caller::Forwarded, checkpoint, guest_program, home::links_to_user_configuration,
    layout::is_of_layers, policies::PolicyError, registry::FindError, sandbox::Sandbox,
    state::StateAccessError,
};

mod transactions;
mod view;

/// The longest single argument that the kernel takes: `MAX_ARG_STRLEN` of execve(2).
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
/// The most bytes of arguments and environment together; the kernel's own bound depends on the
/// stack limit and is at least as large.
const ARGUMENTS_BYTES_MAX: usize = 2 * 1024 * 1024 - 64 * 1024;

/// The request cannot be carried out in this sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A rule pack or the commit policy cannot be used.
    #[error(transparent)]
    Policy(Arc<PolicyError>),
    /// There is no program to run.
    #[error("the command is empty")]
    EmptyCommand,
    /// The kernel does not take it.
    #[error(
        "argument {index} of the command has {bytes} bytes, the kernel takes {ARGUMENT_BYTES_MAX} at most; pass long text on standard input or in a file"
    )]
    ArgumentTooLong {
        /// Which argument, counted from 0 (the program).
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// The kernel does not take them all together.
    #[error(
        "the command and its environment have {bytes} bytes, the kernel takes {ARGUMENTS_BYTES_MAX} at most; pass long text on standard input or in a file"
    )]
    ArgumentsTooLong {
        /// Their length.
        bytes: usize,
    },
    /// Text with a NUL byte cannot be passed to a program.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which text.
        what: String,
    },
    /// What was asked for needs a transaction, and a direct run has none.
    #[error("{option} cannot be kept by a direct run: it has no transaction")]
    DirectWith {
        /// What was asked for.
        option: &'static str,
    },
    /// A declared write is no path pattern.
    #[error("cannot use the declared writes (files)")]
    Files(#[source] GateError),
    /// The directory lies outside.
    #[error("the working directory {} is outside of the workspace {}", cwd.display(), workspace.display())]
    CwdOutside {
        /// The directory.
        cwd: PathBuf,
        /// The workspace.
        workspace: PathBuf,
    },
    /// The directory is not there.
    #[error("the working directory {} does not exist", cwd.display())]
    CwdMissing {
        /// The directory.
        cwd: PathBuf,
    },
    /// Work on a file names what is no file of any workspace.
    #[error("cannot use the path {}: it {reason}", path.display())]
    FilePath {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// Work on a file outside of the workspace.
    #[error("the path {} is outside of the workspace {}", path.display(), workspace.display())]
    FileOutside {
        /// The path.
        path: PathBuf,
        /// The workspace.
        workspace: PathBuf,
    },
    /// Permission bits that no operation may set.
    #[error("cannot use the mode {bits:o}: only permission bits up to 777 can be set")]
    Mode {
        /// The bits.
        bits: u32,
    },
    /// A path of `read`, `write` or `hide` is not absolute or not there.
    #[error("cannot grant {}: {reason}", path.display())]
    Grant {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// What other sandboxes have in what was granted cannot be known, and so not be covered.
    #[error("cannot cover the transactions of all sandboxes in what was granted")]
    Transactions(#[source] FindError),
    /// The same, of one directory.
    #[error("cannot look for transactions in {}, to cover them", path.display())]
    Look {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The user's configuration lies where the command may write, and cannot be covered.
    #[error("cannot cover the place of your configuration {}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The workspace itself is to be read-only.
    #[error("cannot make the workspace {} read-only: an operation may change it", path.display())]
    ReadWorkspace {
        /// The path as it was granted.
        path: PathBuf,
    },
    /// A path of `hide` holds the workspace.
    #[error("cannot hide {}: the workspace {} lies in it", path.display(), workspace.display())]
    HideWorkspace {
        /// The path.
        path: PathBuf,
        /// The workspace.
        workspace: PathBuf,
    },
    /// The file system has no place for a transaction.
    #[error(
        "no transaction is possible here: {reason}; --direct runs without one, and then nothing can be undone"
    )]
    NoTransaction {
        /// Why.
        reason: String,
    },
    /// It asks for more than the configuration allows, and its caller has not granted it.
    #[error(transparent)]
    LimitRaised(#[from] LimitRaised),
    /// A secret cannot be given to it.
    #[error("cannot give the operation the secret '{key}': {reason}")]
    Secret {
        /// Its key.
        key: String,
        /// Why not.
        reason: &'static str,
        /// Whether the state has that key, as far as was looked.
        is_there: bool,
    },
    /// A secret cannot be read.
    #[error("cannot give the operation the secret '{key}'")]
    SecretAccess {
        /// Its key.
        key: String,
        /// Why not.
        source: Box<StateAccessError>,
    },
    /// The workspace is not what it was.
    #[error("the workspace {} was replaced or removed since the sandbox was made; destroy the sandbox and create it again", workspace.display())]
    WorkspaceReplaced {
        /// The workspace.
        workspace: PathBuf,
    },
}

/// Returns the absolute directory that the operation starts in.
pub(crate) fn cwd(operation: &Operation, workspace: &Path) -> PathBuf {
    match (&operation.action, &operation.cwd) {
        // Paths of work on files are relative to the workspace, wherever the caller stands.
        (Action::File(_), _) | (_, None) => workspace.to_owned(),
        (Action::Shell(_) | Action::Argv(_) | Action::Script(_), Some(cwd)) => workspace.join(cwd),
    }
}

/// Checks what can be checked before anything is acquired.
pub(crate) fn check(operation: &Operation, sandbox: &Sandbox) -> Result<(), PlanError> {
    sandbox.check_policies()?;
    sandbox.check_workspace()?;
    if !sandbox.is_direct(operation) {
        sandbox.rollback()?;
    }
    check_request(operation)?;
    if sandbox.has_checkpoint(operation) {
        checkpoint::check(operation)?;
    } else if sandbox.is_direct(operation) {
        check_direct(operation)?;
    }
    asked(operation).check_lowers(&sandbox.limits, &operation.granted_limits)?;
    let workspace = sandbox.workspace();
    let cwd = cwd(operation, workspace);
    let climbs = cwd.components().any(|part| part == Component::ParentDir);
    if climbs || !cwd.starts_with(workspace) {
        return Err(PlanError::CwdOutside {
            cwd,
            workspace: workspace.to_owned(),
        });
    }
    if !cwd.is_dir() {
        return Err(PlanError::CwdMissing { cwd });
    }
    guest_program::check_inside(&operation.action, workspace)?;
    for path in operation.read.iter().chain(&operation.write) {
        let reason = if !path.is_absolute() {
            "it is not an absolute path"
        } else if !path.exists() {
            "it does not exist"
        } else if is_led_astray(path, &[workspace.to_owned()]) {
            "a link in the workspace leads out of it, and a command may have put it there"
        } else {
            continue;
        };
        return Err(PlanError::Grant {
            path: path.clone(),
            reason,
        });
    }
    check_extent(operation, sandbox)?;
    let mut hidden = hidden(operation, sandbox).into_iter();
    match hidden.find(|path| workspace.starts_with(path)) {
        None => Ok(()),
        Some(path) => Err(PlanError::HideWorkspace {
            path,
            workspace: workspace.to_owned(),
        }),
    }
}

/// Refuses grants that would be taken for something else than they are.
fn check_extent(operation: &Operation, sandbox: &Sandbox) -> Result<(), PlanError> {
    let isolation = &sandbox.config.isolation;
    let read = isolation.read.iter().chain(&operation.read);
    let written = isolation.write.iter().chain(&operation.write);
    let own = fs::canonicalize(&sandbox.host.data);
    let is_own = |real: &Path| own.as_ref().is_ok_and(|own| real.starts_with(own));
    let configuration = || {
        links_to_user_configuration(&sandbox.host).map_err(|source| PlanError::Configuration {
            path: sandbox.host.user_config.clone(),
            source,
        })
    };
    let read = read.map(|path| (path, true));
    for (path, is_read) in read.chain(written.map(|path| (path, false))) {
        // What is not there is refused by its name, or was when it was configured.
        let Ok(real) = fs::canonicalize(path) else {
            continue;
        };
        if is_read && real == sandbox.workspace() {
            return Err(PlanError::ReadWorkspace { path: path.clone() });
        }
        let holds = |link: &PathBuf| link.starts_with(&real);
        if is_own(&real) {
            return Err(PlanError::Grant {
                path: path.clone(),
                reason: "it lies in the sandbox's own data, which no command may see",
            });
        }
        if real.components().any(|it| is_of_layers(it.as_os_str())) {
            return Err(PlanError::Grant {
                path: path.clone(),
                reason: "it lies in the transactions of a sandbox, which no command may see",
            });
        }
        if !is_read && configuration()?.iter().any(holds) {
            return Err(PlanError::Grant {
                path: path.clone(),
                reason: "a link that leads to your configuration lies in it, and a command could replace it; grant \
                         what is needed below",
            });
        }
        if real.parent().is_none() {
            return Err(PlanError::Grant {
                path: path.clone(),
                reason: "it is the whole host; grant the directories that are needed",
            });
        }
    }
    Ok(())
}

/// Returns what is to be hidden; an operation's relative paths are the workspace's.
fn hidden(operation: &Operation, sandbox: &Sandbox) -> Vec<PathBuf> {
    let configured = sandbox.config.isolation.hide.iter().cloned();
    let asked = operation.hide.iter();
    configured
        .chain(asked.map(|path| sandbox.workspace().join(path)))
        .collect()
}

/// Checks what is wrong with a request in any sandbox.
///
/// # Errors
///
/// Fails when the request cannot be carried out anywhere.
pub fn check_request(operation: &Operation) -> Result<(), PlanError> {
    check_arguments(operation)?;
    Gate::check(operation.files.as_deref().unwrap_or_default()).map_err(PlanError::Files)?;
    if operation.direct {
        check_direct(operation)
    } else {
        Ok(())
    }
}

fn check_direct(operation: &Operation) -> Result<(), PlanError> {
    let has = |limit: fn(&LimitsRequest) -> bool| {
        limit(&operation.limits) || limit(&operation.granted_limits)
    };
    let needs_a_transaction = [
        (operation.review, "review"),
        (operation.files.is_some(), "files (the declared writes)"),
        (
            operation.on_failure != OnFailure::Keep,
            "on_failure other than keep",
        ),
        (has(|it| it.disk.is_some()), "a disk limit"),
        (has(|it| it.inodes.is_some()), "an inode limit"),
    ];
    match needs_a_transaction.into_iter().find(|(asked, _)| *asked) {
        Some((_, option)) => Err(PlanError::DirectWith { option }),
        None => Ok(()),
    }
}

fn check_arguments(operation: &Operation) -> Result<(), PlanError> {
    match &operation.action {
        Action::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err(PlanError::EmptyCommand);
        }
        Action::Shell(text) if text.trim().is_empty() => return Err(PlanError::EmptyCommand),
        Action::Argv(_) | Action::Shell(_) => {}
        Action::Script(script) => guest_program::check_script(script)?,
        Action::File(work) => guest_program::check_file_work(work)?,
    }
    let argv = guest_program::argv(&operation.action);
    if let Some((index, argument)) = argv
        .iter()
        .enumerate()
        .find(|(_, argument)| argument.len() > ARGUMENT_BYTES_MAX)
    {
        return Err(PlanError::ArgumentTooLong {
            index,
            bytes: argument.len(),
        });
    }
    let environment = operation
        .env
        .iter()
        .map(|(key, value)| key.len() + value.len() + 10);
    let bytes = argv.iter().map(|it| it.len() + 9).chain(environment).sum();
    if bytes > ARGUMENTS_BYTES_MAX {
        return Err(PlanError::ArgumentsTooLong { bytes });
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(PlanError::Nul {
            what: "the command".to_owned(),
        });
    }
    let bad = |(key, value): &(&String, &String)| {
        key.is_empty() || key.contains(['\0', '=']) || value.contains('\0')
    };
    match operation.env.iter().find(bad) {
        Some((key, _)) => Err(PlanError::Nul {
            what: format!("the environment variable '{key}'"),
        }),
        None => Ok(()),
    }
}

/// Returns the plan of an operation that passed [`check`].
///
/// # Errors
///
/// Fails when it cannot be known what must be covered.
pub(crate) fn of(
    operation: &Operation,
    sandbox: &Sandbox,
    forwarded: Forwarded,
) -> Result<LaunchPlan, PlanError> {
    let workspace_mode = match &sandbox.rollback {
        Some(rollback) if !sandbox.is_direct(operation) => {
            let [upper, work] = rollback.directories(&operation.id);
            WorkspaceMode::Overlay { upper, work }
        }
        Some(_) | None => WorkspaceMode::Direct,
    };
    Ok(LaunchPlan {
        name: operation.id.to_string(),
        argv: guest_program::argv(&operation.action)
            .into_iter()
            .map(OsString::from)
            .collect(),
        env: environment(operation, sandbox)
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        workspace: sandbox.workspace().to_owned(),
        workspace_mode,
        cwd: cwd(operation, sandbox.workspace()),
        view: view::of(operation, sandbox)?,
        network: sandbox.network(operation),
        confinement: sandbox.tier,
        seccomp: sandbox.seccomp.clone(),
        limits: limits(operation, sandbox),
        host_ids: sandbox.record.host_ids,
        stdin: guest_program::stdin(operation, forwarded),
    })
}

/// Returns the whole environment of the guest.
pub(crate) fn environment(operation: &Operation, sandbox: &Sandbox) -> Vec<(String, String)> {
    let isolation = &sandbox.config.isolation;
    let mut environment = sandbox.host.guest_environment(&isolation.env_pass);
    let set = isolation.env_set.iter().chain(&operation.env);
    for (key, value) in set {
        environment.retain(|(name, _)| name != key);
        environment.push((key.clone(), value.clone()));
    }
    environment
}

/// Returns the limits that the operation asks for.
fn asked(operation: &Operation) -> LimitsRequest {
    let mut asked = operation.limits.clone();
    asked.wall_time = operation.timeout.or(asked.wall_time);
    asked
}

/// Returns the sandbox's limits with those that the operation asks for, and was given.
pub(crate) fn limits(operation: &Operation, sandbox: &Sandbox) -> Limits {
    let asked = asked(operation).over(sandbox.limits.clone());
    operation.granted_limits.over(asked)
}
