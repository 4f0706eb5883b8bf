//! Which names are known.

use super::{class, class_of_link, classes, table::PROTECTED};
use std::path::{Path, PathBuf};

fn is_known(path: &str) -> bool {
    class(Path::new(path)).is_some()
}

#[test]
fn protected_files_are_known_at_any_depth() {
    for path in [
        ".git/hooks/pre-commit",
        "vendor/x/.git/hooks/post-checkout",
        ".config/fish/conf.d/a.fish",
        "sub/.envrc",
        ".git",
        ".git/hooks",
        ".git/commondir",
        "r/commondir",
        "r/gitdir",
        ".git/modules/a/b/config",
        ".git/worktrees/w/config.worktree",
        ".gitattributes",
        "tests/conftest.py",
        "lib/sitecustomize.py",
        ".ssh/authorized_keys",
        ".ssh/rc",
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
        // Hooks that lie deeper, and what hooks run.
        ".husky/_/pre-commit",
        ".lefthook/pre-commit/x.sh",
        ".lintstagedrc.mjs",
        // Editors and what they start.
        "a.code-workspace",
        ".devcontainer.json",
        ".vscode/c_cpp_properties.json",
        "eslint.config.mjs",
        ".prettierrc.cjs",
        ".bsp/x.json",
        "hie.yaml",
        ".project",
        ".helix/languages.toml",
        // On `cd`, by a prompt, at a login.
        ".envrc.local",
        "mise.production.toml",
        "flake.nix",
        ".rvmrc",
        ".bash_aliases",
        ".config/starship.toml",
        ".config/environment.d/x.conf",
        ".Rprofile",
        // Agents.
        ".continue/config.yaml",
        ".agents/skills/x/SKILL.md",
        ".github/prompts/x.md",
        ".roomodes",
        // Tools of which only the name is said.
        ".yarnrc",
        ".yarn/releases/yarn-4.cjs",
        ".mvn/extensions.xml",
        "gradle/wrapper/gradle-wrapper.jar",
        "bunfig.toml",
        "tools/bazel",
        ".venv/lib/python3/site-packages/x.pth",
        "jupyter_server_config.py",
        ".pdbrc",
        // Some file systems have one name for both.
        ".GIT/Hooks/pre-commit",
        "agents.md",
    ] {
        assert!(is_known(path), "{path}");
    }
}

#[test]
fn ordinary_files_are_not_known() {
    for path in [
        ".git/modules/config",
        ".config",
        "hooks/pre-commit",
        "src/main.rs",
        ".git/HEAD",
        ".git/index",
        ".git/refs/heads/main",
        ".git/objects/info/alternates",
        ".claude",
        "x.envrc",
        "model.pth",
        "package.json",
        "tsconfig.json",
        "Makefile",
        "build.rs",
        "Cargo.toml",
        "Dockerfile",
        "compose.yaml",
        "pyproject.toml",
        "setup.py",
        "CMakeLists.txt",
        "CMakePresets.json",
        "vite.config.ts",
        ".gitignore",
        ".editorconfig",
        ".yarn/cache/x.zip",
        "gradle/libs.versions.toml",
        "src/hooks/use-x.ts",
    ] {
        assert!(!is_known(path), "{path}");
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
        "gradle/wrapper",
    ] {
        assert!(known(path), "{path}");
    }
    for free in ["src", ".git/refs", "hooks", "modules/a"] {
        assert!(!known(free), "{free}");
    }
}

/// A row that never decides would be taken for protection.
#[test]
fn each_pattern_finds_what_it_names() {
    for (of, patterns) in PROTECTED {
        for pattern in *patterns {
            let name = pattern.replace("**", "a/b").replace('*', "x");
            let found = class(&PathBuf::from("deep/down").join(name));
            assert_eq!(found, Some(*of), "{pattern}");
        }
        assert!(classes().contains(of));
    }
}
