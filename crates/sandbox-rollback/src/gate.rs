//! The commit gate: looks at the changes before anything reaches the workspace.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sandbox_types::{Bytes, ChangeKind, Violation, ViolationKind};

mod git_config;
mod protected;
mod repository;
mod rules;
mod view;

use rules::Rules;
pub use rules::{GateAction, GateRule, protected_classes};

use crate::{
    file_error::FileError,
    survey::{Strip, Stripped, Survey},
    transaction::Transaction,
};

/// The most violations, notices, strips or reasons of one origin that are listed.
const LISTED_MAX: usize = 1000;

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
    /// What a change of a file means that runs or configures other programs, unless a rule says it.
    pub protected: GateAction,
    /// The first one that a path meets decides on it.
    pub rules: Vec<GateRule>,
    /// Real absolute paths that configure the sandbox itself: what changes there, or a link on the way there, is held
    /// at least, whatever the rules say.
    pub own: Vec<PathBuf>,
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
    /// What the operation ran into, each kind cut after a thousand.
    pub violations: Vec<Violation>,
    /// What the commit leaves out, cut after a thousand; the violations tell how many more.
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
    /// A declared path is empty; it would stand for the whole workspace.
    #[error("cannot use '{glob}' as a path pattern: it names no path")]
    Empty {
        /// The pattern.
        glob: String,
    },
    /// A path of a rule lies in no workspace.
    #[error("cannot use '{glob}' as a path pattern: {why}")]
    Outside {
        /// The pattern.
        glob: String,
        /// Why nothing matches it.
        why: &'static str,
    },
    /// A rule names no class of protected files.
    #[error("cannot use '{class}' as a class of protected files: there is none of that name")]
    Class {
        /// The name.
        class: String,
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
            protected: GateAction::Report,
            rules: Vec::new(),
            own: Vec::new(),
        }
    }

    /// Makes sure that `declared` can be a declared write set.
    ///
    /// # Errors
    ///
    /// Fails with the first pattern that is empty or not a valid glob.
    pub fn check(declared: &[String]) -> Result<(), GateError> {
        compile(declared).map(drop)
    }

    /// Decides on what `survey` found in `transaction`. Each list of the decision is cut after a
    /// thousand entries; the text lists then say how many more there are.
    ///
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
            strips: survey.strips.iter().take(LISTED_MAX).cloned().collect(),
            notices: Vec::new(),
        };
        let mut stripped = Short::default();
        for strip in &survey.strips {
            stripped.push(|| strip.to_string());
        }
        decision.violate(ViolationKind::Filesystem, stripped);
        if let Some(globs) = &self.declared {
            undeclared(globs, survey, &mut decision)?;
        }
        self.amounts(survey, &mut decision);
        self.protected_files(survey, transaction, &mut decision)?;
        self.links_out(survey, transaction, &mut decision)?;
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
        let rules = Rules::new(&self.rules)?;
        let mut met = Met::default();
        let links: BTreeSet<&Path> = survey.symlinks.iter().map(|(link, _)| &**link).collect();
        let look = repository::Look::at(transaction, survey);
        let look = look.map_err(|source| GateError::Read { source })?;
        for change in &survey.changes {
            let is_link = links.contains(&*change.path);
            let own = self.configures_us(&transaction.layout.workspace, &change.path, is_link);
            let path = change.path.display();
            let class = match look.class(change, is_link) {
                Ok(class) => class,
                // A rule for the path decides as well as it would have; a class is not known.
                Err(error) => {
                    let rule = rules.first(&change.path, None).map(|rule| rule.action);
                    let action = rule.unwrap_or(GateAction::Hold.max(self.protected));
                    let action = if own {
                        action.max(GateAction::Hold)
                    } else {
                        action
                    };
                    met.push(action, || {
                        format!("'{path}' changed and cannot be examined: {}", told(&error))
                    });
                    continue;
                }
            };
            let (action, why) = match (rules.first(&change.path, class), class) {
                (rule, _) if own => (
                    rule.map_or(GateAction::Hold, |it| it.action.max(GateAction::Hold)),
                    protected::SANDBOX,
                ),
                (Some(rule), _) => (rule.action, rule.reason.as_str()),
                (None, Some(class)) => (self.protected, class),
                (None, None) => continue,
            };
            met.push(action, || format!("'{path}' changed: {why}"));
        }
        decision.meet(met);
        Ok(())
    }

    /// Notes new symlinks whose target is not in the workspace, or does what the rules say about them.
    fn links_out(
        &self,
        survey: &Survey,
        transaction: &Transaction,
        decision: &mut GateDecision,
    ) -> Result<(), GateError> {
        let rules = Rules::new(&self.rules)?;
        let mut met = Met::default();
        for (path, target) in &survey.symlinks {
            if !leaves(path, target, &transaction.layout.workspace) {
                continue;
            }
            let rule = rules.first(path, Some(protected::LINK_OUT));
            let action = rule.map_or(GateAction::Report, |rule| rule.action);
            let (path, target) = (path.display(), target.display());
            met.push(action, || {
                format!("the link '{path}' leads out of the workspace, to '{target}'")
            });
        }
        decision.meet(met);
        Ok(())
    }

    fn configures_us(&self, workspace: &Path, path: &Path, is_link: bool) -> bool {
        let path = workspace.join(path);
        let meets = |own: &PathBuf| path.starts_with(own) || is_link && own.starts_with(&path);
        self.own.iter().any(meets)
    }
}

