//! What commands print and write, and which programs run what they are given.

use std::sync::Arc;

use super::{Origin, Reader, VALUE_BYTES_MAX};
use crate::shell::{
    Known, RedirectKind, SimpleCommand, Span, Word, basename, expand::decode_ansi_c,
};

/// Text that a shell runs.
#[derive(Debug)]
pub(super) struct FileText {
    text: String,
    /// Whether it stands in a file that the caller gave.
    given: bool,
}

impl Reader {
    /// Returns the shell text that a shell gets as heredoc, here-string or from a file written here.
    pub(super) fn input_that_runs(&self, command: &SimpleCommand) -> Option<FileText> {
        let program = command.words.first()?;
        if runs_its_input(command) {
            let input = command.redirects.iter().rev().find(|redirect| {
                matches!(
                    redirect.kind,
                    RedirectKind::HereDoc { .. } | RedirectKind::HereString
                )
            });
            if let Some(input) = input {
                return Some(FileText {
                    text: input.target.text.clone(),
                    given: false,
                });
            }
        }
        let script = if is_shell(basename(&program.text))
            || matches!(program.text.as_str(), "." | "source")
        {
            &command
                .args()
                .iter()
                .find(|w| !w.text.starts_with('-'))?
                .text
        } else {
            &program.text
        };
        let name = script.trim_start_matches("./");
        let text = self.files.get(name)?;
        // The first line says which interpreter reads it.
        let other =
            text.starts_with("#!") && !text.lines().next().is_some_and(|line| line.ends_with("sh"));
        (!other).then(|| FileText {
            text: text.clone(),
            given: self.given.contains(name),
        })
    }

    /// Reads what a file holds that is run.
    pub(super) fn read_file(&mut self, file: &FileText, span: Span) {
        let outer = self.context;
        self.context.in_file |= file.given;
        self.read_nested(&file.text, Origin::Within(span));
        self.context = outer;
    }

    /// Notes what a command writes to a file, in case the file is run later; returns the file and the text.
    pub(super) fn note_written_file(
        &mut self,
        command: &SimpleCommand,
    ) -> Option<(String, Arc<str>)> {
        let copied = || {
            let copies = matches!(command.program(), "tee" | "cat" | "sponge");
            self.input.shared().filter(|_| copies)
        };
        if !writes_somewhere(command) {
            return None;
        }
        let printed = printed_text(command).map(|mut text| {
            add_escapes(command, &mut text);
            Arc::from(text)
        });
        let text: Arc<str> = printed.or_else(copied)?;
        let redirect = command
            .redirects
            .iter()
            .find(|redirect| matches!(redirect.kind, RedirectKind::Write | RedirectKind::Append));
        let tee = (command.program() == "tee")
            .then(|| command.args().iter().find(|w| !w.text.starts_with('-')))
            .flatten();
        let target = redirect
            .map(|r| (&r.target, r.kind))
            .or(tee.map(|w| (w, RedirectKind::Write)));
        let (word, kind) = target?;
        let name = word.text.trim_start_matches("./").to_owned();
        self.given.remove(&name);
        let content = self.files.entry(name.clone()).or_default();
        if kind == RedirectKind::Write {
            content.clear();
        }
        if content.len() + text.len() <= VALUE_BYTES_MAX * 4 {
            content.push_str(&text);
            content.push('\n');
        }
        Some((name, text))
    }

    /// Returns what the command since `first` prints, when it is only one.
    pub(super) fn text_printed_since(&mut self, first: usize) -> Option<Arc<str>> {
        let commands = self.commands.get(first..)?;
        // Another reading of the command may print something else, which stands behind what the first prints.
        let is_other =
            |it: &&SimpleCommand| it.context.other_reading && !self.context.other_reading;
        let printing = |it: &&SimpleCommand| !it.taken_apart;
        let mut own = commands.iter().filter(printing).filter(|it| !is_other(it));
        let (Some(command), None) = (own.next(), own.next()) else {
            return None;
        };
        let others = commands.iter().filter(printing).filter(is_other);
        // What passes through is shared, so that a long pipeline holds it once.
        let passes = match command.program() {
            "cat" => command.args().is_empty() && command.redirects.is_empty(),
            "tee" => command.redirects.is_empty(),
            _ => false,
        };
        if passes {
            return self.input.shared();
        }
        let mut text = printed_text(command)?;
        for other in others.filter_map(printed_text) {
            text.push('\n');
            text.push_str(&other);
        }
        add_escapes(command, &mut text);
        self.spend(text.len()).then(|| Arc::from(text))
    }

