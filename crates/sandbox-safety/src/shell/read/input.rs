//! What a command reads from its input, as far as the text says it: pipes, redirections of groups, `read`.

use std::{mem, sync::Arc};

use super::{Origin, Reader, definitions};
use crate::shell::{
    Known, Node, PipePosition, Pipeline, RawRedirect, Redirect, RedirectKind, Repeats,
    SimpleCommand, Word,
};

/// A loop over lines of a known text is walked for so many of them.
const LINES_MAX: usize = 16;

/// What a command would read.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    /// All of it, shared by those who may read it; `None` where the text does not say it.
    text: Option<Arc<str>>,
    /// What of it was read already.
    at: usize,
    /// The commands that print it.
    runs: (usize, usize),
    /// Whether it is known who prints it: a pipe, a redirection.
    is_given: bool,
}

impl Input {
    pub(super) fn of(text: Option<Arc<str>>, runs: (usize, usize)) -> Self {
        Self {
            text,
            at: 0,
            runs,
            is_given: true,
        }
    }

    /// Returns all of it.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(super) fn shared(&self) -> Option<Arc<str>> {
        self.text.as_ref().map(Arc::clone)
    }

    /// Returns what is left where something of it was read.
    pub(super) fn remainder(&self) -> Option<Arc<str>> {
        self.rest().filter(|_| self.at > 0).map(Arc::from)
    }

    /// Returns what has not been read.
    fn rest(&self) -> Option<&str> {
        self.text()?.get(self.at..)
    }
}

impl Reader {
    pub(super) fn pipeline(&mut self, stages: &[Node], origin: Origin) {
        let pipeline = self.pipelines.len();
        self.pipelines.push(Pipeline { parent: self.pipe });
        let outer = self.pipe;
        // The first stage reads what is around the pipeline.
        let outer_input = self.input.clone();
        let start = self.commands.len();
        let names = self.read_names.len();
        for (stage, node) in stages.iter().enumerate() {
            self.pipe = Some(PipePosition { pipeline, stage });
            let first = self.commands.len();
            self.walk(node, origin);
            let text = self.text_printed_since(first);
            self.input = Input::of(text, (start, self.commands.len()));
        }
        self.forget_read(names);
        self.input = outer_input;
        self.pipe = outer;
    }

    /// Sets the last variable of `read` to the first line of its text, whatever the options say.
    pub(super) fn read_plainly(&mut self, command: &SimpleCommand) {
        let mut texts = command.redirects.iter().rev().filter(|it| {
            matches!(
                it.kind,
                RedirectKind::HereString | RedirectKind::HereDoc { .. }
            )
        });
        let mut names = command.args().iter().rev().map(|it| it.text.as_str());
        let name = names.find(|it| !it.starts_with('-'));
        if let (Some(text), Some(name)) = (texts.next(), name) {
            let line = text.target.text.lines().next().unwrap_or_default();
            self.set(name, Word::literal(line, text.target.span));
        }
    }

    /// Walks `{ }`, `( )`, `if`, `while`, `case`: a redirection of its input is what `read` gets.
    pub(super) fn group(
        &mut self,
        body: &[Node],
        redirects: &[RawRedirect],
        repeats: Repeats,
        origin: Origin,
    ) {
        let raw = redirects;
        let depends = |it: &RawRedirect| it.target.text.contains(['$', '`']);
        self.differs_plainly |= raw.iter().any(depends);
        if self.plain {
            let outer_endless = self.context.endless;
            self.context.endless |= repeats == Repeats::Endless;
            self.walk_all(body, origin);
            let redirects = self.redirects(raw, origin);
            self.group_redirects(redirects);
            self.context.endless = outer_endless;
            return;
        }
        let redirects = self.redirects(raw, origin);
        let given = self.given_by(&redirects);
        let outer_input = given.map(|given| mem::replace(&mut self.input, given));
        let outer_endless = self.context.endless;
        self.context.endless |= repeats == Repeats::Endless;
        let names = self.read_names.len();
        self.walk_all(body, origin);
        if repeats == Repeats::While {
            self.further_lines(body, origin);
        }
        if let Some(outer) = outer_input {
            self.forget_read(names);
            self.input = outer;
        }
        // In a further round they are what the body has made of them.
        let again = self.redirects(raw, origin);
        let is_other = |(one, other): (&Redirect, &Redirect)| one.target.text != other.target.text;
        if repeats != Repeats::Once && redirects.iter().zip(&again).any(is_other) {
            self.group_redirects(again);
        }
        self.group_redirects(redirects);
        self.context.endless = outer_endless;
    }

