//! The commit gate: looks at the changes before anything reaches the workspace.

use std::{
    fmt,
    io::Read as _,
    path::{Component, Path},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Mode, OFlags};
use sandbox_types::{Bytes, ChangeKind, Violation, ViolationKind};

mod protected;

use crate::{
    file_error::FileError,
    survey::{Strip, Stripped, Survey},
    transaction::Transaction,
    tree::Tree,
};

/// The most bytes of a git configuration that are read.
const GIT_CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What may pass.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The declared write set as globs relative to the workspace; `None` allows all. A `*` does not
    /// match `/`; a glob also covers what is below a directory that it matches.
    pub declared: Option<Vec<String>>,
    /// The most bytes that the created and modified files may have together.
    pub bytes_max: Option<u64>,
    /// The most paths that may change.
    pub paths_max: Option<u64>,
    /// What a change of a protected file means.
    pub protected: ProtectedAction,
}

/// What a change of a file that runs or configures other programs means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtectedAction {
    /// It is committed and reported.
    Report,
    /// The operation is held for review.
    Hold,
}

/// What becomes of the changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum GateOutcome {
    /// They may be committed.
    Commit,
    /// A person decides.
    Hold,
    /// They may not be committed.
    Discard,
}

/// The gate's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GateDecision {
    /// What becomes of the changes.
    pub outcome: GateOutcome,
    /// Why they are not committed; empty if they are.
    pub reasons: Vec<String>,
    /// What the operation ran into.
    pub violations: Vec<Violation>,
    /// What the commit leaves out.
    pub strips: Vec<Strip>,
    /// What is worth knowing although it is committed: protected files, links that lead out.
    pub notices: Vec<String>,
}

/// The gate cannot decide.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// A declared path is not a glob.
    #[error("cannot read '{glob}' as a path pattern")]
    Glob {
        /// The pattern.
        glob: String,
        /// What is wrong.
        #[source]
        source: globset::Error,
    },
    /// A changed file cannot be read.
    #[error("cannot examine a changed file")]
    Read {
        /// Which one.
        #[source]
        source: FileError,
    },
}

impl Gate {
    /// Returns a gate that lets everything pass that is not stripped.
    pub const fn open() -> Self {
        Self {
            declared: None,
            bytes_max: None,
            paths_max: None,
            protected: ProtectedAction::Report,
        }
    }

    /// Decides on what `survey` found in `transaction`.
    ///
    /// # Errors
    ///
    /// Fails when a declared path is not a valid glob or a changed file cannot be read.
    pub fn examine(
        &self,
        survey: &Survey,
        transaction: &Transaction,
    ) -> Result<GateDecision, GateError> {
        let mut decision = GateDecision {
            outcome: GateOutcome::Commit,
            reasons: Vec::new(),
            violations: Vec::new(),
            strips: survey.strips.clone(),
            notices: Vec::new(),
        };
        for strip in &survey.strips {
            decision.violate(ViolationKind::Filesystem, strip.to_string());
        }
        if let Some(globs) = &self.declared {
            undeclared(globs, survey, &mut decision)?;
        }
        self.amounts(survey, &mut decision);
        self.protected_files(survey, transaction, &mut decision)?;
        links_out(survey, transaction, &mut decision);
        Ok(decision)
    }

    fn amounts(&self, survey: &Survey, decision: &mut GateDecision) {
        let written = survey
            .changes
            .iter()
            .filter(|change| matches!(change.kind, ChangeKind::Created | ChangeKind::Modified));
        let bytes = written.fold(0, |sum: u64, change| sum.saturating_add(change.bytes));
        if let Some(limit) = self.bytes_max.filter(|limit| bytes > *limit) {
            let (bytes, limit) = (Bytes(bytes), Bytes(limit));
            decision.refuse(
                GateOutcome::Discard,
                format!("the changed files have {bytes}, more than the limit of {limit}"),
            );
        }
        let paths = u64::try_from(survey.changes.len()).unwrap_or(u64::MAX);
        if let Some(limit) = self.paths_max.filter(|limit| paths > *limit) {
            decision.refuse(
                GateOutcome::Discard,
                format!("{paths} paths changed, more than the limit of {limit}"),
            );
        }
    }

