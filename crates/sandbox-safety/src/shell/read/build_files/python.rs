//! What tools of Python projects run: `tox.ini`, `noxfile.py`, the tasks of `pyproject.toml`.

use super::{rust::words_of_calls, shell_text};
use crate::inline::{self, strings};

/// Returns the commands of all environments of `tox`.
pub(super) fn tox(text: &str) -> Vec<String> {
    let (mut section, mut key) = ("", "");
    let mut found = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        let trimmed = line.trim();
        let mut command = trimmed;
        if trimmed.starts_with('[') && trimmed.ends_with(']') {
            (section, key) = (trimmed.trim_matches(['[', ']']), "");
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            key = name.trim();
            command = value.trim();
        }
        let runs = matches!(key, "commands" | "commands_pre" | "commands_post");
        if runs && section.starts_with("testenv") && !command.is_empty() {
            found.push(command.trim_start_matches(['-', '!', ' ']).to_owned());
        }
    }
    found
}

/// Returns what the sessions of `nox` run.
pub(super) fn nox(text: &str) -> Vec<String> {
    let calls = [
        "session.run(",
        "session.run_always(",
        "session.run_install(",
    ];
    let sessions = words_of_calls(text, &calls);
    let sessions = sessions.iter().map(|words| shell_text(words));
    sessions.chain(inline::shell_strings(text)).collect()
}

/// Returns the tasks that `operands` name, of whichever tool's section.
pub(super) fn tasks(text: &str, operands: &[&str]) -> Vec<String> {
    let mut is_tasks = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') && trimmed.ends_with(']') {
            let section = trimmed.trim_matches(['[', ']']);
            let named = [".tasks", ".scripts"];
            is_tasks = section.starts_with("tool.") && named.iter().any(|it| section.contains(it));
            continue;
        }
        let Some((name, value)) = trimmed.split_once('=').filter(|_| is_tasks) else {
            continue;
        };
        if operands.contains(&name.trim().trim_matches('"')) {
            found.extend(strings(value));
        }
    }
    found
}
