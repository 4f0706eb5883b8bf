//! Walks a script in order and lists the simple commands that it may run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
};

mod build_files;
mod definitions;
mod evaluated;
mod given;
mod input;
mod output;
mod readings;
mod recursion;
mod uses;
mod written;

use definitions::Case;
use evaluated::is_evaluated;
pub(crate) use given::{Given, named_scripts};
use input::Input;
pub(crate) use output::{is_shell, runs_its_input};
use readings::Readings;
pub(super) use readings::SEPARATORS;
pub(super) use recursion::{first_span, goes_on, is_endless, starts_without_end, waits};
use recursion::{starts_its_own_script, starts_itself_twice};
pub use uses::ScriptUse;
pub(crate) use uses::{may_run_a_file, script_uses};

use super::{
    Context, Node, PipePosition, Pipeline, RawCommand, RawRedirect, RawWord, Redirect,
    RedirectKind, SimpleCommand, Span, Word,
    expand::{Quoting, expand, expand_whole},
    mask::{DEPTH_MAX, Unreadable},
    parse::parse,
    unwrap::{Unwrapped, take_apart},
};

/// The longest text that is read.
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most simple commands that are looked at.
const COMMANDS_MAX: usize = 25_000;
/// Bytes that may be parsed and produced by expansion, nested texts counted again.
const WORK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A variable's value is forgotten when it is longer.
const VALUE_BYTES_MAX: usize = 4096;
/// A `for` loop is walked for so many of its values.
const LOOP_VALUES_MAX: usize = 4;
/// After so many nested texts reading goes on with a new stack of [`STACK_BYTES`].
const LEVELS_PER_STACK: usize = 8;
const STACK_BYTES: usize = 4 * 1024 * 1024;
/// Functions that call functions are followed so far.
const CALL_DEPTH_MAX: usize = 6;

/// Why something could not be looked at, or what the structure itself shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Problem {
    Unparsed,
    TooDeep,
    TooLarge,
    /// A function that starts itself more than once, or an endless loop that waits for nothing.
    ForkBomb,
}

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) commands: Vec<SimpleCommand>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) problems: Vec<(Problem, Span)>,
    /// Whether reading it plainly ([`Given::plain`]) may show something else.
    pub(crate) differs_plainly: bool,
}

/// Where a text stands in the judged text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// Byte 0 is this byte.
    At(usize),
    /// It was made out of this span.
    Within(Span),
}

impl Origin {
    /// Returns where a span of the text stands in the judged text.
    pub(super) fn place(self, (start, end): Span) -> Span {
        match self {
            Self::At(base) => (base + start, base + end),
            Self::Within(span) => span,
        }
    }

    /// Returns the origin of the text that starts at `offset`.
    pub(super) fn at(self, offset: usize) -> Self {
        match self {
            Self::At(base) => Self::At(base + offset),
            Self::Within(_) => self,
        }
    }

    /// Returns the origin of a part that is a slice.
    pub(super) fn within(self, span: Span) -> Self {
        self.at(span.0)
    }
}

/// Reads shell text.
pub(crate) fn read_text(text: &str, given: &Given<'_>) -> Reading {
    let mut reader = Reader::with(given);
    reader.read_nested(text, Origin::At(0));
    reader.read_given_input(given);
    reader.into_reading()
}

/// Reads a program and its arguments; `spans` say where each stands in the judged text.
pub(crate) fn read_argv(argv: &[String], spans: &[Span], given: &Given<'_>) -> Reading {
    let words = argv.iter().zip(spans);
    let words = words.map(|(text, span)| Word::literal(text.as_str(), *span));
    let mut reader = Reader::with(given);
    reader.dispatch(SimpleCommand {
        words: words.collect(),
        span: (0, spans.last().map_or(0, |span| span.1)),
        ..SimpleCommand::default()
    });
    reader.read_given_input(given);
    reader.into_reading()
}

/// Reads one command whose words are known.
pub(crate) fn read_command(command: SimpleCommand) -> Reading {
    let mut reader = Reader::default();
    reader.dispatch(command);
    reader.into_reading()
}

