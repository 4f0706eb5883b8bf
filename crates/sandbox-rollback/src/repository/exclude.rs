//! What a snapshot leaves out because somebody said so.

use std::path::Path;

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use serde::{Deserialize, Serialize};

/// What a snapshot leaves out. A restore leaves it alone.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Excludes {
    /// Patterns as in a `.gitignore` file at the root of the workspace; the last that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// Files with more bytes, unless a pattern with `!` names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
}

/// A pattern is none of `.gitignore`'s.
#[derive(Debug, thiserror::Error)]
#[error("cannot leave out '{pattern}': it is no pattern of .gitignore")]
pub struct ExcludesError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: ignore::Error,
}

impl Excludes {
    /// Returns whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Leaves the limit of size out: what is small in one state may be large in another.
    pub(super) fn by_name(&self) -> Self {
        Self {
            patterns: self.patterns.clone(),
            larger_than: None,
        }
    }

    pub(super) fn compile(&self) -> Result<Matcher, ExcludesError> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in &self.patterns {
            let failed = |source| ExcludesError {
                pattern: pattern.clone(),
                source,
            };
            builder.add_line(None, pattern).map_err(failed)?;
        }
        let failed = |source| ExcludesError {
            pattern: self.patterns.join(", "),
            source,
        };
        Ok(Matcher {
            patterns: builder.build().map_err(failed)?,
            larger_than: self.larger_than,
        })
    }
}

/// The patterns, ready to be compared with paths.
#[derive(Debug)]
pub(super) struct Matcher {
    patterns: Gitignore,
    larger_than: Option<u64>,
}

impl Matcher {
    pub(super) fn none() -> Self {
        Self {
            patterns: Gitignore::empty(),
            larger_than: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.larger_than.is_none()
    }

    /// Returns whether `path`, relative to the workspace, is left out. What is in a directory that is
    /// left out is not asked for. `file_bytes` is `None` for what is no regular file.
    pub(super) fn covers(&self, path: &Path, is_dir: bool, file_bytes: Option<u64>) -> bool {
        match self.patterns.matched(path, is_dir) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => {
                let limit = self.larger_than;
                file_bytes.is_some_and(|bytes| limit.is_some_and(|limit| bytes > limit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_gitignore() {
        let excludes = Excludes {
            patterns: ["# a comment", "*.o", "/target/", "!keep.o", "doc/**/*.pdf"]
                .map(str::to_owned)
                .into(),
            larger_than: Some(10),
        };
        let matcher = excludes.compile().unwrap();
        let covers = |path: &str| matcher.covers(path.as_ref(), false, Some(1));
        assert!(covers("a.o") && covers("sub/b.o") && covers("doc/a/b.pdf"));
        assert!(!covers("sub/keep.o") && !covers("a.c") && !covers("target"));
        assert!(matcher.covers("target".as_ref(), true, None));
        assert!(!matcher.covers("sub/target".as_ref(), true, None));
        assert!(matcher.covers("big".as_ref(), false, Some(11)));
        assert!(!matcher.covers("keep.o".as_ref(), false, Some(11)));
        assert!(!matcher.covers("dir".as_ref(), true, None));
        assert!(Matcher::none().is_empty() && !matcher.is_empty());
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let excludes = Excludes {
            patterns: vec!["[z-a]".to_owned()],
            larger_than: None,
        };
        let error = excludes.compile().unwrap_err();
        assert!(error.to_string().contains("'[z-a]'"), "{error}");
    }
}
