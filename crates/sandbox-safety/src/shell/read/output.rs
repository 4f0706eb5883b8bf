//! What commands print and write, and which programs run what they are given.

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

    /// Notes what a command writes to a file, in case the file is run later.
    pub(super) fn note_written_file(&mut self, command: &SimpleCommand) {
        let copied = || {
            let copies = matches!(command.program(), "tee" | "cat" | "sponge");
            self.piped.clone().filter(|_| copies)
        };
        let Some(text) = printed_text(command).or_else(copied) else {
            return;
        };
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
        if let Some((word, kind)) = target {
            let name = word.text.trim_start_matches("./").to_owned();
            self.given.remove(&name);
            let content = self.files.entry(name).or_default();
            if kind == RedirectKind::Write {
                content.clear();
            }
            if content.len() + text.len() <= VALUE_BYTES_MAX * 4 {
                content.push_str(&text);
                content.push('\n');
            }
        }
    }

    /// Returns what the command since `first` prints, when it is only one.
    pub(super) fn text_printed_since(&self, first: usize) -> Option<String> {
        match self.commands.get(first..)? {
            [command] => printed_text(command),
            _ => None,
        }
    }

    /// Returns what a substitution yields, when it is one command whose output is known.
    pub(in crate::shell) fn output_since(&self, first: usize) -> Option<Word> {
        let [command] = self.commands.get(first..)? else {
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

/// Returns the text that a command prints, when the script says it.
fn printed_text(command: &SimpleCommand) -> Option<String> {
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
            for value in args.iter().skip_while(|w| w.text != format.text).skip(1) {
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
