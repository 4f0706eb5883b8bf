//! The rules, one function each.

use std::path::Path;

/// One defect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) what: String,
}

/// Longest file, without its tests.
const LINES_MAX: usize = 500;
/// The only crate with `unsafe`, and where it is there.
const UNSAFE_CRATE: &str = "crates/sandbox-isolation/";
const UNSAFE_HOMES: &[&str] = &[
    "crates/sandbox-isolation/src/sys.rs",
    "crates/sandbox-isolation/src/sys/",
    // The attacking program of the tests makes calls that no safe wrapper passes on.
    "tests/escapes/raw.rs",
];
/// Names that say nothing, and what is asked instead.
const BANNED_ENDINGS: &[&str] = &["Manager", "Helper", "Util", "Utils", "Handler", "Service"];
/// The front doors that keep the names of the customer's components.
const FRONT_DOORS: &[&str] = &[
    "StateManager",
    "RollbackManager",
    "EventHandler",
    "OperationHandler",
];
const BANNED_FILES: &[&str] = &[
    "common.rs",
    "misc.rs",
    "base.rs",
    "util.rs",
    "utils.rs",
    "helper.rs",
    "helpers.rs",
];

/// Words that are written in two parts here, because this file is checked as well.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("un", "implemented!("),
];
const FOREIGN_PATHS: &[&str] = &[
    concat!("/wo", "rk/main"),
    concat!("/wo", "rk/sha", "red"),
    concat!("/wo", "rk/.lib"),
    concat!("../sha", "red"),
];

/// Returns what is wrong with the file at `path` (relative to the workspace).
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut found = foreign_paths(text);
    if Path::new(path).extension().is_some_and(|it| it == "rs") {
        found.extend(header(text));
        found.extend(size(path, text));
        found.extend(names(path, text));
        found.extend(unsafe_code(path, text));
        found.extend(unfinished(text));
        found.extend(suppressions(text));
    }
    found.sort_by_key(|problem| problem.line);
    found
}

/// Nothing leads out of the repository.
fn foreign_paths(text: &str) -> Vec<Problem> {
    lines_with(text, FOREIGN_PATHS, "a path outside of the repository")
}

fn unfinished(text: &str) -> Vec<Problem> {
    lines_with(text, UNFINISHED, "unfinished: do it, or open an issue")
}

fn lines_with(text: &str, words: &[&str], what: &str) -> Vec<Problem> {
    numbered(text)
        .filter_map(|(line, content)| {
            let word = words.iter().find(|word| content.contains(**word))?;
            Some(problem(line, format!("`{word}`: {what}")))
        })
        .collect()
}

/// The first line says what the file is for.
fn header(text: &str) -> Option<Problem> {
    let first = text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|it| it.len() > 3);
    (!says).then(|| {
        problem(
            1,
            "the first line must be `//!` with what the file is for".to_owned(),
        )
    })
}

fn size(path: &str, text: &str) -> Option<Problem> {
    if is_test(path) {
        return None;
    }
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    let counted = tests.unwrap_or(lines.len());
    (counted > LINES_MAX).then(|| {
        problem(
            counted,
            format!("{counted} lines without tests; at most {LINES_MAX}"),
        )
    })
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

fn names(path: &str, text: &str) -> Vec<Problem> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let mut found = Vec::new();
    if BANNED_FILES.contains(&file) {
        found.push(problem(
            1,
            format!("`{file}` says nothing: name what is inside"),
        ));
    }
    for (line, content) in numbered(text) {
        let code = code_of(content);
        let Some(name) = defined_type(&code) else {
            continue;
        };
        let banned = BANNED_ENDINGS.iter().any(|ending| name.ends_with(ending));
        if banned && !FRONT_DOORS.contains(&name) {
            found.push(problem(
                line,
                format!("`{name}`: name what it is, not that it does something"),
            ));
        }
    }
    found
}

/// Returns the name of the type that a line defines.
fn defined_type(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace();
    words.find(|word| matches!(*word, "struct" | "enum" | "trait" | "type" | "union"))?;
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// All `unsafe` lies in one folder of one crate; the other crates forbid it.
fn unsafe_code(path: &str, text: &str) -> Vec<Problem> {
    let is_crate_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    let mut found = Vec::new();
    if is_crate_root && !path.starts_with(UNSAFE_CRATE) && !text.contains("#![forbid(unsafe_code)]")
    {
        found.push(problem(
            1,
            "`#![forbid(unsafe_code)]` is missing".to_owned(),
        ));
    }
    if UNSAFE_HOMES.iter().any(|home| path.starts_with(home)) {
        return found;
    }
    for (line, content) in numbered(text) {
        let code = code_of(content);
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "unsafe") {
            let what = format!("`unsafe` outside of {}", UNSAFE_HOMES.join(" and "));
            found.push(problem(line, what));
        }
    }
    found
}

/// Every suppressed lint says why.
fn suppressions(text: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    for opening in ["#[expect(", "#![expect(", "#[allow(", "#![allow("] {
        for (start, _) in text.match_indices(opening) {
            if code_of(line_at(text, start)).find(opening).is_none() {
                continue;
            }
            let rest = &text[start..];
            let attribute = rest.split(")]").next().unwrap_or(rest);
            if !attribute.contains("reason = ") {
                let line = text[..start].matches('\n').count() + 1;
                found.push(problem(
                    line,
                    "a suppressed lint without a reason".to_owned(),
                ));
            }
        }
    }
    found
}

fn line_at(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |it| it + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Returns a line without its comment and without what stands in quotes. A string that goes over
/// several lines is taken for code: rather a false alarm than a hole.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_quotes = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_quotes => {
                chars.next();
            }
            '"' => in_quotes = !in_quotes,
            '/' if !in_quotes && chars.peek() == Some(&'/') => break,
            // The character literals that would look like the start of a string.
            '\'' if !in_quotes && chars.peek() == Some(&'"') => {
                chars.next();
            }
            _ if !in_quotes => code.push(c),
            _ => {}
        }
    }
    code
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn problem(line: usize, what: String) -> Problem {
    Problem { line, what }
}
