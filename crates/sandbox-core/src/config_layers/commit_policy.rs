//! Commit policies from YAML, with the place of what is wrong.

use std::{
    io,
    path::{Path, PathBuf},
};

use sandbox_rollback::{GateAction, GateError, GateRule};

use super::{
    seccomp::{check_keys, choose, text},
    small_file::{FILE_BYTES_MAX, SmallFile, Unusable},
    yaml::{self, Field, Kind, Node, Position},
};

/// What becomes of changes by their paths, before they reach the workspace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommitPolicy {
    /// What a change of a built-in protected file means.
    pub protected: GateAction,
    /// The first one that a path meets decides on it.
    pub rules: Vec<GateRule>,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self {
            protected: GateAction::Report,
            rules: Vec::new(),
        }
    }
}

/// A commit policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitPolicyError {
    /// The file cannot be read.
    #[error("cannot read the commit policy {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is too large to be a policy.
    #[error("cannot use the commit policy {}: it has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A guest could have written it.
    #[error("cannot use the commit policy {}: it lies inside of the workspace, where a command could change it", path.display())]
    Inside {
        /// The file.
        path: PathBuf,
    },
    /// The text is no policy.
    #[error("cannot read {name}:{line}:{column}: {problem}")]
    Text {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong, and what could be meant.
        problem: String,
    },
    /// A rule says what none can.
    #[error("cannot use {name}:{line}:{column}")]
    Rule {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong.
        #[source]
        source: GateError,
    },
}

const KEYS: [&str; 2] = ["protected", "rules"];
const RULE_KEYS: [&str; 4] = ["paths", "classes", "action", "reason"];

/// What is wrong, and where.
type Problem = (Position, String);

/// Returns the policy in a file. One inside of `workspace`, if one is given, is refused.
///
/// # Errors
///
/// Fails when the file cannot be read or is no policy.
pub fn commit_policy(
    path: &Path,
    workspace: Option<&Path>,
) -> Result<CommitPolicy, CommitPolicyError> {
    let file = SmallFile::read(path).map_err(|unusable| match unusable {
        Unusable::Read(source) => CommitPolicyError::Read {
            path: path.to_owned(),
            source,
        },
        Unusable::TooLarge => CommitPolicyError::TooLarge {
            path: path.to_owned(),
        },
    })?;
    if workspace.is_some_and(|it| file.real.starts_with(it)) {
        return Err(CommitPolicyError::Inside {
            path: path.to_owned(),
        });
    }
    commit_policy_from_text(&file.text, &path.display().to_string())
}

/// Reads a policy; `name` is the file's name in errors.
///
/// # Errors
///
/// Fails when `text` is not YAML, has unknown keys, or describes no policy.
pub fn commit_policy_from_text(text: &str, name: &str) -> Result<CommitPolicy, CommitPolicyError> {
    let parsed = yaml::parse(text)
        .map_err(|error| (error.at, error.problem))
        .and_then(|tree| policy(&tree));
    let (policy, places) = parsed.map_err(|(at, problem)| CommitPolicyError::Text {
        name: name.to_owned(),
        line: at.line,
        column: at.column,
        problem,
    })?;
    for (rule, at) in policy.rules.iter().zip(places) {
        rule.check().map_err(|source| CommitPolicyError::Rule {
            name: name.to_owned(),
            line: at.line,
            column: at.column,
            source,
        })?;
    }
    Ok(policy)
}

fn policy(tree: &Node) -> Result<(CommitPolicy, Vec<Position>), Problem> {
    check_keys(tree, &KEYS)?;
    let protected = field(tree, "protected").map(|it| choose(&it.node, &GateAction::NAMED));
    let rules = list(field(tree, "rules"), "rules")?;
    let policy = CommitPolicy {
        protected: protected.transpose()?.unwrap_or(GateAction::Report),
        rules: rules.iter().map(rule).collect::<Result<_, _>>()?,
    };
    Ok((policy, rules.iter().map(|node| node.at).collect()))
}

