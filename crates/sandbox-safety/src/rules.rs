//! The rule table: what each program with which arguments would do.
//!
//! A rule is data: patterns (see `pattern`) or a named test, its score, its effects, what holds it
//! in a sandbox, the words that explain it, and examples of what it matches and what it spares,
//! which a test checks for every rule.

mod agents;
mod database;
mod defence;
mod escape;
pub(crate) mod filesystem;
mod network;
mod obfuscation;
mod persistence;
mod privilege;
mod process;
mod secrets;

pub(crate) use escape::Scripts;

#[cfg(test)]
mod tests;

use std::sync::{LazyLock, OnceLock};

use sandbox_types::Effect;

use crate::{
    flow::Copies,
    gate::Gate,
    inline::Codes,
    lint,
    pack::embedded,
    paths::Places,
    pattern,
    risk::Held,
    shell::{PipePosition, Reading, SimpleCommand, Span},
};

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    /// From 1 to 100, unconfined.
    pub(crate) score: u8,
    pub(crate) effects: &'static [Effect],
    pub(crate) held: Held,
    pub(crate) when: When,
    /// What it would do, for people.
    pub(crate) message: &'static str,
    /// What to do instead.
    pub(crate) suggestion: &'static str,
    /// Commands that it must find.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "examples are checked by the tests")
    )]
    pub(crate) matches: &'static [&'static str],
    /// Commands that it must leave alone.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "examples are checked by the tests")
    )]
    pub(crate) spares: &'static [&'static str],
}

/// What is told of a rule that matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) id: &'a str,
    pub(crate) score: u8,
    pub(crate) effects: &'a [Effect],
    pub(crate) held: Held,
    pub(crate) message: &'a str,
    pub(crate) suggestion: &'a str,
}

impl Rule {
    /// Returns what is told of it.
    pub(crate) const fn told(&self) -> Told<'_> {
        Told {
            id: self.id,
            score: self.score,
            effects: self.effects,
            held: self.held,
            message: self.message,
            suggestion: self.suggestion,
        }
    }
}

/// When a rule matches a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// When it looks like one of these patterns.
    Looks(&'static [&'static str]),
    /// When the test holds; it returns the words that show it.
    Holds(fn(&Scene<'_>, &SimpleCommand) -> Option<Span>),
}

/// A pipeline is followed so many commands to each side, which keeps long scripts linear.
const PIPE_WINDOW: usize = 128;

/// All that a test may look at.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) places: &'a Places,
    pub(crate) gate: Gate,
    pub(crate) pipes: Pipes,
    pub(crate) codes: Codes<'a>,
    pub(crate) scripts: Scripts<'a>,
    /// Files that hold downloads, and files that hold secrets.
    pub(crate) downloads: Copies,
    pub(crate) secrets: Copies,
}

/// Which commands stand in which pipeline, so that nobody looks for them at every command.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// By pipeline: the indices of its commands, in order, each with its stage.
    members: Vec<Vec<(usize, usize)>>,
}

impl Pipes {
    pub(crate) fn of(reading: &Reading) -> Self {
        let mut members = vec![Vec::new(); reading.pipelines.len()];
        for command in &reading.commands {
            for position in positions(reading, command.pipe) {
                if let Some(members) = members.get_mut(position.pipeline) {
                    members.push((command.index, position.stage));
                }
            }
        }
        Self { members }
    }
}

/// Returns where a command stands in its pipeline and in those around it.
fn positions(
    reading: &Reading,
    innermost: Option<PipePosition>,
) -> impl Iterator<Item = PipePosition> {
    std::iter::successors(innermost, |position| {
        reading.pipelines.get(position.pipeline)?.parent
    })
}

impl Scene<'_> {
    /// Returns the commands whose output reaches `command` through pipes.
    pub(crate) fn feeders(&self, command: &SimpleCommand) -> impl Iterator<Item = &SimpleCommand> {
        self.along_the_pipe(command, |feeder, here| feeder < here)
    }

    /// Returns the commands that `command`'s output reaches through pipes.
    pub(crate) fn takers(&self, command: &SimpleCommand) -> impl Iterator<Item = &SimpleCommand> {
        self.along_the_pipe(command, |taker, here| taker > here)
    }

    fn along_the_pipe(
        &self,
        command: &SimpleCommand,
        side: fn(usize, usize) -> bool,
    ) -> impl Iterator<Item = &SimpleCommand> {
        let all = &self.reading.commands;
        let start = command.index.saturating_sub(PIPE_WINDOW);
        let end = command.index + PIPE_WINDOW;
        let mut found: Vec<usize> = Vec::new();
        for own in positions(self.reading, command.pipe) {
            let members = self.pipes.members.get(own.pipeline);
            let members = members.map_or(&[][..], Vec::as_slice);
            let from = members.partition_point(|(index, _)| *index < start);
            let near = members[from..].iter().take_while(|(index, _)| *index < end);
            found.extend(
                near.filter(|(_, stage)| side(*stage, own.stage))
                    .map(|(index, _)| index),
            );
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|index| all.get(index))
    }

    /// Returns the commands that a word's substitutions run.
    pub(crate) fn run_by(&self, (first, end): (usize, usize)) -> &[SimpleCommand] {
        self.reading.commands.get(first..end).unwrap_or(&[])
    }
}