/// Returns an error and its source in one line.
fn told(error: &FileError) -> String {
    format!("{error}: {}", error.source)
}

impl GateDecision {
    fn violate(&mut self, kind: ViolationKind, details: Short) {
        let violations = details.entries().into_iter();
        self.violations
            .extend(violations.map(|detail| Violation { kind, detail }));
    }

    /// Takes over what rules say.
    fn meet(&mut self, met: Met) {
        let refused = [
            (GateOutcome::Discard, met.discard),
            (GateOutcome::Hold, met.hold),
        ];
        for (outcome, met) in refused {
            for notice in met.entries() {
                self.refuse(outcome, notice.clone());
                self.notices.push(notice);
            }
        }
        self.notices.extend(met.report.entries());
    }

    fn refuse(&mut self, outcome: GateOutcome, reason: String) {
        self.outcome = self.outcome.max(outcome);
        self.reasons.push(reason);
    }
}

/// What rules say about changes, by what they do.
#[derive(Default)]
struct Met {
    report: Short,
    hold: Short,
    discard: Short,
}

impl Met {
    fn push(&mut self, action: GateAction, entry: impl FnOnce() -> String) {
        match action {
            GateAction::Allow => {}
            GateAction::Report => self.report.push(entry),
            GateAction::Hold => self.hold.push(entry),
            GateAction::Discard => self.discard.push(entry),
        }
    }
}

/// A list that stays short, whatever a command does.
#[derive(Default)]
struct Short {
    first: Vec<String>,
    count: usize,
}

impl Short {
    fn push(&mut self, entry: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(entry());
        }
    }

    fn entries(self) -> Vec<String> {
        let mut entries = self.first;
        let more = self.count - entries.len();
        if more > 0 {
            entries.push(format!("and {more} more"));
        }
        entries
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
            Stripped::OverlayMarks => {
                write!(f, "the attributes user.overlay.* of '{path}' were left out")
            }
        }
    }
}

fn undeclared(
    globs: &[String],
    survey: &Survey,
    decision: &mut GateDecision,
) -> Result<(), GateError> {
    let declared = compile(globs)?;
    let mut outside = Short::default();
    for change in &survey.changes {
        // Creating a declared file may need directories above it, and a file that came and went
        // moves the time of its directory.
        let path = &change.path;
        let covered = covers(&declared, path)
            || change.kind == ChangeKind::Created && leads_to(globs, path)
            || survey.touched.contains(path);
        if !covered {
            outside.push(|| format!("'{}' is not among the declared files", path.display()));
        }
    }
    if outside.count > 0 {
        decision.refuse(
            GateOutcome::Discard,
            format!(
                "{} changed paths are not among the declared files",
                outside.count
            ),
        );
    }
    decision.violate(ViolationKind::DeclaredFiles, outside);
    Ok(())
}

/// Returns whether a glob matches `path` or a directory above it. The workspace itself, the empty
/// path above all others, is never meant.
pub(crate) fn covers(globs: &GlobSet, path: &Path) -> bool {
    path.ancestors()
        .filter(|path| !path.as_os_str().is_empty())
        .any(|path| globs.is_match(path))
}

pub(crate) fn compile(globs: &[String]) -> Result<GlobSet, GateError> {
    let mut set = GlobSetBuilder::new();
    let bad = |glob: &str| {
        let glob = glob.to_owned();
        |source| GateError::Glob { glob, source }
    };
    for glob in globs {
        let plain = trimmed(glob);
        if plain.is_empty() {
            return Err(GateError::Empty { glob: glob.clone() });
        }
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

#[cfg(test)]
mod tests;
