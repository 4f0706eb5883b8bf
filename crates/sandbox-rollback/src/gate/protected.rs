//! Files that make other programs run something, or that tell agents and editors what to do.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

/// The class of git's own configuration: only some of its keys matter.
pub(super) const GIT_CONFIG: &str = "git configuration that runs programs";

/// Suffixes of paths, component by component, and what they are. A last `*` is any name; one that
/// ends in `/**` is anything below.
const PROTECTED: [(&str, &str); 45] = [
    (".git/hooks/*", "a git hook"),
    (".git/config", GIT_CONFIG),
    (".git/config.worktree", GIT_CONFIG),
    (
        ".git/info/attributes",
        "git attributes, which may name filters",
    ),
    (".gitmodules", "git submodules"),
    (".husky/*", "a git hook"),
    (".pre-commit-config.yaml", "a git hook"),
    ("lefthook.yml", "a git hook"),
    (".envrc", "shell commands of direnv"),
    (".bashrc", "a shell start file"),
    (".bash_profile", "a shell start file"),
    (".bash_login", "a shell start file"),
    (".bash_logout", "a shell start file"),
    (".profile", "a shell start file"),
    (".zshrc", "a shell start file"),
    (".zshenv", "a shell start file"),
    (".zprofile", "a shell start file"),
    (".zlogin", "a shell start file"),
    (".config/fish/**", "a shell start file"),
    (".inputrc", "a shell start file"),
    (".gitconfig", "git configuration of the user"),
    (".vscode/tasks.json", "editor tasks"),
    (".vscode/launch.json", "editor tasks"),
    (".vscode/settings.json", "editor configuration"),
    (".vscode/extensions.json", "editor configuration"),
    (".devcontainer/**", "editor configuration"),
    (".idea/**", "editor configuration"),
    (".vimrc", "editor configuration"),
    (".exrc", "editor configuration"),
    (".nvim.lua", "editor configuration"),
    (".dir-locals.el", "editor configuration"),
    (".github/workflows/*", "a CI workflow"),
    (".github/actions/**", "a CI workflow"),
    (".gitlab-ci.yml", "a CI workflow"),
    (".circleci/config.yml", "a CI workflow"),
    ("Jenkinsfile", "a CI workflow"),
    (".claude/**", "agent configuration"),
    (".mcp.json", "agent configuration"),
    (".cursor/**", "agent configuration"),
    (".codex/**", "agent configuration"),
    (".gemini/**", "agent configuration"),
    ("CLAUDE.md", "agent instructions"),
    ("AGENTS.md", "agent instructions"),
    (
        ".cargo/config.toml",
        "build configuration that runs programs",
    ),
    (".npmrc", "build configuration that runs programs"),
];

/// Keys of a git configuration whose value is run as a command, or that lead to one, in lower case:
/// the section, and the key or nothing for all keys. See git-config(1).
const GIT_EXECUTABLE: [(&str, &str); 25] = [
    ("core", "fsmonitor"),
    ("core", "hookspath"),
    ("core", "sshcommand"),
    ("core", "editor"),
    ("core", "pager"),
    ("core", "askpass"),
    ("core", "gitproxy"),
    ("core", "alternaterefscommand"),
    ("alias", ""),
    ("pager", ""),
    ("filter", "clean"),
    ("filter", "smudge"),
    ("filter", "process"),
    ("diff", "external"),
    ("diff", "command"),
    ("diff", "textconv"),
    ("merge", "driver"),
    ("credential", "helper"),
    ("gpg", "program"),
    ("sequence", "editor"),
    ("difftool", "cmd"),
    ("mergetool", "cmd"),
    ("include", "path"),
    ("includeif", "path"),
    ("submodule", "update"),
];

/// Returns what kind of protected file `path` is, if any.
pub(super) fn class(path: &Path) -> Option<&'static str> {
    let parts: Vec<&[u8]> = path
        .components()
        .map(|component| component.as_os_str().as_bytes())
        .collect();
    let entry = PROTECTED
        .iter()
        .find(|(pattern, _)| matches(pattern, &parts))?;
    Some(entry.1)
}

fn matches(pattern: &str, parts: &[&[u8]]) -> bool {
    let wanted: Vec<&str> = pattern.split('/').collect();
    let equal = |wanted: &str, part: &[u8]| wanted == "*" || wanted.as_bytes() == part;
    if let [above @ .., "**"] = wanted.as_slice() {
        let below = parts.len().saturating_sub(1);
        return parts[..below]
            .windows(above.len())
            .any(|window| above.iter().zip(window).all(|(w, p)| equal(w, p)));
    }
    let Some(start) = parts.len().checked_sub(wanted.len()) else {
        return false;
    };
    wanted.iter().zip(&parts[start..]).all(|(w, p)| equal(w, p))
}

/// Returns the keys in the text of a git configuration that make git run something.
pub(super) fn git_executable_keys(text: &str) -> Vec<&'static str> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split([' ', '.', ']', '\t', '"']).next().unwrap_or("");
            section = name.to_ascii_lowercase();
            line = rest.rsplit_once(']').map_or("", |(_, after)| after.trim());
        }
        let key = line.split(['=', ' ', '\t']).next().unwrap_or("");
        let key = key.to_ascii_lowercase();
        if key.is_empty() || key.starts_with(['#', ';']) {
            continue;
        }
        let runs = |(s, k): &&(&str, &str)| *s == section && (k.is_empty() || *k == key);
        found.extend(
            GIT_EXECUTABLE
                .iter()
                .find(runs)
                .map(|(section, _)| *section),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{class, git_executable_keys};
    use std::path::Path;

    #[test]
    fn protected_files_are_known_at_any_depth() {
        let known = |path: &str| class(Path::new(path)).is_some();
        assert!(known(".git/hooks/pre-commit"));
        assert!(known("vendor/x/.git/hooks/post-checkout"));
        assert!(known(".config/fish/conf.d/a.fish"));
        assert!(known("sub/.envrc"));
        for free in [
            "hooks/pre-commit",
            "src/main.rs",
            ".git/HEAD",
            ".claude",
            "x.envrc",
        ] {
            assert!(!known(free), "{free}");
        }
    }

    #[test]
    fn only_keys_that_run_something_count() {
        let plain = "[core]\n\tbare = false\n\tfilemode = true\n[remote \"origin\"]\n\turl = x\n";
        assert!(git_executable_keys(plain).is_empty());
        let hostile = "[CORE] fsMonitor = ./x\n[alias]\n  st = !sh\n[filter \"f\"]\nclean=x\n";
        assert_eq!(git_executable_keys(hostile), ["core", "alias", "filter"]);
    }
}