/// The tables, in the order in which equally strong findings are told.
static TABLES: [&[Rule]; 12] = [
    lint::RULES,
    filesystem::RULES,
    network::RULES,
    privilege::RULES,
    defence::RULES,
    persistence::RULES,
    secrets::RULES,
    obfuscation::RULES,
    escape::RULES,
    process::RULES,
    database::RULES,
    agents::RULES,
];

/// Returns all rules.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().chain(&embedded::TABLES).copied().flatten()
}

/// One pattern, with one of the programs that it begins with.
struct Entry {
    program: &'static str,
    rule: &'static Rule,
    pattern: &'static str,
}

type Test = fn(&Scene<'_>, &SimpleCommand) -> Option<Span>;

/// The patterns of programs with one first letter.
struct Letter {
    /// In the order of their programs.
    exact: Vec<Entry>,
    /// Those in whose program's name a `*` stands for anything.
    globs: Vec<Entry>,
}

/// Patterns by the first letter of their program, listed when a program with that letter is first judged: a short
/// process judges one.
static BY_LETTER: [OnceLock<Letter>; LETTERS] = [const { OnceLock::new() }; LETTERS];

const LETTERS: usize = 128;

static TESTS: LazyLock<Vec<(&'static Rule, Test)>> = LazyLock::new(|| {
    let tests = all().filter_map(|rule| match rule.when {
        When::Holds(test) => Some((rule, test)),
        When::Looks(_) => None,
    });
    tests.collect()
});

/// Returns the patterns that are about `program`.
fn entries(program: &str) -> impl Iterator<Item = &'static Entry> {
    let found = BY_LETTER
        .get(letter(program))
        .map(|list| list.get_or_init(|| Letter::of(letter(program))));
    let exact = found.map_or(&[][..], |it| it.exact.as_slice());
    let globs = found.map_or(&[][..], |it| it.globs.as_slice());
    let start = exact.partition_point(|entry| entry.program < program);
    let named = exact[start..]
        .iter()
        .take_while(move |entry| entry.program == program);
    named.chain(
        globs
            .iter()
            .filter(move |entry| pattern::fits(entry.program, program)),
    )
}

impl Letter {
    fn of(letter: usize) -> Self {
        let (mut exact, mut globs) = (Vec::new(), Vec::new());
        for rule in all() {
            let When::Looks(patterns) = rule.when else {
                continue;
            };
            for pattern in patterns {
                let programs = pattern.split(' ').next().unwrap_or(pattern).split('|');
                for program in programs.filter(|program| self::letter(program) == letter) {
                    let list = if program.contains('*') {
                        &mut globs
                    } else {
                        &mut exact
                    };
                    list.push(Entry {
                        program,
                        rule,
                        pattern,
                    });
                }
            }
        }
        exact.sort_by_key(|entry: &Entry| entry.program);
        Self { exact, globs }
    }
}

fn letter(program: &str) -> usize {
    program.bytes().next().map_or(0, usize::from)
}

/// Programs that print their help, and do nothing else, wherever `--help` stands among their own arguments.
const HELPFUL: [&str; 13] = [
    "kubectl",
    "oc",
    "helm",
    "terraform",
    "tofu",
    "pulumi",
    "gcloud",
    "az",
    "heroku",
    "doctl",
    "flyctl",
    "gh",
    "glab",
];

fn asks_for_help(command: &SimpleCommand) -> bool {
    let own = || command.args().iter().take_while(|it| it.text != "--");
    HELPFUL.contains(&command.program()) && own().any(|it| it.text == "--help") && !command.fed
}

/// Returns the rules that match one command, each once, with the span that shows it.
pub(crate) fn matching(scene: &Scene<'_>, command: &SimpleCommand) -> Vec<(&'static Rule, Span)> {
    let mut found: Vec<(&'static Rule, Span)> = Vec::new();
    let mut add = |rule: &'static Rule, span: Span| {
        if found.iter().all(|(known, _)| known.id != rule.id) {
            found.push((rule, span));
        }
    };
    let program = command.program();
    if !program.is_empty() && !asks_for_help(command) {
        for entry in entries(program) {
            if pattern::matches(entry.pattern, command, scene.places) {
                add(entry.rule, command.span);
            }
        }
    }
    for (rule, test) in &*TESTS {
        if let Some(span) = test(scene, command) {
            add(rule, span);
        }
    }
    found
}