    /// Returns what a substitution yields, when it is one command whose output is known.
    pub(in crate::shell) fn output_since(&self, first: usize) -> Option<Word> {
        let commands = self.commands.get(first..)?;
        let others = commands
            .iter()
            .position(|it| it.context.other_reading && !self.context.other_reading);
        let [command] = &commands[..others.unwrap_or(commands.len())] else {
            return None;
        };
        if !command.redirects.is_empty() {
            return None;
        }
        let args: Vec<&Word> = command
            .args()
            .iter()
            .filter(|w| !w.text.starts_with('-'))
            .collect();
        let known = args.iter().map(|w| w.known).max().unwrap_or_default();
        let text = match command.program() {
            "echo" | "printf" if known != Known::Unknown => {
                printed_text(command)?.trim_end().to_owned()
            }
            "which" | "command" | "type" | "basename" if args.len() == 1 => args[0].text.clone(),
            "pwd" => ".".to_owned(),
            ":" | "true" | "false" => String::new(),
            "mktemp" => "/tmp/mktemp".to_owned(),
            _ => return None,
        };
        let mut word = Word::literal(text, command.span);
        word.known = known;
        Some(word)
    }
}

/// Adds what `echo` prints where it knows escapes, as in many a `/bin/sh`: other lines.
fn add_escapes(command: &SimpleCommand, text: &mut String) {
    if command.program() == "echo" && text.contains("\\n") {
        let decoded = decode_ansi_c(text);
        text.push('\n');
        text.push_str(&decoded);
    }
}

/// Returns whether a command writes to a file by a redirection, or as `tee` does.
fn writes_somewhere(command: &SimpleCommand) -> bool {
    command.program() == "tee"
        || command
            .redirects
            .iter()
            .any(|it| matches!(it.kind, RedirectKind::Write | RedirectKind::Append))
}

/// Returns the text that a command prints, when the script says it.
pub(super) fn printed_text(command: &SimpleCommand) -> Option<String> {
    let args = command.args();
    match command.program() {
        "echo" => {
            let options = args.iter().take_while(|w| {
                w.text.len() > 1
                    && w.text.starts_with('-')
                    && w.text[1..].bytes().all(|b| b"neE".contains(&b))
            });
            let count = options.clone().count();
            let escapes = options.clone().any(|w| w.text.contains('e'));
            let texts: Vec<&str> = args[count..].iter().map(|w| w.text.as_str()).collect();
            let text = texts.join(" ");
            Some(if escapes { decode_ansi_c(&text) } else { text })
        }
        "printf" => {
            let format = args.iter().find(|w| w.text != "--")?;
            let mut text = decode_ansi_c(&format.text);
            // The format is used again for what is left, which matters where it is `%s `.
            let again = text.clone();
            for (index, value) in args
                .iter()
                .skip_while(|w| w.text != format.text)
                .skip(1)
                .enumerate()
            {
                if index > 0
                    && !text.contains("%s")
                    && again.contains("%s")
                    && text.len() < VALUE_BYTES_MAX
                {
                    text.push_str(&again);
                }
                match text.find("%s").or_else(|| text.find("%b")) {
                    Some(at) => text.replace_range(at..at + 2, &value.text),
                    None => text.push_str(&value.text),
                }
            }
            Some(text)
        }
        "cat" | "tee" => {
            let input = command.redirects.iter().find(|redirect| {
                matches!(
                    redirect.kind,
                    RedirectKind::HereDoc { .. } | RedirectKind::HereString
                )
            })?;
            Some(input.target.text.clone())
        }
        _ => None,
    }
}

/// Returns whether `program` is a shell.
pub(crate) fn is_shell(program: &str) -> bool {
    let program = program.strip_suffix(".exe").unwrap_or(program);
    [
        "sh", "bash", "zsh", "dash", "ksh", "ash", "mksh", "fish", "csh", "tcsh", "rbash",
    ]
    .contains(&program)
}

/// Returns whether a shell would take its commands from its input.
pub(crate) fn runs_its_input(command: &SimpleCommand) -> bool {
    if !is_shell(command.program()) {
        return false;
    }
    let mut args = command.args().iter().map(|w| w.text.as_str());
    while let Some(argument) = args.next() {
        match argument {
            "-" | "-s" | "/dev/stdin" => return true,
            "-o" | "-O" | "--rcfile" | "--init-file" => drop(args.next()),
            option
                if option.starts_with('-') && option.contains('s') && !option.starts_with("--") =>
            {
                return true;
            }
            option if option.starts_with(['-', '+']) => {}
            _ => return false,
        }
    }
    true
}
