//! Files that make other programs run something, or that tell agents and editors what to do.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

/// The class of git's own configuration: only some of its keys matter.
pub(super) const GIT_CONFIG: &str = "git configuration that runs programs";

/// The class of what stands where git keeps a directory: a directory there is only what it holds.
pub(super) const GIT_ELSEWHERE: &str = "it leads git to a directory elsewhere";

const VCS_CONFIG: &str = "version control configuration that runs programs";
const TOOL_VERSIONS: &str = "which tools run in the directory";
const DEBUGGER: &str = "commands of a debugger";

/// The class of our own configuration.
pub(super) const SANDBOX: &str = "configuration of the sandbox";

/// The class of links that lead to protected files.
const LINK: &str = "a link on the way to files that run or configure programs";

/// The class of new links that lead out of the workspace.
pub(super) const LINK_OUT: &str = "a link that leads out of the workspace";

/// The class of hooks, also those of a repository that is no `.git`.
pub(super) const GIT_HOOK: &str = "a git hook";

/// What stands in every directory that git takes for a repository, whatever its name: gitrepository-layout(5).
pub(super) const GIT_MARKS: [&str; 3] = ["HEAD", "objects", "refs"];

/// Suffixes of paths, component by component, and what they are. A `*` ends any name; `**` is one
/// name or more.
const PROTECTED: &[(&str, &str)] = &[
    (".git", GIT_ELSEWHERE),
    (".git/hooks", GIT_ELSEWHERE),
    (".git/commondir", GIT_ELSEWHERE),
    (".git/worktrees/*/commondir", GIT_ELSEWHERE),
    (".git/worktrees/*/gitdir", GIT_ELSEWHERE),
    (".git/hooks/*", GIT_HOOK),
    (".git/modules/**/hooks/*", GIT_HOOK),
    (".git/config", GIT_CONFIG),
    (".git/config.worktree", GIT_CONFIG),
    (".git/modules/**/config", GIT_CONFIG),
    (".git/modules/**/config.worktree", GIT_CONFIG),
    (".git/worktrees/*/config*", GIT_CONFIG),
    (".gitattributes", "git attributes, which may name filters"),
    (
        ".git/info/attributes",
        "git attributes, which may name filters",
    ),
    (".gitmodules", "git submodules"),
    (".husky/*", GIT_HOOK),
    (".pre-commit-config.yaml", GIT_HOOK),
    ("lefthook.yml", GIT_HOOK),
    (".hg/hgrc", VCS_CONFIG),
    (".hg/hgrc-not-shared", VCS_CONFIG),
    (".jj/repo/config.toml", VCS_CONFIG),
    (".jj/config.toml", VCS_CONFIG),
    (".jj/workspace-config.toml", VCS_CONFIG),
    (".envrc", "shell commands of direnv"),
    ("mise.toml", TOOL_VERSIONS),
    (".mise.toml", TOOL_VERSIONS),
    ("mise.local.toml", TOOL_VERSIONS),
    (".mise.local.toml", TOOL_VERSIONS),
    (".mise/config.toml", TOOL_VERSIONS),
    (".config/mise/**", TOOL_VERSIONS),
    (".tool-versions", TOOL_VERSIONS),
    ("rust-toolchain.toml", TOOL_VERSIONS),
    ("rust-toolchain", TOOL_VERSIONS),
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
    (".config/git/config", "git configuration of the user"),
    (".ssh/authorized_keys", "who may log in, and what that runs"),
    (".config/autostart/*", "a program that a login starts"),
    (".config/systemd/user/**", "a program that a login starts"),
    (".local/bin/*", "a program of the user"),
    (".config/sandbox/**", SANDBOX),
    (".vscode/tasks.json", "editor tasks"),
    (".vscode/launch.json", "editor tasks"),
    (".vscode/settings.json", "editor configuration"),
    (".vscode/extensions.json", "editor configuration"),
    (".zed/tasks.json", "editor tasks"),
    (".zed/debug.json", "editor tasks"),
    (".zed/settings.json", "editor configuration"),
    (".nvimrc", "editor configuration"),
    (".lvimrc", "editor configuration"),
    (".gdbinit", DEBUGGER),
    (".lldbinit", DEBUGGER),
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
    (".vscode/mcp.json", "agent configuration"),
    (".roo/**", "agent configuration"),
    (".kiro/**", "agent configuration"),
    (".opencode/**", "agent configuration"),
    ("opencode.json", "agent configuration"),
    ("opencode.jsonc", "agent configuration"),
    (".aider.conf.yml", "agent configuration"),
    ("CLAUDE.local.md", "agent instructions"),
    ("GEMINI.md", "agent instructions"),
    (".github/copilot-instructions.md", "agent instructions"),
    (".github/instructions/**", "agent instructions"),
    (".windsurfrules", "agent instructions"),
    (".windsurf/**", "agent instructions"),
    (".clinerules", "agent instructions"),
    (".clinerules/**", "agent instructions"),
    (".roorules", "agent instructions"),
    (".cursorrules", "agent instructions"),
    ("CLAUDE.md", "agent instructions"),
    ("AGENTS.md", "agent instructions"),
    (
        ".cargo/config.toml",
        "build configuration that runs programs",
    ),
    // The old name; cargo still reads it.
    (".cargo/config", "build configuration that runs programs"),
    (".npmrc", "build configuration that runs programs"),
    (".pnpmfile.cjs", "build configuration that runs programs"),
    (".bazelrc", "build configuration that runs programs"),
    (".yarnrc.yml", "build configuration that runs programs"),
    ("conftest.py", "a program that tests load by themselves"),
    ("sitecustomize.py", "a program that Python loads by itself"),
    ("usercustomize.py", "a program that Python loads by itself"),
];

