//! Rules for paths: the caller's own first, then the built-in classes of protected files.

use std::path::Path;

use globset::GlobSet;

use super::{GateError, compile, covers, protected, trimmed};

/// What a change of a path means.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum GateAction {
    /// It is committed.
    Allow,
    /// It is committed and reported.
    Report,
    /// The operation is held for review.
    Hold,
    /// Nothing of the operation is committed.
    Discard,
}

impl GateAction {
    /// The actions by name.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("allow", Self::Allow),
        ("report", Self::Report),
        ("hold", Self::Hold),
        ("discard", Self::Discard),
    ];
}

/// What is to be done with changes of some paths, and why. It also covers what is deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GateRule {
    /// Globs relative to the workspace, read as those of a declared write set.
    pub paths: Vec<String>,
    /// Built-in classes of protected files, as [`protected_classes`] names them.
    pub classes: Vec<String>,
    /// What it means.
    pub action: GateAction,
    /// Why, for the report.
    pub reason: String,
}

/// Returns the names of the built-in classes of protected files.
pub fn protected_classes() -> Vec<&'static str> {
    protected::classes()
}

impl GateRule {
    /// Makes sure that the rule can be used.
    ///
    /// # Errors
    ///
    /// Fails with the first pattern that is empty, not a valid glob or matches no path in a workspace,
    /// or class that is not known.
    pub fn check(&self) -> Result<(), GateError> {
        compile(&self.paths)?;
        self.paths.iter().try_for_each(|it| can_match(it))?;
        let known = protected_classes();
        let unknown = |class: &&String| !known.contains(&class.as_str());
        match self.classes.iter().find(unknown) {
            None => Ok(()),
            Some(class) => Err(GateError::Class {
                class: class.clone(),
            }),
        }
    }
}

/// Refuses a pattern that no path relative to the workspace matches: a rule that never holds would
/// be taken for protection.
fn can_match(glob: &str) -> Result<(), GateError> {
    let outside = |why| GateError::Outside {
        glob: glob.to_owned(),
        why,
    };
    if glob.starts_with('/') {
        return Err(outside(
            "paths are relative to the workspace, so it begins without '/'",
        ));
    }
    let mut parts = trimmed(glob).split('/');
    if parts.any(|part| matches!(part, "" | "." | "..")) {
        return Err(outside(
            "paths are relative to the workspace, and have no '.', '..' or '//' in them",
        ));
    }
    Ok(())
}

/// The caller's rules, ready to be asked.
pub(super) struct Rules<'a>(Vec<(GlobSet, &'a GateRule)>);

impl<'a> Rules<'a> {
    pub(super) fn new(rules: &'a [GateRule]) -> Result<Self, GateError> {
        let ready = |rule: &'a GateRule| Ok((compile(&rule.paths)?, rule));
        rules.iter().map(ready).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the first rule that the path, or its class, meets.
    pub(super) fn first(&self, path: &Path, class: Option<&str>) -> Option<&'a GateRule> {
        let of_class =
            |rule: &GateRule| class.is_some_and(|it| rule.classes.iter().any(|c| c == it));
        let meets = |(globs, rule): &&(GlobSet, &GateRule)| covers(globs, path) || of_class(rule);
        self.0.iter().find(meets).map(|(_, rule)| *rule)
    }
}
