//! How far a remembered approval reaches: to the same operation, to a beginning of its words, or to what was found.
//!
//! Whatever the scope, a rule approves nothing with a finding or a risk that was not approved, and nothing that reaches
//! further: the network, granted paths, secrets and variables are the same.

use sandbox_types::{Action, Effect, Operation, Verdict};
use serde::{Deserialize, Serialize};

/// What a rule approves besides the operation that it was made of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// Nothing: the same operation again.
    #[default]
    Exact,
    /// Commands that begin with the same words, in the same directory.
    Prefix {
        /// How many of them.
        words: usize,
    },
    /// Operations of that type in which nothing else is found, in any directory.
    Findings,
}

/// The shortest beginning: one word is a whole program, whatever it is told to do.
const PREFIX_WORDS_MIN: usize = 2;

impl RuleScope {
    /// Whether it is what rules had before there were others.
    pub(super) fn is_exact(&self) -> bool {
        *self == Self::Exact
    }

    /// Returns what of an action the rule is about; `None` if it can never be about such a one.
    pub(super) fn part_of(self, action: &Action) -> Option<Part<'_>> {
        match (self, action) {
            (Self::Exact, action) => Some(Part::All(action)),
            (Self::Findings, _) => Some(Part::Findings),
            (Self::Prefix { words }, Action::Argv(argv)) => Some(Part::Prefix(argv.get(..words)?)),
            (Self::Prefix { .. }, _) => None,
        }
    }

    /// Returns why no rule of this scope can be made of the operation, if so.
    pub(super) fn refused(self, operation: &Operation, verdict: &Verdict) -> Option<&'static str> {
        let code =
            |effect: &Effect| matches!(effect, Effect::ExecutesUnknown | Effect::ExecutesRemote);
        if self == Self::Exact {
            return None;
        }
        if verdict.findings.is_empty() {
            return Some("nothing was found in it that such a rule could be about");
        }
        if verdict
            .findings
            .iter()
            .any(|it| it.effects.iter().any(code))
        {
            return Some("what it executes is not known from its words");
        }
        let Self::Prefix { words } = self else {
            return None;
        };
        let Action::Argv(argv) = &operation.action else {
            return Some(
                "only a command of words has a beginning, not shell text, a script or a file",
            );
        };
        let is_wrapper = match &verdict.commands[..] {
            [command] => command.argv.first() != argv.first(),
            _ => true,
        };
        if words < PREFIX_WORDS_MIN {
            Some("a beginning has at least two words")
        } else if words > argv.len() {
            Some("it has fewer words than that")
        } else if is_wrapper {
            Some("it executes another command, which its beginning does not name")
        } else if argv[words - 1].starts_with('-') {
            Some("a beginning that ends in an option says nothing of what the option is given")
        } else {
            None
        }
    }
}

/// What of an action a rule is about.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part<'a> {
    Prefix(&'a [String]),
    Findings,
    /// As rules had it before there were scopes.
    #[serde(untagged)]
    All(&'a Action),
}