/// Returns the names of all classes, each once.
pub(super) fn classes() -> Vec<&'static str> {
    let mut classes: Vec<_> = PROTECTED.iter().map(|(_, class)| *class).collect();
    classes.extend([LINK, LINK_OUT]);
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Returns what kind of protected file `path` is, if any.
pub(super) fn class(path: &Path) -> Option<&'static str> {
    let parts = parts(path);
    let entry = PROTECTED
        .iter()
        .find(|(pattern, _)| matches(&split(pattern), &parts))?;
    Some(entry.1)
}

/// As [`class`], for a link: one in the place of a directory brings all that its target holds.
pub(super) fn class_of_link(path: &Path) -> Option<&'static str> {
    let parts = parts(path);
    let leads_to = |pattern: &str| {
        let wanted = split(pattern);
        (1..wanted.len()).any(|end| matches(&wanted[..end], &parts))
    };
    class(path).or_else(|| {
        let leads = PROTECTED.iter().any(|(pattern, _)| leads_to(pattern));
        leads.then_some(LINK)
    })
}

fn parts(path: &Path) -> Vec<&[u8]> {
    path.components()
        .map(|component| component.as_os_str().as_bytes())
        .collect()
}

fn split(pattern: &str) -> Vec<&str> {
    pattern.split('/').collect()
}

fn matches(wanted: &[&str], parts: &[&[u8]]) -> bool {
    if let Some(middle) = wanted.iter().position(|name| *name == "**") {
        let (above, last) = (&wanted[..middle], &wanted[middle + 1..]);
        // At least one name is between the two.
        let Some(end) = parts.len().checked_sub(last.len() + 1) else {
            return false;
        };
        return equal(last, &parts[end + 1..])
            && parts[..end]
                .windows(above.len())
                .any(|window| equal(above, window));
    }
    let Some(start) = parts.len().checked_sub(wanted.len()) else {
        return false;
    };
    equal(wanted, &parts[start..])
}

fn equal(wanted: &[&str], parts: &[&[u8]]) -> bool {
    let same = |(wanted, part): (&&str, &&[u8])| match wanted.strip_suffix('*') {
        Some(beginning) => part.starts_with(beginning.as_bytes()),
        None => wanted.as_bytes() == *part,
    };
    wanted.iter().zip(parts).all(same)
}

#[cfg(test)]
mod tests {
    use super::{class, class_of_link};
    use std::path::Path;

    #[test]
    fn protected_files_are_known_at_any_depth() {
        let known = |path: &str| class(Path::new(path)).is_some();
        assert!(known(".git/hooks/pre-commit"));
        assert!(known("vendor/x/.git/hooks/post-checkout"));
        assert!(known(".config/fish/conf.d/a.fish"));
        assert!(known("sub/.envrc"));
        for path in [
            ".git",
            ".git/hooks",
            ".git/commondir",
            ".git/modules/a/b/config",
            ".git/worktrees/w/config.worktree",
            ".gitattributes",
            "tests/conftest.py",
            "lib/sitecustomize.py",
            ".ssh/authorized_keys",
            ".config/autostart/x.desktop",
            ".config/systemd/user/default.target.wants/x.service",
            ".config/git/config",
            ".config/sandbox/config.toml",
            ".local/bin/ls",
            ".hg/hgrc",
            "x/.cargo/config",
            ".vscode/mcp.json",
            ".clinerules/a.md",
            "sub/rust-toolchain",
            ".yarnrc.yml",
        ] {
            assert!(known(path), "{path}");
        }
        for free in [
            ".git/modules/config",
            ".config",
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
    fn links_on_the_way_to_protected_files_are_known() {
        let known = |path: &str| class_of_link(Path::new(path)).is_some();
        for path in [
            ".git",
            ".git/hooks",
            ".git/modules/a",
            ".config",
            ".claude",
            "x/.husky",
        ] {
            assert!(known(path), "{path}");
        }
        for free in ["src", ".git/refs", "hooks", "modules/a"] {
            assert!(!known(free), "{free}");
        }
    }
}
