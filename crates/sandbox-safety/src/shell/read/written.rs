//! What is written into files that tools run by themselves: scripts of manifests, recipes, hooks, jobs.
//!
//! It is read as what is in a file that the caller gave: only what is serious and plain is told of it.

use std::sync::Arc;

use super::{Origin, Reader, build_files::all_scripts, given::SCRIPTS_MAX};
use crate::{
    inline,
    pattern::is_named,
    shell::{Context, Redirect, RedirectKind, Route, SimpleCommand, Span, Word, basename},
};

/// What is in a file, as far as it is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holds {
    /// Scripts with names, as in `package.json`.
    Manifest,
    /// Lines of shell text, some of them behind a key.
    Lines,
    /// Shell text in strings.
    Strings,
    Python,
}

/// The files, by name or by path; `*` stands for anything.
static FILES: &[(&str, Holds)] = &[
    (
        "package.json|*/package.json|composer.json|*/composer.json|deno.json",
        Holds::Manifest,
    ),
    (
        "Makefile|*/Makefile|makefile|GNUmakefile|*.mk|justfile|Justfile",
        Holds::Lines,
    ),
    (
        "*.github/workflows/*|*.github/actions/*|action.yml|action.yaml|.gitlab-ci.yml|*/.gitlab-ci.yml",
        Holds::Lines,
    ),
    (
        "*.circleci/config.yml|.travis.yml|azure-pipelines.yml|bitbucket-pipelines.yml|*.woodpecker*|*.drone.yml",
        Holds::Lines,
    ),
    (
        "Jenkinsfile|*/Jenkinsfile|Taskfile.yml|lefthook.yml|*.pre-commit-config.yaml|tox.ini|Procfile",
        Holds::Lines,
    ),
    (
        "*.git/hooks/*|*.husky/*|.envrc|*/.envrc|*/postinst|*/preinst|*/PKGBUILD|PKGBUILD",
        Holds::Lines,
    ),
    (
        "*.vscode/tasks.json|*.vscode/launch.json|*.devcontainer/*.json|.devcontainer.json|*.claude/settings*.json",
        Holds::Strings,
    ),
    (
        "*.mcp.json|*.vscode/mcp.json|*.cursor/*.json|*.zed/tasks.json|turbo.json|lerna.json|nx.json|project.json",
        Holds::Strings,
    ),
    (
        "Rakefile|*/Rakefile|Gemfile|*.gemspec|Vagrantfile|binding.gyp|*/binding.gyp|gulpfile.js|Gruntfile.js",
        Holds::Strings,
    ),
    (
        "setup.py|*/setup.py|conftest.py|*/conftest.py|sitecustomize.py|*/sitecustomize.py|noxfile.py|*.pth",
        Holds::Python,
    ),
    (
        "manage.py|fabfile.py|tasks.py|dodo.py|wscript|SConstruct|SConscript|*/hatch_build.py|hatch_build.py",
        Holds::Python,
    ),
];

impl Reader {
    /// Reads the scripts in what was written to `name`, if a tool runs them by itself.
    pub(super) fn read_written_scripts(&mut self, name: &str, text: &Arc<str>, span: Span) {
        if self.context.in_file {
            return;
        }
        let Some((_, holds)) = FILES.iter().find(|(names, _)| is_named(names, name)) else {
            return;
        };
        let outer = self.context;
        let outer_input = std::mem::take(&mut self.input);
        let outer_variables = self.variables.clone();
        self.context = Context {
            in_file: true,
            route: outer.route.max(Route::Built),
            ..outer
        };
        match holds {
            Holds::Manifest => self.read_lines(all_scripts(text), span),
            Holds::Strings => self.read_lines(inline::strings(inline::clip(text)), span),
            Holds::Lines => {
                let joined = inline::clip(text).replace("\\\n", " ");
                self.read_lines(joined.lines().filter_map(line_of_shell), span);
            }
            Holds::Python => self.read_as_code(name, text, span),
        }
        self.variables = outer_variables;
        self.input = outer_input;
        self.context = outer;
    }

    fn read_lines<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>, span: Span) {
        for text in texts.into_iter().take(SCRIPTS_MAX) {
            if text.as_ref().contains([' ', '|', ';']) {
                self.read_nested(text.as_ref(), Origin::Within(span));
            }
        }
    }

    /// Lists an interpreter that runs the text.
    fn read_as_code(&mut self, name: &str, text: &str, span: Span) {
        let text = inline::clip(text);
        if !self.spend(text.len()) {
            return;
        }
        let command = SimpleCommand {
            words: vec![
                Word::literal("python3", span),
                Word::literal(basename(name), span),
            ],
            redirects: vec![Redirect {
                kind: RedirectKind::Script,
                target: Word::literal(text, span),
            }],
            span,
            ..SimpleCommand::default()
        };
        for inner in inline::shell_strings(text) {
            self.read_nested(&inner, Origin::Within(span));
        }
        self.push(command);
    }
}

/// Returns what of a line of a recipe or of a job may be shell text: what stands behind `- `, `run:` or a tab.
fn line_of_shell(line: &str) -> Option<&str> {
    let mut text = line.trim().trim_start_matches(['@', '-', '+']).trim_start();
    for key in [
        "run:", "script:", "command:", "cmd:", "sh:", "bash:", "entry:", "cmds:", "export",
    ] {
        text = text.strip_prefix(key).unwrap_or(text).trim_start();
    }
    let text = text.trim_matches(['"', '\'', '|', '>']).trim();
    (!text.is_empty() && !text.starts_with('#')).then_some(text)
}
