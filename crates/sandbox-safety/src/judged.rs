//! What an operation that is no command amounts to, told as the command that would do the same.
//!
//! So scripts and work on files have the same rules as what is typed.

use std::collections::BTreeMap;

use sandbox_types::{FileWork, Script, action::SCRIPT_PATH};

use crate::{
    inline::reads_code,
    shell::{
        Reading, SimpleCommand, Word, basename,
        read::{Given, is_shell},
        read_argv, read_command, read_text,
    },
};

/// Reads a script: what its interpreter makes of it, whatever wrappers stand before the interpreter.
/// One of which nothing is known counts as a shell, as far as the source is shell text. Spans are
/// bytes of the source.
pub(crate) fn script(script: &Script, env: &BTreeMap<String, String>, plain: bool) -> Reading {
    let given = Given {
        env: Some(env),
        plain,
        ..Given::default()
    };
    let program = script.interpreter.first().map_or("", |it| basename(it));
    if script.interpreter.len() == 1 && is_shell(program) {
        return read_text(&script.source, &given);
    }
    let files = BTreeMap::from([(SCRIPT_PATH.to_owned(), script.source.clone())]);
    let given = Given {
        files: Some(&files),
        ..given
    };
    let mut argv = script.interpreter.clone();
    argv.push(SCRIPT_PATH.to_owned());
    let spans = vec![(0, script.source.len()); argv.len()];
    let mut reading = read_argv(&argv, &spans, &given);
    let known = |command: &SimpleCommand| {
        is_shell(command.program()) || reads_code(command.program()) || command.taken_apart
    };
    if !reading.commands.iter().any(known) {
        let as_shell = read_text(
            &script.source,
            &Given {
                plain,
                ..Given::default()
            },
        );
        if as_shell.problems.is_empty() {
            reading = as_shell;
        }
    }
    reading
}

/// Reads work on a file. Spans are bytes of the paths joined by blanks.
pub(crate) fn file_work(work: &FileWork) -> Reading {
    let words: Vec<&str> = match work {
        FileWork::Write { path, .. } => vec!["tee", "--", path],
        FileWork::Delete { path, recursive } => {
            let options = if *recursive { "-rf" } else { "-f" };
            vec!["rm", options, "--", path]
        }
        FileWork::Move { from, to } => vec!["mv", "-f", "--", from, to],
    };
    let paths = work.paths();
    let mut at = 0;
    let first_path = words.len() - paths.len();
    let words = words.into_iter().enumerate().map(|(index, word)| {
        if index < first_path {
            return Word::literal(word, (0, 0));
        }
        let span = (at, at + word.len());
        at = span.1 + 1;
        Word::literal(word, span)
    });
    let words: Vec<Word> = words.collect();
    let end = words.last().map_or(0, |word| word.span.1);
    read_command(SimpleCommand {
        words,
        span: (0, end),
        ..SimpleCommand::default()
    })
}

#[cfg(test)]
mod tests;
