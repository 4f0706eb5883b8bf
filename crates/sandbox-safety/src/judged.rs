//! What an operation that is no command amounts to, told as the command that would do the same.
//!
//! So scripts and work on files have the same rules as what is typed.

use sandbox_types::{FileWork, Script};

use crate::shell::{
    Reading, Redirect, RedirectKind, SimpleCommand, Word, basename, read::is_shell, read_command,
    read_text,
};

/// Reads a script: one for a shell as shell text, any other as a program that its interpreter gets.
/// Spans are bytes of the source.
pub(crate) fn script(script: &Script) -> Reading {
    if let [program] = script.interpreter.as_slice()
        && is_shell(basename(program))
    {
        return read_text(&script.source);
    }
    let words = script.interpreter.iter();
    let source = Word::literal(script.source.as_str(), (0, script.source.len()));
    read_command(SimpleCommand {
        words: words.map(|word| Word::literal(word, (0, 0))).collect(),
        redirects: vec![Redirect {
            kind: RedirectKind::HereDoc { quoted: true },
            target: source,
        }],
        span: (0, script.source.len()),
        ..SimpleCommand::default()
    })
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