    /// A redirection of a whole group is a command without words.
    pub(super) fn group_redirects(&mut self, redirects: Vec<Redirect>) {
        if redirects.is_empty() {
            return;
        }
        let span = redirects.first().map_or((0, 0), |first| first.target.span);
        self.push(SimpleCommand {
            redirects,
            span,
            ..SimpleCommand::default()
        });
    }

    /// Walks a loop's body for the lines that are left; of those behind the last that is looked at nothing is known.
    fn further_lines(&mut self, body: &[Node], origin: Origin) {
        // Loops inside loops would multiply.
        let lines = LINES_MAX >> (self.lines * 2).min(16);
        self.lines += 1;
        for _ in 1..lines {
            let before = self.input.at;
            if before == 0 || self.input.rest().is_none_or(str::is_empty) || !self.spend(1) {
                break;
            }
            self.walk_all(body, origin);
            if self.input.at == before {
                break;
            }
        }
        if self.input.at > 0 && self.input.rest().is_some_and(|rest| !rest.is_empty()) {
            self.input.text = None;
            self.walk_all(body, origin);
        }
        self.lines -= 1;
    }

    /// Returns what a redirection makes of the input, if it makes one of it.
    fn input_of(&self, redirect: &Redirect) -> Option<Input> {
        let target = &redirect.target;
        let text = match redirect.kind {
            RedirectKind::HereString | RedirectKind::HereDoc { .. } => {
                // What is known of it, where a part is not.
                Some(Arc::from(target.text.as_str()))
            }
            RedirectKind::Read => {
                let file = self.files.get(target.text.trim_start_matches("./"));
                file.map(|it| Arc::from(it.as_str()))
            }
            RedirectKind::Write
            | RedirectKind::Append
            | RedirectKind::Duplicate
            | RedirectKind::Script => return None,
        };
        Some(Input::of(text, target.runs))
    }

    /// Returns what the redirections of a command or group make of its input: what is known, if any of them says it.
    fn given_by(&self, redirects: &[Redirect]) -> Option<Input> {
        let mut given: Vec<Input> = redirects
            .iter()
            .filter_map(|it| self.input_of(it))
            .collect();
        let known = given.iter().rposition(|it| it.text.is_some());
        match known {
            Some(at) => Some(given.swap_remove(at)),
            None => given.pop(),
        }
    }

