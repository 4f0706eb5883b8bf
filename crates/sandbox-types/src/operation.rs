//! One request to run something.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Action, AllowList, FileWork, GivenSecret, LimitsRequest, OperationId, Script};

/// What becomes of the changes of a command that did not succeed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They are committed, as without a sandbox; `undo` takes them back.
    #[default]
    Keep,
    /// They are dropped.
    Discard,
    /// They wait for `commit` or `discard`.
    Review,
}

/// What the guest may reach over the network.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkAccess {
    /// An empty network namespace.
    #[default]
    None,
    /// The hosts of a list, by way of the caller.
    Allow(AllowList),
    /// The host's own network. Must be asked for.
    Host,
}

/// One request to run something in a sandbox.
///
/// Its serialized form is how a request that waits for approval is stored. What people and agents
/// write is a document, which [`Operation::from_document`] reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name; generated when the request has none.
    pub id: OperationId,
    /// The `type` that the request was written with.
    pub type_name: String,
    /// What is to run.
    pub action: Action,
    /// Where, relative to the workspace. `None` is the workspace itself.
    pub cwd: Option<PathBuf>,
    /// Added to the guest's environment.
    pub env: BTreeMap<String, String>,
    /// The declared write set as globs; `None` declares nothing and allows all.
    pub files: Option<Vec<String>>,
    /// Given on standard input.
    pub stdin: Option<String>,
    /// Wall-time limit.
    pub timeout: Option<Duration>,
    /// Limits that it asks for: lower ones than the configured. Higher ones refuse it, unless granted.
    pub limits: LimitsRequest,
    /// Limits that the caller gives it, higher or lower: they replace all others. No document has them.
    #[serde(default)]
    pub granted_limits: LimitsRequest,
    /// Network that it asks for; `None` is what the configuration says.
    pub network: Option<NetworkAccess>,
    /// What becomes of the changes if it fails.
    pub on_failure: OnFailure,
    /// Whether changes wait for a person even if it succeeds.
    pub review: bool,
    /// Whether it writes to the workspace directly, without a transaction.
    pub direct: bool,
    /// More host paths to see, read-only.
    pub read: Vec<PathBuf>,
    /// More host paths to see and to change.
    pub write: Vec<PathBuf>,
    /// Paths to hide; relative ones are the workspace's.
    pub hide: Vec<PathBuf>,
    /// Secrets of the state that it is given. No document has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<GivenSecret>,
}

impl Operation {
    /// Returns a request to run shell text.
    pub fn shell(text: impl Into<String>) -> Self {
        Self::of(Action::Shell(text.into()))
    }

    /// Returns a request to run a program with arguments.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::of(Action::Argv(argv.into_iter().map(Into::into).collect()))
    }

    /// Returns a request to run a script of any size by its interpreter, as in `python3`.
    pub fn script(interpreter: impl Into<String>, source: impl Into<String>) -> Self {
        Self::of(Action::Script(Script {
            interpreter: vec![interpreter.into()],
            source: source.into(),
        }))
    }

    /// Returns a request to write a file of the workspace, with its parent directories.
    pub fn file_write(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::of(Action::File(FileWork::Write {
            path: path.into(),
            content: content.into(),
            mode: None,
        }))
    }

    /// Returns a request to delete a file of the workspace.
    pub fn file_delete(path: impl Into<String>) -> Self {
        Self::of(Action::File(FileWork::Delete {
            path: path.into(),
            recursive: false,
        }))
    }

    /// Returns a request to give a file or directory of the workspace a new name.
    pub fn file_move(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self::of(Action::File(FileWork::Move {
            from: from.into(),
            to: to.into(),
        }))
    }

    /// Returns a request for `action`. Work on a file that fails changes nothing: it is discarded.
    pub fn of(action: Action) -> Self {
        let (type_name, on_failure) = match &action {
            Action::Shell(_) | Action::Argv(_) => ("command", OnFailure::Keep),
            Action::Script(_) => ("script", OnFailure::Keep),
            Action::File(work) => (work.type_name(), OnFailure::Discard),
        };
        Self {
            id: OperationId::generate(),
            type_name: type_name.to_owned(),
            action,
            cwd: None,
            env: BTreeMap::new(),
            files: None,
            stdin: None,
            timeout: None,
            limits: LimitsRequest::default(),
            granted_limits: LimitsRequest::default(),
            network: None,
            on_failure,
            review: false,
            direct: false,
            read: Vec::new(),
            write: Vec::new(),
            hide: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Declares the write set: a change outside of these globs is a violation.
    #[must_use]
    pub fn files<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        self.files = Some(globs.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the wall-time limit, which may be longer than the configured one.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self.granted_limits.wall_time = Some(limit);
        self
    }

    /// Gives it these limits, each instead of the configured one.
    #[must_use]
    pub fn grant_limits(mut self, limits: LimitsRequest) -> Self {
        self.granted_limits = limits.or(self.granted_limits);
        self
    }

    /// Adds a variable to the guest's environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Sets the permission bits of the file that [`file_write`](Self::file_write) writes.
    #[must_use]
    pub fn mode(mut self, bits: u32) -> Self {
        if let Action::File(FileWork::Write { mode, .. }) = &mut self.action {
            *mode = Some(bits);
        }
        self
    }

    /// Lets [`file_delete`](Self::file_delete) delete a directory with all that is in it.
    #[must_use]
    pub fn recursive(mut self) -> Self {
        if let Action::File(FileWork::Delete { recursive, .. }) = &mut self.action {
            *recursive = true;
        }
        self
    }

    /// Gives it text on standard input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Gives it a secret of the state in a variable named like `key`: see [`GivenSecret::variable`].
    #[must_use]
    pub fn secret(mut self, key: impl Into<String>) -> Self {
        self.secrets.push(GivenSecret::variable(key, None));
        self
    }

    /// Gives it a secret of the state in the file `/run/secrets/KEY`.
    #[must_use]
    pub fn secret_file(mut self, key: impl Into<String>) -> Self {
        self.secrets.push(GivenSecret::file(key, None));
        self
    }

    /// Holds the changes for review.
    #[must_use]
    pub fn review(mut self) -> Self {
        self.review = true;
        self
    }
}
