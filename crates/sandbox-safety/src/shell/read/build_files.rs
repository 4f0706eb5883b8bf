//! What build tools run because a file beside them says so, as far as the caller gives the file.

mod just;
mod makefile;
mod manifests;
mod python;
mod rust;

use std::collections::BTreeMap;

use crate::{inline, shell::SimpleCommand};

/// Texts of files by their names.
pub(super) type Files = BTreeMap<String, String>;

/// A tool, and the files that say what it runs.
struct Tool {
    programs: &'static [&'static str],
    /// The options that name another directory, and another file.
    directory: &'static [&'static str],
    file: &'static [&'static str],
    files: &'static [&'static str],
    /// Returns what it runs with these operands, by the name and text of one of its files.
    runs: fn(&str, &str, &[&str]) -> Vec<String>,
}

const TOOLS: &[Tool] = &[
    Tool {
        programs: &["make", "gmake"],
        directory: &["-C", "--directory"],
        file: &["-f", "--file", "--makefile"],
        files: &["GNUmakefile", "makefile", "Makefile"],
        runs: |_, text, operands| makefile::Makefile::read(text).recipes(operands),
    },
    Tool {
        programs: &["npm", "pnpm", "yarn", "bun"],
        directory: &["--prefix", "-C", "--dir", "--cwd"],
        file: &[],
        files: &["package.json"],
        runs: |_, text, operands| manifests::package(text, operands),
    },
    Tool {
        programs: &["composer"],
        directory: &["-d", "--working-dir"],
        file: &[],
        files: &["composer.json"],
        runs: |_, text, operands| manifests::composer(text, operands),
    },
    Tool {
        programs: &["deno"],
        directory: &["--cwd"],
        file: &["-c", "--config"],
        files: &["deno.json"],
        runs: |_, text, operands| manifests::deno(text, operands),
    },
    Tool {
        programs: &["task", "go-task"],
        directory: &["-d", "--dir"],
        file: &["-t", "--taskfile"],
        files: &["Taskfile.yml", "Taskfile.yaml", "taskfile.yml"],
        runs: |_, text, operands| manifests::taskfile(text, operands),
    },
    Tool {
        programs: &["cargo"],
        directory: &["-C"],
        file: &[],
        files: &["build.rs", ".cargo/config.toml", ".cargo/config"],
        runs: rust::cargo,
    },
    Tool {
        programs: &["just"],
        directory: &["-d", "--working-directory"],
        file: &["-f", "--justfile"],
        files: &["justfile", "Justfile", ".justfile"],
        runs: |_, text, operands| just::recipes(text, operands),
    },
    Tool {
        programs: &["tox"],
        directory: &["--root"],
        file: &["-c", "--conf"],
        files: &["tox.ini", "setup.cfg"],
        runs: |_, text, _| python::tox(text),
    },
    Tool {
        programs: &["nox"],
        directory: &[],
        file: &["-f", "--noxfile"],
        files: &["noxfile.py"],
        runs: |_, text, _| python::nox(text),
    },
    Tool {
        programs: &["poe", "pdm", "rye", "taskipy", "poetry", "hatch", "uv"],
        directory: &["-C", "--project", "-p"],
        file: &[],
        files: &["pyproject.toml"],
        runs: |_, text, operands| python::tasks(text, operands),
    },
    Tool {
        programs: &["rake"],
        directory: &[],
        file: &["-f", "--rakefile"],
        files: &["Rakefile", "rakefile"],
        runs: |_, text, _| inline::shell_strings(text),
    },
];

/// Returns the files that a command would look into, by the names that it uses.
pub(super) fn named(command: &SimpleCommand) -> Vec<String> {
    let Some(tool) = tool_of(command) else {
        return Vec::new();
    };
    let directory = value(command, tool.directory)
        .map(|it| it.trim_start_matches("./").trim_end_matches('/'))
        .filter(|it| !it.is_empty() && *it != ".");
    let within =
        |name: &str| directory.map_or_else(|| name.to_owned(), |it| format!("{it}/{name}"));
    match value(command, tool.file) {
        Some(file) => vec![within(file.trim_start_matches("./"))],
        None => tool.files.iter().map(|name| within(name)).collect(),
    }
}

/// Returns the shell texts that a command would run because one of `files` says so.
pub(super) fn scripts(command: &SimpleCommand, files: &Files) -> Vec<String> {
    let Some(tool) = tool_of(command) else {
        return Vec::new();
    };
    let own = [tool.directory, tool.file].concat();
    let mut operands = Vec::new();
    let mut is_value = false;
    for word in command.args() {
        let text = word.text.as_str();
        if !is_value && !text.starts_with(['-', '+']) {
            operands.push(text);
        }
        is_value = own.contains(&text);
    }
    let named = named(command);
    let known = named
        .iter()
        .filter_map(|name| Some((name, files.get(name)?)));
    // One Makefile hides the others; a build script and a configuration both count.
    let counted = if tool.programs == ["cargo"] {
        usize::MAX
    } else {
        1
    };
    known
        .take(counted)
        .flat_map(|(name, text)| (tool.runs)(name, text, &operands))
        .collect()
}

fn tool_of(command: &SimpleCommand) -> Option<&'static Tool> {
    let program = command.program();
    TOOLS.iter().find(|tool| tool.programs.contains(&program))
}

/// Returns the value of the first of these options.
fn value<'a>(command: &'a SimpleCommand, options: &[&str]) -> Option<&'a str> {
    let args = command.args();
    args.iter().enumerate().find_map(|(index, word)| {
        let text = word.text.as_str();
        if options.contains(&text) {
            return args.get(index + 1).map(|it| it.text.as_str());
        }
        options.iter().find_map(|option| {
            let rest = text.strip_prefix(option)?;
            if option.starts_with("--") {
                rest.strip_prefix('=')
            } else {
                Some(rest)
            }
        })
    })
}

/// Returns all scripts of a manifest, whichever tool it belongs to.
pub(super) fn all_scripts(text: &str) -> Vec<String> {
    manifests::all(text)
}

/// Returns words as the shell text that means them.
fn shell_text<W: AsRef<str>>(words: &[W]) -> String {
    let quoted = words
        .iter()
        .map(|word| format!("'{}'", word.as_ref().replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