fn rule(node: &Node) -> Result<GateRule, Problem> {
    check_keys(node, &RULE_KEYS)?;
    let texts = |key: &str| -> Result<Vec<String>, Problem> {
        list(field(node, key), "texts")?.iter().map(text).collect()
    };
    let missing = |what: &str| (node.at, format!("{what} is missing"));
    let rule = GateRule {
        paths: texts("paths")?,
        classes: texts("classes")?,
        action: match field(node, "action") {
            Some(action) => choose(&action.node, &GateAction::NAMED)?,
            None => return Err(missing("`action`: allow, report, hold or discard")),
        },
        reason: match field(node, "reason") {
            Some(reason) => text(&reason.node)?,
            None => return Err(missing("`reason`: a few words for the report")),
        },
    };
    if rule.paths.is_empty() && rule.classes.is_empty() {
        return Err(missing("`paths` or `classes`: what the rule is for"));
    }
    Ok(rule)
}

fn field<'a>(node: &'a Node, key: &str) -> Option<&'a Field> {
    node.fields().iter().find(|field| field.key == key)
}

fn list<'a>(field: Option<&'a Field>, of: &str) -> Result<&'a [Node], Problem> {
    let Some(field) = field else { return Ok(&[]) };
    match &field.node.kind {
        Kind::List(items) => Ok(items),
        Kind::Null => Ok(&[]),
        Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Text(_) | Kind::Map(_) => {
            let found = field.node.in_words();
            Err((
                field.node.at,
                format!("expected a list of {of}, found {found}"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let error = commit_policy_from_text(text, "p.yaml").unwrap_err();
        sandbox_types::causes(&error).join(": ")
    }

    #[test]
    fn the_example_is_what_is_built_in() {
        let text = include_str!("../../../../config/policies/commit.yaml");
        let policy = commit_policy_from_text(text, "commit.yaml").unwrap();
        assert_eq!(policy, CommitPolicy::default());
    }

    #[test]
    fn the_commented_rules_of_the_example_can_be_used() {
        let text = include_str!("../../../../config/policies/commit.yaml");
        let text = text.replace("rules: []", "").replace("\n# ", "\n");
        let rules = &text[text.find("rules:").unwrap()..];
        let policy = commit_policy_from_text(rules, "commit.yaml").unwrap();
        assert_eq!(policy.rules.len(), 5);
    }

    #[test]
    fn paths_that_match_nothing_are_refused_with_their_place() {
        for path in [
            "/migrations",
            "/etc/**",
            "../x",
            "a/../b",
            "a//b",
            "a/./b",
            "**/..",
        ] {
            let text = format!("rules: [{{paths: [ok, '{path}'], action: hold, reason: why}}]");
            let said = problem(&text);
            let expected = format!("p.yaml:1:9: cannot use '{path}' as a path pattern: ");
            assert!(said.contains(&expected), "{said}");
        }
        for path in [
            "migrations",
            "./a",
            "a/",
            "**",
            "**/.env",
            ".github/**",
            "..x",
        ] {
            let text = format!("rules: [{{paths: ['{path}'], action: hold, reason: why}}]");
            commit_policy_from_text(&text, "p.yaml").unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(
            problem("rulez: []"),
            "cannot read p.yaml:1:1: unknown key `rulez`; did you mean `rules`?"
        );
        let rule = |rest: &str| problem(&format!("rules:\n  - paths: [a]\n    {rest}"));
        assert!(rule("action: hold").contains("`reason`: a few words"));
        assert!(rule("reason: why").contains("`action`: allow, report, hold or discard"));
        assert!(rule("action: drop\n    reason: why").contains("unknown `drop`"));
        assert!(problem("rules: x").contains("1:8: expected a list of rules"));
        let bad = problem("rules: [{paths: ['a['], action: hold, reason: why}]");
        assert!(bad.contains("p.yaml:1:9: cannot read 'a['"), "{bad}");
        let class = problem("rules: [{classes: [git], action: hold, reason: why}]");
        assert!(class.contains("cannot use 'git' as a class"), "{class}");
    }
}
