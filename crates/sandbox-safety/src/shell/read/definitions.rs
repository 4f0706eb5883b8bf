//! Names that a script defines: variables, aliases, functions, the current directory.

use std::sync::Arc;

use super::{CALL_DEPTH_MAX, Origin, Reader, VALUE_BYTES_MAX, output::printed_text};
use crate::shell::{SimpleCommand, Word};

/// The letters that a variable turns its values into.
#[derive(Clone, Copy, Debug)]
pub(super) enum Case {
    Lower,
    Upper,
}

/// Returns whether `text` is a name that a variable may have.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

impl Reader {
    /// Notes what `export`, `alias` and their like define.
    pub(super) fn declarations(&mut self, command: &SimpleCommand) {
        let program = command.program();
        if matches!(program, "cd" | "pushd") {
            let target = command
                .args()
                .iter()
                .find(|word| !word.text.starts_with('-'));
            let target = target.map_or("~", |word| word.text.as_str());
            self.directory = Some(match &self.directory {
                Some(directory) if !target.starts_with(['/', '~']) => {
                    format!("{directory}/{target}")
                }
                _ => target.to_owned(),
            })
            .filter(|directory| directory.len() <= VALUE_BYTES_MAX);
        }
        if matches!(program, "read" | "mapfile" | "readarray") {
            self.differs_plainly = true;
            if self.plain {
                self.read_plainly(command);
            } else {
                self.read_variables(command);
            }
        }
        if program == "printf" && !self.plain {
            self.print_into_variable(command);
        }
        if program == "set" {
            self.set_positional(command);
        }
        let alias = program == "alias";
        let variables = ["export", "declare", "local", "readonly", "typeset"];
        if !alias && !variables.contains(&program) {
            return;
        }
        let mut case = None;
        for argument in command.args() {
            if let Some(letters) = argument.text.strip_prefix('-') {
                case = match letters.chars().find(|it| matches!(it, 'l' | 'u')) {
                    Some('l') => Some(Case::Lower),
                    Some(_) => Some(Case::Upper),
                    None => case,
                };
                continue;
            }
            if let Some(case) = case.filter(|_| !alias) {
                let name = argument.text.split('=').next().unwrap_or_default();
                self.cases.insert(name.to_owned(), case);
            }
            let name = argument.text.split('=').next().unwrap_or_default();
            if !self.calls.is_empty() && matches!(program, "local" | "declare" | "typeset") {
                let before = self.variables.get(name).cloned();
                self.locals.push((name.to_owned(), before));
            }
            let Some((name, value)) = argument.text.split_once('=') else {
                continue;
            };
            if alias {
                self.aliases.insert(name.to_owned(), value.to_owned());
            } else {
                let value = Word {
                    text: value.to_owned(),
                    ..argument.clone()
                };
                self.set(name, value);
            }
        }
    }

    /// Notes what `printf -v NAME FORMAT …` makes of a variable.
    fn print_into_variable(&mut self, command: &SimpleCommand) {
        let [option, name, rest @ ..] = command.args() else {
            return;
        };
        let known = rest.iter().map(|it| it.known).max();
        if option.text != "-v" || !is_name(&name.text) {
            return;
        }
        self.differs_plainly = true;
        let printed = SimpleCommand {
            words: command.words.iter().take(1).chain(rest).cloned().collect(),
            ..SimpleCommand::default()
        };
        if let (Some(text), Some(known)) = (printed_text(&printed), known) {
            let value = Word {
                known,
                ..Word::literal(text, command.span)
            };
            self.set_here(&name.text, value);
        }
    }

    /// Notes what `set -- …` makes of `$1`, `$2` and `$@`.
    fn set_positional(&mut self, command: &SimpleCommand) {
        let args = command.args();
        let is_option = |it: &&Word| it.text.starts_with(['-', '+']) && it.text.len() > 1;
        let options = args.iter().take_while(is_option);
        let end = options.clone().position(|it| it.text == "--");
        let first = end.map_or_else(|| options.count(), |at| at + 1);
        if end.is_some() || first < args.len() {
            self.positional = args[first..].to_vec();
        }
    }

    /// Follows a call of a function or an alias.
    pub(super) fn call(&mut self, command: &SimpleCommand) -> bool {
        let name = match command.words.first() {
            Some(word) if !word.text.is_empty() => word.text.clone(),
            _ => return false,
        };
        let body = self.functions.get(&name).cloned();
        // A function may be defined anew by its own body: then its name is called again, and it is not.
        let is_called = match &body {
            Some(body) => self.bodies.iter().any(|it| Arc::ptr_eq(it, body)),
            None => self.calls.contains(&name),
        };
        if self.calls.len() >= CALL_DEPTH_MAX || is_called {
            return false;
        }
        if let Some(body) = body {
            let outer = std::mem::replace(&mut self.positional, command.args().to_vec());
            self.calls.push(name);
            self.bodies.push(Arc::clone(&body));
            self.push(command.clone());
            let own = self.locals.len();
            self.walk(&body, Origin::Within(command.span));
            for (name, before) in self.locals.drain(own..).rev() {
                match before {
                    Some(value) => self.variables.insert(name, value),
                    None => self.variables.remove(&name),
                };
            }
            self.bodies.pop();
            self.calls.pop();
            self.positional = outer;
            return true;
        }
        if let Some(text) = self.aliases.get(&name).cloned() {
            let rest: Vec<&str> = command.args().iter().map(|w| w.text.as_str()).collect();
            self.calls.push(name);
            self.read_nested(
                &format!("{text} {}", rest.join(" ")),
                Origin::Within(command.span),
            );
            self.calls.pop();
            return true;
        }
        false
    }

    /// Returns what a variable holds, as far as the text says.
    pub(in crate::shell) fn variable(&self, name: &str) -> Option<Word> {
        if let Some(value) = self.variables.get(name) {
            // A value with unknown parts is still better than none.
            return Some(value.clone());
        }
        if name == "0" {
            return self.zeroth.clone();
        }
        if let Ok(index) = name.parse::<usize>() {
            return self.positional.get(index.checked_sub(1)?).cloned();
        }
        if matches!(name, "@" | "*") && !self.positional.is_empty() {
            let texts: Vec<&str> = self.positional.iter().map(|w| w.text.as_str()).collect();
            let mut word = Word::literal(texts.join(" "), (0, 0));
            word.known = self.positional.iter().map(|w| w.known).max()?;
            return Some(word);
        }
        let standard = match name {
            "HOME" => "~",
            "PWD" => ".",
            "PATH" => "/usr/bin",
            "SHELL" | "BASH" => "/bin/sh",
            _ => return None,
        };
        Some(Word::literal(standard, (0, 0)))
    }
}