    fn protected_files(
        &self,
        survey: &Survey,
        transaction: &Transaction,
        decision: &mut GateDecision,
    ) -> Result<(), GateError> {
        for change in &survey.changes {
            if change.kind == ChangeKind::Deleted {
                continue;
            }
            let Some(class) = protected::class(&change.path) else {
                continue;
            };
            if class == protected::GIT_CONFIG {
                let keys = executable_keys(transaction, &change.path)?;
                if keys.is_empty() {
                    continue;
                }
            }
            let path = change.path.display();
            decision.notices.push(format!("'{path}' changed: {class}"));
            if self.protected == ProtectedAction::Hold {
                decision.refuse(GateOutcome::Hold, format!("'{path}' changed: {class}"));
            }
        }
        Ok(())
    }
}

impl GateDecision {
    fn violate(&mut self, kind: ViolationKind, detail: String) {
        self.violations.push(Violation { kind, detail });
    }

    fn refuse(&mut self, outcome: GateOutcome, reason: String) {
        self.outcome = self.outcome.max(outcome);
        self.reasons.push(reason);
    }
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.what {
            Stripped::SetId => write!(f, "the set-id bits of '{path}' were left out"),
            Stripped::Capabilities => {
                write!(f, "the file capabilities of '{path}' were left out")
            }
            Stripped::Device => write!(f, "the device '{path}' was left out"),
        }
    }
}

fn undeclared(
    globs: &[String],
    survey: &Survey,
    decision: &mut GateDecision,
) -> Result<(), GateError> {
    let declared = compile(globs)?;
    for change in &survey.changes {
        // Creating a declared file may need directories above it.
        let covered = change.path.ancestors().any(|path| declared.is_match(path))
            || change.kind == ChangeKind::Created && leads_to(globs, &change.path);
        if !covered {
            let path = change.path.display();
            decision.violate(
                ViolationKind::DeclaredFiles,
                format!("'{path}' is not among the declared files"),
            );
        }
    }
    let count = decision
        .violations
        .iter()
        .filter(|violation| violation.kind == ViolationKind::DeclaredFiles)
        .count();
    if count > 0 {
        decision.refuse(
            GateOutcome::Discard,
            format!("{count} changed paths are not among the declared files"),
        );
    }
    Ok(())
}

fn compile(globs: &[String]) -> Result<GlobSet, GateError> {
    let mut set = GlobSetBuilder::new();
    let bad = |glob: &str| {
        let glob = glob.to_owned();
        |source| GateError::Glob { glob, source }
    };
    for glob in globs {
        let plain = trimmed(glob);
        let built = GlobBuilder::new(plain)
            .literal_separator(true)
            .build()
            .map_err(bad(glob))?;
        set.add(built);
    }
    set.build().map_err(bad(&globs.join(", ")))
}

fn trimmed(glob: &str) -> &str {
    glob.strip_prefix("./")
        .unwrap_or(glob)
        .trim_end_matches('/')
}

/// Returns whether `path` is a literal directory above a declared path.
fn leads_to(globs: &[String], path: &Path) -> bool {
    globs
        .iter()
        .any(|glob| Path::new(trimmed(glob)).starts_with(path))
}

/// Notes new symlinks whose target is not in the workspace.
fn links_out(survey: &Survey, transaction: &Transaction, decision: &mut GateDecision) {
    for (path, target) in &survey.symlinks {
        if leaves(path, target, &transaction.layout.workspace) {
            let (path, target) = (path.display(), target.display());
            decision.notices.push(format!(
                "the link '{path}' leads out of the workspace, to '{target}'"
            ));
        }
    }
}

fn leaves(link: &Path, target: &Path, workspace: &Path) -> bool {
    if target.is_absolute() {
        let climbs = target.components().any(|part| part == Component::ParentDir);
        return climbs || !target.starts_with(workspace);
    }
    let mut depth = link.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    false
}

/// Returns the keys in a changed git configuration that make git run something.
fn executable_keys(transaction: &Transaction, path: &Path) -> Result<Vec<&'static str>, GateError> {
    let read = || -> Result<String, FileError> {
        let tree = Tree::open(transaction.upper())?;
        let cannot_read = || tree.cannot::<std::io::Error>("read", path);
        let spot = tree.spot(path).map_err(cannot_read())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&spot.dir, &spot.name, flags, Mode::empty()) {
            Ok(fd) => std::fs::File::from(fd),
            // A link or a socket in its place is no configuration.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(String::new()),
            Err(error) => return Err(cannot_read()(error.into())),
        };
        let mut bytes = Vec::new();
        file.take(GIT_CONFIG_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(cannot_read())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().map_err(|source| GateError::Read { source })?;
    Ok(protected::git_executable_keys(&text))
}

#[cfg(test)]
mod tests;
