//! The files of the approvals: `approvals/request-<id>.json` and `approvals/rule-<id>.json` in the
//! sandbox's directory, mode 0600, and the lock that whoever writes holds.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use rustix::{
    fs::{FlockOperation, flock},
    io::retry_on_intr,
};
use sandbox_types::ApprovalId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ApprovalError, ApprovalRequest, ApprovalRule, ApprovalState, binding::Task};
use crate::{private, process_mark::ProcessMark};

/// Requests that are decided are kept so long.
const DECIDED_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The version of the files' form.
const FORMAT: u32 = 1;
const REQUEST: &str = "request-";
const RULE: &str = "rule-";

/// A request as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    format: u32,
    pub(crate) request: ApprovalRequest,
    /// Binds what follows to the journal's record of the request.
    pub(crate) digest: String,
    /// What is to run; dropped with the secrets that may be in it once that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<Task>,
    /// Who runs it, once it is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessMark>,
}

impl Stored {
    pub(crate) fn new(request: ApprovalRequest, digest: String, task: Task) -> Self {
        Self {
            format: FORMAT,
            request,
            digest,
            task: Some(task),
            process: None,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.request.state == ApprovalState::Pending
    }

    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        self.is_pending() && self.request.expires_at <= now
    }
}

/// The directory of the approvals. It need not exist.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    directory: PathBuf,
}

/// Others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    _file: File,
}

impl Shelf {
    /// Returns the shelf of the sandbox whose state lies in `state`.
    pub(crate) fn of(state: &Path) -> Self {
        Self {
            directory: state.join("approvals"),
        }
    }

    /// Waits until nobody else writes.
    pub(crate) fn lock(&self) -> Result<Locked, ApprovalError> {
        let failed = |path: &Path, source| file_error("lock", path, source);
        private::make(&self.directory).map_err(|error| failed(&self.directory, error))?;
        let path = self.directory.join("lock");
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let opened = options.open(&path);
        let file = opened.map_err(|error| failed(&path, error))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| failed(&path, errno.into()))?;
        Ok(Locked { _file: file })
    }

    /// Returns all requests, oldest first.
    pub(crate) fn requests(&self) -> Result<Vec<Stored>, ApprovalError> {
        self.read_all(REQUEST)?.into_iter().collect()
    }

    /// Returns all requests that can be understood: a damaged one is no reason not to ask.
    pub(crate) fn readable_requests(&self) -> Result<Vec<Stored>, ApprovalError> {
        Ok(self.read_all(REQUEST)?.into_iter().flatten().collect())
    }

    /// Returns all rules, oldest first.
    pub(crate) fn rules(&self) -> Result<Vec<ApprovalRule>, ApprovalError> {
        self.read_all(RULE)?.into_iter().collect()
    }

    /// Returns the rules that can be understood: a damaged one approves nothing.
    pub(crate) fn readable_rules(&self) -> Vec<ApprovalRule> {
        let read = self.read_all(RULE).unwrap_or_default();
        read.into_iter().flatten().collect()
    }

    pub(crate) fn write(&self, _: &Locked, stored: &Stored) -> Result<(), ApprovalError> {
        put(&self.file(REQUEST, &stored.request.id), stored)
    }

    pub(crate) fn write_rule(&self, _: &Locked, rule: &ApprovalRule) -> Result<(), ApprovalError> {
        put(&self.file(RULE, &rule.id), rule)
    }

    pub(crate) fn remove_rule(&self, _: &Locked, id: &ApprovalId) -> Result<(), ApprovalError> {
        self.remove(&self.file(RULE, id))
    }

    /// Removes what was decided long ago.
    pub(crate) fn prune(&self, _: &Locked, stored: &[Stored], now: Timestamp) {
        let decided_at = |it: &Stored| it.request.decision.as_ref().map(|decision| decision.at);
        for old in stored {
            if !old.is_pending()
                && decided_at(old).is_some_and(|at| now.duration_since(at) > DECIDED_KEPT)
            {
                // It is tried again at the next request.
                let _removed = self.remove(&self.file(REQUEST, &old.request.id));
            }
        }
    }

    fn file(&self, kind: &str, id: &ApprovalId) -> PathBuf {
        self.directory.join(format!("{kind}{id}.json"))
    }

    fn remove(&self, path: &Path) -> Result<(), ApprovalError> {
        fs::remove_file(path)
            .and_then(|()| private::sync(&self.directory))
            .map_err(|error| file_error("remove", path, error))
    }

    /// Reads every file of one kind, by the order of their names: that of their ids, so of time.
    fn read_all<T: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Vec<Result<T, ApprovalError>>, ApprovalError> {
        let failed = |error| file_error("read", &self.directory, error);
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let is_one = |it: &&str| it.starts_with(kind) && it.strip_suffix(".json").is_some();
            names.extend(name.to_str().filter(is_one).map(str::to_owned));
        }
        names.sort_unstable();
        let read = names.into_iter().filter_map(|name| {
            let path = self.directory.join(name);
            match fs::read(&path) {
                Ok(bytes) => Some(
                    serde_json::from_slice(&bytes)
                        .map_err(|source| ApprovalError::Damaged { path, source }),
                ),
                // Somebody removed it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => Some(Err(file_error("read", &path, error))),
            }
        });
        Ok(read.collect())
    }
}

fn put(path: &Path, document: &impl Serialize) -> Result<(), ApprovalError> {
    let text = serde_json::to_string_pretty(document).map_err(|source| ApprovalError::Damaged {
        path: path.to_owned(),
        source,
    })?;
    private::replace(path, &text).map_err(|error| file_error("write", path, error))
}

fn file_error(verb: &'static str, path: &Path, source: io::Error) -> ApprovalError {
    ApprovalError::File {
        verb,
        path: path.to_owned(),
        source,
    }
}
