//! What the caller gives with a command: its environment, its input, and the files that it names.

use std::collections::BTreeMap;

use super::{
    Origin, Reader, RedirectKind, SimpleCommand, Span, Word, build_files, is_shell, runs_its_input,
};
use crate::{
    inline,
    shell::{Context, Redirect, Route, basename, unwrap::subcommands::option_texts},
};

/// `xargs` adds at most so many of the words that the text says.
const FED_WORDS_MAX: usize = 64;
/// So many lines of recipes and scripts are read for one command.
pub(super) const SCRIPTS_MAX: usize = 200;

/// What the caller gives with a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) env: Option<&'a BTreeMap<String, String>>,
    /// Texts of files by the names that the command may use for them.
    pub(crate) files: Option<&'a BTreeMap<String, String>>,
    pub(crate) stdin: Option<&'a str>,
    /// Read once more, and plainly: `read` sets only its last name, to the first line of a here-document or
    /// here-string, and for ever; no other input and no `printf -v` is looked at; redirections of groups are those
    /// behind the body. What the first way of reading takes back too early is seen this way.
    pub(crate) plain: bool,
}

impl Reader {
    pub(super) fn with(given: &Given<'_>) -> Self {
        let mut reader = Self {
            plain: given.plain,
            ..Self::default()
        };
        for (name, text) in given.files.into_iter().flatten() {
            let name = name.trim_start_matches("./").to_owned();
            reader.given.insert(name.clone());
            reader.files.insert(name, text.clone());
        }
        let env = given.env.into_iter().flatten();
        let set = |(name, value): (&String, &String)| {
            (name.clone(), Word::literal(value.as_str(), (0, 0)))
        };
        let assignments: Vec<(String, Word)> = env.map(set).collect();
        if !assignments.is_empty() {
            for (name, value) in &assignments {
                reader.set(name, value.clone());
            }
            reader.push(SimpleCommand {
                assignments,
                ..SimpleCommand::default()
            });
        }
        reader
    }

    /// Lists a command that is no wrapper, and reads what it runs besides: its input, a script, code, build
    /// files, options.
    pub(super) fn plain(&mut self, mut command: SimpleCommand) {
        self.attach_script(&mut command);
        self.attach_input(&mut command);
        self.read_build_scripts(&command);
        let text = self.input_that_runs(&command);
        let span = command.span;
        let inner = inline::code_of(&command)
            .map(|(code, _)| inline::shell_strings(code))
            .unwrap_or_default();
        let option_texts = option_texts(&command);
        // It may read all of it, or what others left.
        let given = runs_its_input(&command).then(|| [self.input.shared(), self.input.remainder()]);
        self.push(command);
        if let Some(text) = text {
            self.read_file(&text, span);
        }
        for text in given.into_iter().flatten().flatten() {
            // What runs of it finds nothing left to read.
            let outer = std::mem::take(&mut self.input);
            self.read_nested(&text, Origin::Within(span));
            self.input = outer;
        }
        for text in inner {
            self.read_nested(&text, Origin::Within(span));
        }
        for (text, span, route) in option_texts {
            self.read_given_text(&text, span, route);
        }
    }

    /// Reads the input that was given, if a shell among the commands takes it as its own.
    pub(super) fn read_given_input(&mut self, given: &Given<'_>) {
        let Some(text) = given.stdin else {
            return;
        };
        let is_fed = |command: &&SimpleCommand| {
            let first = command.pipe.is_none_or(|position| position.stage == 0);
            first && command.redirects.is_empty() && runs_its_input(command)
        };
        let shell = self.commands.iter().find(is_fed);
        if let Some(span) = shell.map(|command| command.span) {
            self.read_nested(text, Origin::Within(span));
        }
    }

    /// Gives an interpreter the text of the script that it is to run, if the text is known.
    pub(super) fn attach_script(&self, command: &mut SimpleCommand) {
        if self.files.is_empty() || !inline::reads_code(command.program()) {
            return;
        }
        let mut operands = command
            .args()
            .iter()
            .filter(|word| !word.text.starts_with('-'));
        let text = operands.find_map(|word| {
            let text = self.files.get(word.text.trim_start_matches("./"))?;
            Some(Word::literal(text.as_str(), word.span))
        });
        if let Some(target) = text {
            command.redirects.push(Redirect {
                kind: RedirectKind::Script,
                target,
            });
        }
    }