    /// Gives the variables that `read` set since then back what they held: a loop or a stage of a pipeline that reads
    /// to the end leaves nothing in them, and what they held before may be what runs. What was read may run all the
    /// same, and what was assigned since stays.
    fn forget_read(&mut self, names: usize) {
        let forgotten: Vec<_> = self.read_names.drain(names..).rev().collect();
        for (name, before, read) in forgotten {
            let Some(now) = self.variables.get(&name).cloned() else {
                continue;
            };
            if now.text != read {
                continue;
            }
            self.holds_too(&name, now);
            match before {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
    }

    /// Sets the variables of `read` and `mapfile`.
    pub(super) fn read_variables(&mut self, command: &SimpleCommand) {
        let own = self.given_by(&command.redirects);
        let is_own = own.is_some();
        let mut input = own.unwrap_or_else(|| self.input.clone());
        let wanted = Wanted::of(command);
        if !input.is_given
            || is_own && input.text.is_none() && input.runs.0 == input.runs.1
            || wanted.elsewhere && !is_own
        {
            return;
        }
        let names = if wanted.names.is_empty() {
            vec!["REPLY"]
        } else {
            wanted.names.clone()
        };
        // Of so many letters, all are taken: fewer do no more.
        let line = input.rest().map(|rest| {
            if wanted.all {
                (rest.to_owned(), rest.len())
            } else {
                let end = rest.find(wanted.end);
                (
                    rest[..end.unwrap_or(rest.len())].to_owned(),
                    end.map_or(rest.len(), |it| it + 1),
                )
            }
        });
        let Some((line, length)) = line else {
            for name in names {
                let source = format!("${name}");
                let word = Word {
                    known: Known::Unknown,
                    runs: input.runs,
                    ..Word::literal(source, command.span)
                };
                self.set_read(name, word);
            }
            return;
        };
        if !self.spend(line.len()) {
            return;
        }
        input.at += length;
        let line = if wanted.raw {
            line
        } else {
            line.replace('\\', "")
        };
        let separators = command.assignments.iter().find(|(name, _)| name == "IFS");
        let separators = separators
            .map_or("", |(_, value)| value.text.as_str())
            .to_owned();
        let mut rest = line.trim();
        for (index, name) in names.iter().enumerate() {
            let is_last = index + 1 == names.len();
            let part = |c: char| c.is_whitespace() || separators.contains(c);
            let (value, after) = match rest.find(part) {
                Some(at) if !is_last => (&rest[..at], rest[at..].trim_start_matches(part)),
                _ => (rest, ""),
            };
            self.set_read(name, Word::literal(value, command.span));
            rest = after;
        }
        if !is_own {
            self.input = input;
        }
    }

    fn set_read(&mut self, name: &str, value: Word) {
        let before = self.variables.get(name).cloned();
        let read = value.text.clone();
        self.read_names.push((name.to_owned(), before, read));
        self.set_here(name, value);
    }

    /// Sets a variable where nobody says that this command is reached, and in this shell: it may hold what it held.
    pub(super) fn set_here(&mut self, name: &str, value: Word) {
        if let Some(before) = self.variables.get(name).cloned()
            && before.text != value.text
        {
            self.holds_too(name, before);
        }
        self.set(name, value);
    }
}

/// What `read` or `mapfile` is told.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the options of one command, which do not depend on each other"
)]
struct Wanted<'a> {
    names: Vec<&'a str>,
    /// Up to where it reads.
    end: char,
    all: bool,
    raw: bool,
    /// From another descriptor.
    elsewhere: bool,
}

impl<'a> Wanted<'a> {
    fn of(command: &'a SimpleCommand) -> Self {
        let is_read = command.program() == "read";
        let mut wanted = Self {
            names: Vec::new(),
            end: '\n',
            all: !is_read,
            raw: !is_read,
            elsewhere: false,
        };
        let valued = if is_read { "adinNptu" } else { "dnOsuCc" };
        let mut args = command.args().iter().map(|it| it.text.as_str());
        while let Some(text) = args.next() {
            let Some(cluster) = text.strip_prefix('-').filter(|it| !it.is_empty()) else {
                wanted
                    .names
                    .extend(definitions::is_name(text).then_some(text));
                continue;
            };
            wanted.raw |= cluster.contains('r');
            let Some(at) = cluster.find(|c| valued.contains(c)) else {
                continue;
            };
            let letter = cluster[at..].chars().next().unwrap_or(' ');
            let glued = &cluster[at + 1..];
            let value = if glued.is_empty() {
                args.next().unwrap_or("")
            } else {
                glued
            };
            match letter {
                'a' => wanted.names.push(value),
                'd' if is_read => {
                    wanted.all |= value.is_empty();
                    wanted.end = value.chars().next().unwrap_or('\0');
                }
                'u' => wanted.elsewhere = value != "0",
                _ => {}
            }
        }
        wanted
    }
}
