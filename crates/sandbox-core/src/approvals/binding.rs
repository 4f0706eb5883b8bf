//! What an approval is bound to: digests over exactly what was judged and what will run.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use sandbox_types::{GivenSecret, NetworkAccess, Operation, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    scope::{Part, RuleScope},
    scripts,
};
use crate::{launch_plan, sandbox::Sandbox};

/// Everything that is needed to run an operation later as it would have run when it was judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) operation: Operation,
    /// The whole environment of the guest at that time.
    environment: BTreeMap<String, String>,
    /// The network at that time.
    network: NetworkAccess,
    pub(crate) workspace: PathBuf,
    /// The host paths that the configuration granted at that time.
    granted: Vec<PathBuf>,
    /// Those of them that it may write.
    #[serde(default)]
    writable: Vec<PathBuf>,
    /// What the scripts held that it names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scripts: BTreeMap<String, String>,
}

impl Task {
    pub(crate) fn of(operation: &Operation, sandbox: &Sandbox) -> Self {
        Self {
            environment: launch_plan::environment(operation, sandbox)
                .into_iter()
                .collect(),
            network: sandbox.network(operation),
            workspace: sandbox.workspace().to_owned(),
            granted: granted(sandbox),
            writable: sandbox.config.isolation.write.clone(),
            scripts: scripts::named_by(operation, sandbox).held,
            operation: operation.clone(),
        }
    }

    /// Returns the operation with the surroundings that it was judged for, as it runs.
    pub(crate) fn frozen(&self) -> Operation {
        let mut operation = self.judged();
        operation.env.clone_from(&self.environment);
        operation
    }

    /// Returns the operation as it was judged, and is judged again: with the variables that were asked for. What was
    /// inherited is no part of the command.
    pub(crate) fn judged(&self) -> Operation {
        let mut operation = self.operation.clone();
        operation.network = Some(self.network.clone());
        // Not what whoever approves it has on standard input.
        operation.stdin.get_or_insert_default();
        operation
    }

    /// Returns a path that the configuration grants now and did not when it was judged.
    pub(crate) fn granted_since(&self, sandbox: &Sandbox) -> Option<PathBuf> {
        let written = &sandbox.config.isolation.write;
        let is_new = |path: &PathBuf| {
            !self.granted.contains(path) || written.contains(path) && !self.writable.contains(path)
        };
        granted(sandbox).into_iter().find(is_new)
    }

    /// Whether a script that it names holds something else now.
    pub(crate) fn has_other_scripts(&self, sandbox: &Sandbox) -> bool {
        self.scripts != scripts::named_by(&self.operation, sandbox).held
    }

    /// Returns the digest that binds the approval, `None` if a path in it has no form as text.
    pub(crate) fn digest(&self, verdict: &Verdict) -> Option<String> {
        #[derive(Serialize)]
        struct Bound<'a> {
            task: &'a Task,
            verdict: &'a Verdict,
        }
        let task = self;
        digest(&Bound { task, verdict })
    }

    /// Returns whether it is the same request but for the operation's id and the environment that
    /// the caller did not choose.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let id = &self.operation.id;
        let other_operation = Operation {
            id: id.clone(),
            ..other.operation.clone()
        };
        self.operation == other_operation
            && self.network == other.network
            && self.workspace == other.workspace
            && self.granted == other.granted
            && self.writable == other.writable
            && self.scripts == other.scripts
    }
}

fn granted(sandbox: &Sandbox) -> Vec<PathBuf> {
    let isolation = &sandbox.config.isolation;
    isolation
        .read
        .iter()
        .chain(&isolation.write)
        .cloned()
        .collect()
}

/// Returns the digest of what a remembered rule approves: everything that decides what runs and
/// what it can reach. Limits, declared files, review and id do not. `None` if no rule can be about it.
pub(crate) fn sameness(
    operation: &Operation,
    scope: RuleScope,
    sandbox: &Sandbox,
) -> Option<String> {
    #[derive(Serialize)]
    struct Same<'a> {
        type_name: &'a str,
        action: Part<'a>,
        cwd: Option<&'a Path>,
        env: &'a BTreeMap<String, String>,
        stdin: Option<&'a str>,
        network: NetworkAccess,
        direct: bool,
        paths: [&'a [PathBuf]; 3],
        granted: Vec<PathBuf>,
        writable: &'a [PathBuf],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        secrets: &'a [GivenSecret],
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        scripts: BTreeMap<String, String>,
    }
    let scripts = match scope {
        RuleScope::Exact | RuleScope::Prefix { .. } => {
            let scripts = scripts::named_by(operation, sandbox);
            if scripts.open.is_some() {
                return None;
            }
            scripts.held
        }
        RuleScope::Findings => BTreeMap::new(),
    };
    digest(&Same {
        type_name: &operation.type_name,
        action: scope.part_of(&operation.action)?,
        cwd: operation
            .cwd
            .as_deref()
            .filter(|_| scope != RuleScope::Findings),
        env: &operation.env,
        stdin: operation.stdin.as_deref(),
        network: sandbox.network(operation),
        direct: operation.direct,
        paths: [&operation.read, &operation.write, &operation.hide],
        granted: granted(sandbox),
        writable: &sandbox.config.isolation.write,
        secrets: &operation.secrets,
        scripts,
    })
}

/// Returns why no rule about the words of the operation would hold what it runs, if so.
pub(super) fn open_scripts(operation: &Operation, sandbox: &Sandbox) -> Option<&'static str> {
    scripts::named_by(operation, sandbox).open
}

/// Returns SHA-256 over the JSON form, in hexadecimal.
pub(super) fn digest(document: &impl Serialize) -> Option<String> {
    Some(hexadecimal(&serde_json::to_vec(document).ok()?))
}

/// Returns SHA-256 over the bytes, in hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text
}
