//! What a site allows, asks and denies: by argv prefix, type of operation and workspace.

use std::collections::BTreeSet;

use crate::{
    pattern::{has_option, is_named, valued_options},
    shell::{Known, RedirectKind, Route, SimpleCommand, Word},
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
    /// The words that the command must begin with; `*` stands for anything within a word. To be asked
    /// about or denied, it may have other options among them.
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
            && match self.answer {
                Answer::Allow => self.begins(command) && is_plain(command),
                Answer::Ask | Answer::Deny => {
                    self.begins(command) || self.begins_besides_options(command)
                }
            }
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

    /// Returns whether the command begins so when its other options are left out, wherever they stand.
    fn begins_besides_options(&self, command: &SimpleCommand) -> bool {
        let (Some((program, words)), Some(first)) =
            (self.words.split_first(), command.words.first())
        else {
            return false;
        };
        let called = if program.contains('/') {
            first.text.as_str()
        } else {
            command.program()
        };
        let (options, operands): (Vec<_>, Vec<_>) = words.iter().partition(|it| is_option(it));
        let args = command.args();
        is_named(program, called)
            && options.iter().all(|option| is_given(option, args))
            && follow(&operands, args, valued_options(command.program()))
    }
}

/// Returns whether an option of a grant is given: as it is written, abbreviated, or in a cluster.
fn is_given(option: &str, args: &[Word]) -> bool {
    if args.iter().any(|arg| is_named(option, &arg.text)) {
        return true;
    }
    match option.strip_prefix('-') {
        Some(letters) if !letters.starts_with('-') && !letters.contains(['=', '*', '|']) => {
            let each = |letter: char| has_option(args, &format!("-{letter}"));
            has_option(args, option) || letters.chars().all(each)
        }
        _ => has_option(args, option),
    }
}

/// Returns whether the operands among `args` begin with `operands`. An option that `valued` does not
/// list may have a value or not: both are tried, so that none of them hides what follows.
fn follow(operands: &[&String], args: &[Word], valued: &[&str]) -> bool {
    let count = operands.len();
    // How many operands may have been met before this argument, and before the next one.
    let (mut here, mut next) = (BTreeSet::from([0]), BTreeSet::new());
    for (at, arg) in args.iter().enumerate() {
        let text = arg.text.as_str();
        let rest = &args[at + 1..];
        if text == "--" {
            let begin = |met: &usize| {
                let wanted = &operands[*met..];
                let mut pairs = wanted.iter().zip(rest);
                wanted.len() <= rest.len() && pairs.all(|(it, arg)| is_named(it, &arg.text))
            };
            return here.iter().any(begin);
        }
        let mut after = BTreeSet::new();
        for met in here {
            if met == count {
                return true;
            }
            if !is_option(text) {
                next.extend(is_named(operands[met], text).then_some(met + 1));
                continue;
            }
            // What has a value before the subcommand is something else after it.
            let has_value = met == 0 && valued.contains(&text);
            next.extend((!has_value).then_some(met));
            let may_have = rest.first().is_some_and(|it| !is_option(&it.text));
            after.extend((has_value || may_have).then_some(met));
        }
        (here, next) = (next, after);
    }
    here.contains(&count)
}

fn is_option(text: &str) -> bool {
    text.starts_with('-') && text != "-"
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
