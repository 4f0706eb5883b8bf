//! The table of content rules, and the one automaton that finds their words.
//!
//! A rule is data: words that must be there, a test of what stands around them, and the texts that
//! explain it. The automaton only says where a test is worth running.

mod assignments;
pub(crate) mod files;
mod keys;
mod scripts;
mod shells;
mod system;
mod text;
mod tokens;

#[cfg(test)]
mod tests;

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use sandbox_types::RiskLevel;

use super::{
    nature::{Facts, Nature},
    token::Part,
    window::Window,
};

/// One content rule.
#[derive(Clone, Copy, Debug)]
pub struct ContentRule {
    /// Its id, as in `secret.github-token`.
    pub id: &'static str,
    /// How bad a match is.
    pub severity: RiskLevel,
    /// In which files it looks.
    pub looks_in: LooksIn,
    /// What was found, for people.
    pub message: &'static str,
    /// What to do about it.
    pub suggestion: &'static str,
    pub(crate) when: When,
    /// Texts that it finds. One that begins with `@NAME|` is the content of a file of that name.
    pub matches: &'static [&'static str],
    /// Texts that it leaves alone.
    pub spares: &'static [&'static str],
}

/// In which files a rule looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LooksIn {
    /// In all, also in what is not text.
    Everything,
    /// In text.
    Text,
    /// In text that is not for people: documentation may show what a script must not do.
    Code,
    /// At the name, the size and the first bytes.
    Name,
}

/// When a rule matches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// When one of the beginnings stands there exactly, the parts follow, and the test holds for the
    /// whole token.
    Token(&'static [&'static str], &'static [Part], fn(&[u8]) -> bool),
    /// When one of the words stands there in any case, and the test holds around it. It returns what
    /// shows it. The flag says whether that is a secret.
    Around(&'static [&'static str], fn(&Window<'_>) -> Option<Match>),
    /// When the test holds for the file as a whole. It returns what shows it.
    File(fn(&Facts) -> Option<String>),
    /// When the caller's policy says so: see `ContentPolicy`.
    Policy,
}

/// What shows a match.
#[derive(Clone, Debug)]
pub(crate) enum Match {
    /// This piece of the window, which may be shown.
    Shown(Range<usize>),
    /// A secret: what may be shown of it, and all of it.
    Secret(Range<usize>, Range<usize>),
}

impl ContentRule {
    fn words(&self) -> &'static [&'static str] {
        match self.when {
            When::Token(words, ..) | When::Around(words, _) => words,
            When::File(_) | When::Policy => &[],
        }
    }

    pub(crate) fn looks_into(&self, nature: Nature) -> bool {
        match self.looks_in {
            LooksIn::Everything => true,
            LooksIn::Text => nature != Nature::Binary,
            LooksIn::Code => nature == Nature::Code,
            LooksIn::Name => false,
        }
    }
}

static TABLES: &[&[ContentRule]] = &[
    tokens::RULES,
    keys::RULES,
    assignments::RULES,
    shells::RULES,
    scripts::RULES,
    system::RULES,
    text::RULES,
    files::RULES,
];

/// Returns all content rules, in the order of the reference page.
pub fn content_rules() -> impl Iterator<Item = &'static ContentRule> {
    TABLES.iter().copied().flatten()
}

/// Returns the rule of this id.
pub(crate) fn rule(id: &str) -> Option<&'static ContentRule> {
    content_rules().find(|rule| rule.id == id)
}

/// Returns every word that the automaton looks for.
pub fn content_words() -> impl Iterator<Item = &'static str> {
    content_rules().flat_map(ContentRule::words).copied()
}

/// The words of all rules in one automaton.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) automaton: AhoCorasick,
    /// For each word its rule, by its place in [`content_rules`].
    pub(crate) rules: Vec<(usize, &'static ContentRule)>,
    pub(crate) longest: usize,
}

/// Files up to this size together are searched by the automaton that is quicker to build.
const SMALL_BYTES_MAX: u64 = 256 * 1024;

/// Quick to build: for a process that looks at a few small files.
static SMALL: LazyLock<Option<Words>> =
    LazyLock::new(|| Words::build(AhoCorasickKind::NoncontiguousNFA));
/// Quick to run. The kind is named because the library's own choice falls back to a slower one above
/// a hundred words.
static LARGE: LazyLock<Option<Words>> = LazyLock::new(|| Words::build(AhoCorasickKind::DFA));

impl Words {
    /// Returns the automaton for an amount of text; both find the same.
    pub(crate) fn for_bytes(bytes: u64) -> Option<&'static Self> {
        if bytes > SMALL_BYTES_MAX {
            LARGE.as_ref()
        } else {
            SMALL.as_ref()
        }
    }

    fn build(kind: AhoCorasickKind) -> Option<Self> {
        let rules = content_rules()
            .enumerate()
            .flat_map(|(at, rule)| rule.words().iter().map(move |_| (at, rule)))
            .collect();
        let automaton = AhoCorasick::builder()
            .kind(Some(kind))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .prefilter(false)
            .build(content_words());
        Some(Self {
            automaton: automaton.ok()?,
            rules,
            longest: content_words().map(str::len).max().unwrap_or(0),
        })
    }
}
