//! One request to run something.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AllowList, Bytes, OperationId};

/// What is to run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Shell text, run by `/bin/sh -c` inside.
    Shell(String),
    /// A program and its arguments; no shell is involved.
    Argv(Vec<String>),
}

impl Action {
    /// Returns the words that are executed.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(text) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            Self::Argv(argv) => argv.clone(),
        }
    }
}

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

/// Amounts that this operation asks for; each replaces the configured one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LimitsRequest {
    /// Memory of the tree.
    pub memory: Option<Bytes>,
    /// CPU in percent of one core.
    pub cpu_percent: Option<u32>,
    /// Processes alive at once.
    pub processes: Option<u32>,
    /// Bytes added to the workspace.
    pub disk: Option<Bytes>,
}

/// One request to run something in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Limits that it asks for.
    pub limits: LimitsRequest,
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
    /// Paths to hide.
    pub hide: Vec<PathBuf>,
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

    fn of(action: Action) -> Self {
        Self {
            id: OperationId::generate(),
            type_name: "command".to_owned(),
            action,
            cwd: None,
            env: BTreeMap::new(),
            files: None,
            stdin: None,
            timeout: None,
            limits: LimitsRequest::default(),
            network: None,
            on_failure: OnFailure::default(),
            review: false,
            direct: false,
            read: Vec::new(),
            write: Vec::new(),
            hide: Vec::new(),
        }
    }

    /// Declares the write set: a change outside of these globs is a violation.
    #[must_use]
    pub fn files<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        self.files = Some(globs.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the wall-time limit.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Adds a variable to the guest's environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Holds the changes for review.
    #[must_use]
    pub fn review(mut self) -> Self {
        self.review = true;
        self
    }
}
