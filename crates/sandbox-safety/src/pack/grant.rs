//! What a site allows, asks and denies: by argv prefix, type of operation and workspace.

use crate::{
    pattern::is_named,
    shell::{Known, RedirectKind, Route, SimpleCommand},
};

/// What a grant answers; the strictest of several counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Answer {
    Allow,
    Ask,
    Deny,
}

/// One entry of `allow`, `ask` or `deny`.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) answer: Answer,
    /// The words that the command must begin with; `*` stands for anything within a word.
    pub(super) words: Vec<String>,
    /// The types of operations; empty is all.
    pub(super) types: Vec<String>,
    /// The workspaces as globs; empty is all.
    pub(super) workspaces: Vec<String>,
    pub(super) why: String,
}

/// What is judged, besides the command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    pub(crate) type_name: &'a str,
    pub(crate) workspace: Option<&'a str>,
}

impl Grant {
    /// Returns whether the grant is about this command.
    pub(super) fn holds(&self, command: &SimpleCommand, occasion: &Occasion<'_>) -> bool {
        let any = |listed: &[String], name: &str| {
            listed.is_empty() || listed.iter().any(|it| is_named(it, name))
        };
        any(&self.types, occasion.type_name)
            && any(&self.workspaces, occasion.workspace.unwrap_or_default())
            && self.begins(command)
            && (self.answer != Answer::Allow || is_plain(command))
    }

    fn begins(&self, command: &SimpleCommand) -> bool {
        command.words.len() >= self.words.len()
            && self.words.iter().enumerate().all(|(index, word)| {
                // A program that is named without its directory is meant wherever it is.
                let text = if index == 0 && !word.contains('/') {
                    command.program()
                } else {
                    command.words[index].text.as_str()
                };
                is_named(word, text)
            })
    }
}

/// Returns whether all that a command does stands in its words: nothing is unknown, added later, set
/// for it or written by its redirections, and it runs here, as who runs it, by its usual name.
fn is_plain(command: &SimpleCommand) -> bool {
    let known = |known: Known| known == Known::Literal;
    let reads = |kind: RedirectKind| matches!(kind, RedirectKind::Read | RedirectKind::Duplicate);
    command
        .words
        .iter()
        .all(|word| known(word.known) && !word.disguised)
        && command
            .words
            .first()
            .is_some_and(|it| !it.text.contains('/'))
        && command.redirects.iter().all(|it| reads(it.kind))
        && command.assignments.is_empty()
        && command.context.route == Route::Direct
        && !command.fed
}