    /// Gives an interpreter the program that is piped into it, if the text says it.
    fn attach_input(&mut self, command: &mut SimpleCommand) {
        if !inline::reads_code(command.program()) || !inline::interprets_its_input(command) {
            return;
        }
        let has_own = command.redirects.iter().any(|it| {
            matches!(
                it.kind,
                RedirectKind::HereDoc { .. } | RedirectKind::HereString | RedirectKind::Script
            )
        });
        let Some(text) = self.input.shared().filter(|_| !has_own) else {
            return;
        };
        let text = inline::clip(&text);
        if self.spend(text.len()) {
            command.redirects.push(Redirect {
                kind: RedirectKind::Script,
                target: Word::literal(text, command.span),
            });
        }
    }

    /// Reads the recipes and scripts that a build tool would run, if its files are known.
    pub(super) fn read_build_scripts(&mut self, command: &SimpleCommand) {
        if self.files.is_empty() {
            return;
        }
        let files = build_files::named(command);
        if files.is_empty() {
            return;
        }
        let texts = build_files::scripts(command, &self.files);
        let outer = self.context;
        self.context = Context {
            route: outer.route.max(Route::Built),
            in_file: outer.in_file || files.iter().any(|name| self.given.contains(name)),
            ..outer
        };
        for text in texts.into_iter().take(SCRIPTS_MAX) {
            self.read_nested(&text, Origin::Within(command.span));
        }
        self.context = outer;
    }

    /// Reads the shell text that an option carries.
    pub(super) fn read_given_text(&mut self, text: &str, span: Span, route: Route) {
        let outer = self.context;
        self.context.route = outer.route.max(route);
        self.read_nested(text, Origin::Within(span));
        self.context = outer;
    }
}

/// Puts the words of a text where `xargs` would: for its replacement, or at the end.
pub(super) fn feed(words: &mut Vec<Word>, text: &str, command: &SimpleCommand) {
    let mark = replacement(command);
    if let Some(mark) = mark.filter(|mark| words.iter().any(|word| word.text.contains(mark))) {
        let value = text.trim_end();
        for word in words.iter_mut().filter(|word| word.text.contains(&mark)) {
            word.text = word.text.replace(&mark, value);
        }
        return;
    }
    let added = text.split_whitespace().take(FED_WORDS_MAX);
    words.extend(added.map(|word| Word::literal(word, command.span)));
}

/// Returns what `xargs -I MARK` replaces.
fn replacement(command: &SimpleCommand) -> Option<String> {
    let args = command.args();
    let mark = args.iter().enumerate().find_map(|(index, word)| {
        let text = word.text.as_str();
        match text {
            "-I" | "--replace-str" => args.get(index + 1).map(|it| it.text.clone()),
            "-i" | "--replace" => Some("{}".to_owned()),
            _ => text
                .strip_prefix("--replace=")
                .or_else(|| text.strip_prefix("-I"))
                .map(str::to_owned),
        }
    });
    let parallel = command.program() == "parallel";
    let marked = || parallel && args.iter().any(|word| word.text.contains("{}"));
    mark.or_else(|| marked().then(|| "{}".to_owned()))
        .filter(|mark| !mark.is_empty())
}

/// Returns the files that a command would run, by the names that it uses: a caller that gives their
/// texts has them judged too.
pub(crate) fn named_scripts(commands: &[SimpleCommand]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for command in commands {
        let program = command.program();
        let operand = || {
            let mut words = command.args().iter();
            words.find(|word| !word.text.starts_with(['-', '+']))
        };
        names.extend(build_files::named(command));
        let wanted = match program {
            "" => None,
            _ if is_shell(program)
                || matches!(program, "." | "source")
                || inline::reads_code(program) =>
            {
                operand().map(|word| word.text.as_str())
            }
            _ => {
                let first = command.words.first().map(|word| word.text.as_str());
                first.filter(|text| text.contains('/'))
            }
        };
        names.extend(wanted.map(str::to_owned));
    }
    names.retain(|name| {
        !name.is_empty() && !name.contains(['\0', '\n']) && !basename(name).is_empty()
    });
    names.sort_unstable();
    names.dedup();
    names
}