/// What is known while walking.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) commands: Vec<SimpleCommand>,
    pipelines: Vec<Pipeline>,
    problems: Vec<(Problem, Span)>,
    variables: BTreeMap<String, Word>,
    /// Variables that `declare -l` or `-u` made change the case of what they are given.
    cases: BTreeMap<String, Case>,
    /// What the variables that functions declared as their own held before.
    locals: Vec<(String, Option<Word>)>,
    functions: BTreeMap<String, Arc<Node>>,
    aliases: BTreeMap<String, String>,
    /// Text written to files, to be read when they are run.
    files: BTreeMap<String, String>,
    /// Which of them the caller gave.
    given: BTreeSet<String>,
    positional: Vec<Word>,
    /// What `sh -c` calls itself.
    zeroth: Option<Word>,
    calls: Vec<String>,
    /// Of the functions among them.
    bodies: Vec<Arc<Node>>,
    loops: usize,
    directory: Option<String>,
    context: Context,
    pipe: Option<PipePosition>,
    /// What a command here would read.
    input: Input,
    /// What the variables that `read` set held before.
    read_names: Vec<(String, Option<Word>, String)>,
    readings: Readings,
    /// How many loops over lines of the input are around this.
    lines: usize,
    /// Whether what is read into variables is taken as it stands; see [`Given::plain`].
    plain: bool,
    differs_plainly: bool,
    spent_bytes: usize,
}

impl Reader {
    fn into_reading(mut self) -> Reading {
        self.problems.sort_unstable();
        self.problems.dedup();
        let is_cut = self.problems.iter().any(|(it, _)| *it == Problem::TooLarge);
        Reading {
            commands: self.commands,
            pipelines: self.pipelines,
            problems: self.problems,
            differs_plainly: !self.plain && (self.differs_plainly || is_cut),
        }
    }

    pub(super) fn problem(&mut self, problem: Problem, span: Span) {
        // A file that cannot be read as shell text is what the kernel is for.
        if self.context.in_file && problem != Problem::ForkBomb {
            return;
        }
        // One of each kind says enough; the first is the outermost.
        if self.problems.iter().all(|(known, _)| *known != problem) {
            self.problems.push((problem, span));
        }
    }

    /// Counts work; returns false when there was too much.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        self.spent_bytes = self.spent_bytes.saturating_add(bytes);
        let share = if self.plain { 2 } else { 1 };
        let within = self.spent_bytes <= WORK_BYTES_MAX / share
            && self.commands.len() <= COMMANDS_MAX / share;
        if !within {
            self.problem(Problem::TooLarge, (0, 0));
        }
        within
    }

    /// Reads a text that runs as part of this one.
    pub(super) fn read_nested(&mut self, text: &str, origin: Origin) {
        let span = origin.place((0, text.len()));
        if self.context.depth > DEPTH_MAX {
            return self.problem(Problem::TooDeep, span);
        }
        if !self.spend(text.len()) {
            return;
        }
        match parse(text) {
            Ok(nodes) => {
                if starts_its_own_script(&nodes) {
                    self.problem(Problem::ForkBomb, span);
                }
                self.context.depth += 1;
                if self.context.depth.is_multiple_of(LEVELS_PER_STACK) {
                    self.walk_on_new_stack(&nodes, origin);
                } else {
                    self.walk_all(&nodes, origin);
                }
                self.context.depth -= 1;
            }
            Err(Unreadable::Unterminated) => self.problem(Problem::Unparsed, span),
            Err(Unreadable::TooDeep) => self.problem(Problem::TooDeep, span),
        }
    }

    /// Goes on with a stack of its own, so that text cannot exhaust the caller's.
    fn walk_on_new_stack(&mut self, nodes: &[Node], origin: Origin) {
        let walked = thread::scope(|scope| {
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.walk_all(nodes, origin))
                .is_ok_and(|worker| worker.join().is_ok())
        });
        if !walked {
            self.problem(Problem::TooDeep, origin.place((0, 0)));
        }
    }

    fn walk_all(&mut self, nodes: &[Node], origin: Origin) {
        for node in nodes {
            self.walk(node, origin);
        }
    }

    fn walk(&mut self, node: &Node, origin: Origin) {
        match node {
            Node::Simple(command) => self.simple(command, origin),
            Node::Pipeline(stages) => self.pipeline(stages, origin),
            Node::Background(node) => self.walk(node, origin),
            Node::Storm(span) => self.problem(Problem::ForkBomb, origin.place(*span)),
            Node::Group {
                body,
                redirects,
                repeats,
            } => self.group(body, redirects, *repeats, origin),
            Node::For {
                name,
                values,
                body,
                redirects,
            } => {
                self.for_loop(name, values, body, origin);
                let redirects = self.redirects(redirects, origin);
                self.group_redirects(redirects);
            }
            Node::Function { name, body } => {
                if starts_itself_twice(name, body) {
                    let span = origin.place(first_span(body));
                    self.problem(Problem::ForkBomb, span);
                }
                self.functions.insert(name.clone(), Arc::clone(body));
                // bash calls it for any name that it does not find.
                if name == "command_not_found_handle" {
                    let called = SimpleCommand {
                        words: vec![Word::literal(name.as_str(), first_span(body))],
                        span: origin.place(first_span(body)),
                        ..SimpleCommand::default()
                    };
                    self.call(&called);
                }
            }
            Node::Words(words) => {
                for word in words {
                    expand_whole(self, word, origin, Quoting::HereDoc);
                }
            }
        }
    }

    fn for_loop(&mut self, name: &str, values: &[RawWord], body: &[Node], origin: Origin) {
        let values: Vec<Word> = values
            .iter()
            .flat_map(|value| expand(self, value, origin))
            .collect();
        // Loops inside loops would multiply: they are walked once.
        let times = if self.loops == 0 { LOOP_VALUES_MAX } else { 1 };
        self.loops += 1;
        for value in values.iter().take(times) {
            self.set(name, value.clone());
            self.walk_all(body, origin);
        }
        if values.is_empty() {
            self.variables.remove(name);
            self.walk_all(body, origin);
        }
        self.loops -= 1;
    }

    fn simple(&mut self, raw: &RawCommand, origin: Origin) {
        if !self.spend(1) {
            return;
        }
        if let Some(first) = raw.words.first().filter(|word| is_evaluated(&word.text)) {
            return self.evaluated(first, origin);
        }
        self.in_all_readings(raw, origin);
    }

    fn in_one_reading(&mut self, raw: &RawCommand, origin: Origin) {
        let words: Vec<Word> = raw
            .words
            .iter()
            .flat_map(|word| match word.text.as_str() {
                "$@" | "\"$@\"" | "$*" if !self.positional.is_empty() => self.positional.clone(),
                _ => expand(self, word, origin),
            })
            .collect();
        let mut assignments = Vec::new();
        for word in &raw.assignments {
            let (name, value) = self.assignment(word, origin);
            if words.is_empty() {
                self.set(&name, value.clone());
            }
            assignments.push((name, value));
        }
        let redirects = self.redirects(&raw.redirects, origin);
        self.dispatch(SimpleCommand {
            words,
            assignments,
            redirects,
            span: origin.place(raw.span),
            ..SimpleCommand::default()
        });
    }

    fn assignment(&mut self, raw: &RawWord, origin: Origin) -> (String, Word) {
        let (name, value) = raw.text.split_once('=').unwrap_or((&raw.text, ""));
        let start = raw.span.0 + name.len() + 1;
        let array = value.strip_prefix('(').and_then(|v| v.strip_suffix(')'));
        let value = RawWord {
            text: array.unwrap_or(value).to_owned(),
            span: (start + usize::from(array.is_some()), raw.span.1),
        };
        let mut word = expand_whole(self, &value, origin, Quoting::Open);
        let appended = name.strip_suffix('+');
        let name = name.trim_end_matches('+');
        let name = name.split('[').next().unwrap_or(name);
        if let (Some(_), Some(before)) = (appended, self.variables.get(name)) {
            word.text.insert_str(0, &before.text);
            word.known = word.known.max(before.known);
        }
        (name.to_owned(), word)
    }

    fn set(&mut self, name: &str, mut value: Word) {
        match self.cases.get(name) {
            Some(Case::Lower) => value.text = value.text.to_lowercase(),
            Some(Case::Upper) => value.text = value.text.to_uppercase(),
            None => {}
        }
        if value.text.len() <= VALUE_BYTES_MAX {
            self.variables.insert(name.to_owned(), value);
        } else {
            self.variables.remove(name);
        }
    }

    fn redirects(&mut self, raw: &[RawRedirect], origin: Origin) -> Vec<Redirect> {
        raw.iter()
            .map(|redirect| {
                let target = match redirect.kind {
                    RedirectKind::HereDoc { quoted: true } => Word {
                        text: redirect.target.text.clone(),
                        span: origin.place(redirect.target.span),
                        ..Word::default()
                    },
                    RedirectKind::HereDoc { quoted: false } => {
                        expand_whole(self, &redirect.target, origin, Quoting::HereDoc)
                    }
                    RedirectKind::Read
                    | RedirectKind::Script
                    | RedirectKind::Write
                    | RedirectKind::Append
                    | RedirectKind::Duplicate
                    | RedirectKind::HereString => {
                        expand_whole(self, &redirect.target, origin, Quoting::Open)
                    }
                };
                Redirect {
                    kind: redirect.kind,
                    target,
                }
            })
            .collect()
    }

    /// Takes a command apart and lists what it runs.
    fn dispatch(&mut self, mut command: SimpleCommand) {
        command.pipe = self.pipe;
        command.context = self.context;
        self.declarations(&command);
        if self.call(&command) {
            return;
        }
        let outer = self.context;
        match take_apart(&command) {
            Unwrapped::Command => self.plain(command),
            Unwrapped::Inner(inner) => {
                self.push(SimpleCommand {
                    taken_apart: inner.name != "find",
                    ..command.clone()
                });
                for (mut words, fed) in inner.commands {
                    if let Some(text) = self.input.text().filter(|_| fed && inner.name != "find") {
                        given::feed(&mut words, text, &command);
                    }
                    self.context.route = outer.route.max(inner.route);
                    if self.context.depth <= DEPTH_MAX {
                        self.context.depth += 1;
                        self.dispatch(SimpleCommand {
                            words,
                            span: command.span,
                            fed: fed || command.fed,
                            wrappers: [command.wrappers.as_slice(), &[inner.name]].concat(),
                            redirects: command.redirects.clone(),
                            assignments: [command.assignments.clone(), inner.assignments.clone()]
                                .concat(),
                            ..SimpleCommand::default()
                        });
                        self.context.depth -= 1;
                    } else {
                        self.problem(Problem::TooDeep, command.span);
                    }
                }
            }
            Unwrapped::Text {
                text,
                span,
                route,
                positional,
                zeroth,
            } => {
                self.push(SimpleCommand {
                    taken_apart: true,
                    ..command
                });
                self.context.route = outer.route.max(route);
                let outer = std::mem::replace(&mut self.positional, positional);
                let outer_zeroth = std::mem::replace(&mut self.zeroth, zeroth);
                self.read_nested(&text, Origin::Within(span));
                self.positional = outer;
                self.zeroth = outer_zeroth;
            }
        }
        self.context = outer;
    }

    fn push(&mut self, mut command: SimpleCommand) {
        command.pipe = self.pipe;
        command.context = self.context;
        command.index = self.commands.len();
        command.directory.clone_from(&self.directory);
        let written = self.note_written_file(&command);
        let span = command.span;
        self.commands.push(command);
        if let Some((name, text)) = written {
            self.read_written_scripts(&name, &text, span);
        }
    }
}
