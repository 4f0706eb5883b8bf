//! What the caller gives with a command: its environment, its input, and the files that it names.

use std::collections::BTreeMap;

use super::{Origin, Reader, RedirectKind, SimpleCommand, Span, Word, is_shell, runs_its_input};
use crate::{
    inline,
    shell::{Context, Redirect, Route, basename, unwrap::subcommands::option_texts},
};

/// `xargs` adds at most so many of the words that the text says.
const FED_WORDS_MAX: usize = 64;
/// A recipe of a Makefile may ask for other targets so deep.
const TARGETS_DEPTH_MAX: usize = 8;
/// So many lines of recipes and scripts are read for one command.
const SCRIPTS_MAX: usize = 200;

/// What the caller gives with a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) env: Option<&'a BTreeMap<String, String>>,
    /// Texts of files by the names that the command may use for them.
    pub(crate) files: Option<&'a BTreeMap<String, String>>,
    pub(crate) stdin: Option<&'a str>,
}

impl Reader {
    pub(super) fn with(given: &Given<'_>) -> Self {
        let mut reader = Self::default();
        for (name, text) in given.files.into_iter().flatten() {
            let name = name.trim_start_matches("./").to_owned();
            reader.given.insert(name.clone());
            reader.files.insert(name, text.clone());
        }
        let env = given.env.into_iter().flatten();
        let set = |(name, value): (&String, &String)| {
            (name.clone(), Word::literal(value.as_str(), (0, 0)))
        };
        let assignments: Vec<(String, Word)> = env.map(set).collect();
        if !assignments.is_empty() {
            for (name, value) in &assignments {
                reader.set(name, value.clone());
            }
            reader.push(SimpleCommand {
                assignments,
                ..SimpleCommand::default()
            });
        }
        reader
    }

    /// Lists a command that is no wrapper, and reads what it runs besides: its input, a script, code, build
    /// files, options.
    pub(super) fn plain(&mut self, mut command: SimpleCommand) {
        self.attach_script(&mut command);
        self.read_build_scripts(&command);
        let text = self.input_that_runs(&command);
        let span = command.span;
        let inner = inline::code_of(&command)
            .map(|(code, _)| inline::shell_strings(&code))
            .unwrap_or_default();
        let option_texts = option_texts(&command);
        self.push(command);
        if let Some(text) = text {
            self.read_file(&text, span);
        }
        for text in inner {
            self.read_nested(&text, Origin::Within(span));
        }
        for (text, span, route) in option_texts {
            self.read_given_text(&text, span, route);
        }
    }

    /// Reads the input that was given, if a shell among the commands takes it as its own.
    pub(super) fn read_given_input(&mut self, given: &Given<'_>) {
        let Some(text) = given.stdin else {
            return;
        };
        let is_fed = |command: &&SimpleCommand| {
            let first = command.pipe.is_none_or(|position| position.stage == 0);
            first && command.redirects.is_empty() && runs_its_input(command)
        };
        let shell = self.commands.iter().find(is_fed);
        if let Some(span) = shell.map(|command| command.span) {
            self.read_nested(text, Origin::Within(span));
        }
    }

    /// Gives an interpreter the text of the script that it is to run, if the text is known.
    pub(super) fn attach_script(&self, command: &mut SimpleCommand) {
        if self.files.is_empty() || !inline::reads_code(command.program()) {
            return;
        }
        let mut operands = command
            .args()
            .iter()
            .filter(|word| !word.text.starts_with('-'));
        let text = operands.find_map(|word| {
            let text = self.files.get(word.text.trim_start_matches("./"))?;
            Some(Word::literal(text.as_str(), word.span))
        });
        if let Some(target) = text {
            command.redirects.push(Redirect {
                kind: RedirectKind::Script,
                target,
            });
        }
    }

    /// Reads the recipes and scripts that a build tool would run, if its files are known.
    pub(super) fn read_build_scripts(&mut self, command: &SimpleCommand) {
        if self.files.is_empty() {
            return;
        }
        let texts = self.build_scripts(command);
        let outer = self.context;
        let given = ["Makefile", "makefile", "GNUmakefile", "package.json"];
        self.context = Context {
            route: outer.route.max(Route::Built),
            in_file: outer.in_file || given.iter().any(|name| self.given.contains(*name)),
            ..outer
        };
        for text in texts.into_iter().take(SCRIPTS_MAX) {
            self.read_nested(&text, Origin::Within(command.span));
        }
        self.context = outer;
    }

    /// Reads the shell text that an option carries.
    pub(super) fn read_given_text(&mut self, text: &str, span: Span, route: Route) {
        let outer = self.context;
        self.context.route = outer.route.max(route);
        self.read_nested(text, Origin::Within(span));
        self.context = outer;
    }

    fn build_scripts(&self, command: &SimpleCommand) -> Vec<String> {
        let operands = command.args().iter().map(|word| word.text.as_str());
        let operands: Vec<&str> = operands.filter(|text| !text.starts_with('-')).collect();
        match command.program() {
            "make" | "gmake" => {
                let named = ["GNUmakefile", "makefile", "Makefile"];
                let file = named.iter().find_map(|name| self.files.get(*name));
                let stated = operands.iter().find_map(|name| self.files.get(*name));
                let Some(text) = stated.or(file) else {
                    return Vec::new();
                };
                let targets = operands.iter().filter(|it| !self.files.contains_key(**it));
                Makefile::read(text).recipes(&targets.copied().collect::<Vec<_>>())
            }
            "npm" | "pnpm" | "yarn" | "bun" => {
                let text = self.files.get("package.json");
                text.map(|text| package_scripts(text, &operands))
                    .unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// Puts the words of a text where `xargs` would: for its replacement, or at the end.
pub(super) fn feed(words: &mut Vec<Word>, text: &str, command: &SimpleCommand) {
    let mark = replacement(command);
    if let Some(mark) = mark.filter(|mark| words.iter().any(|word| word.text.contains(mark))) {
        let value = text.trim_end();
        for word in words.iter_mut().filter(|word| word.text.contains(&mark)) {
            word.text = word.text.replace(&mark, value);
        }
        return;
    }
    let added = text.split_whitespace().take(FED_WORDS_MAX);
    words.extend(added.map(|word| Word::literal(word, command.span)));
}

/// Returns what `xargs -I MARK` replaces.
fn replacement(command: &SimpleCommand) -> Option<String> {
    let args = command.args();
    let mark = args.iter().enumerate().find_map(|(index, word)| {
        let text = word.text.as_str();
        match text {
            "-I" | "--replace-str" => args.get(index + 1).map(|it| it.text.clone()),
            "-i" | "--replace" => Some("{}".to_owned()),
            _ => text
                .strip_prefix("--replace=")
                .or_else(|| text.strip_prefix("-I"))
                .map(str::to_owned),
        }
    });
    let parallel = command.program() == "parallel";
    let marked = || parallel && args.iter().any(|word| word.text.contains("{}"));
    mark.or_else(|| marked().then(|| "{}".to_owned()))
        .filter(|mark| !mark.is_empty())
}

/// Returns the scripts of a `package.json` that `npm OPERAND…` runs.
fn package_scripts(package: &str, operands: &[&str]) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        #[serde(default)]
        scripts: BTreeMap<String, String>,
    }
    // JSON is YAML.
    let Ok(package) = serde_saphyr::from_str::<Package>(package) else {
        return Vec::new();
    };
    let named = |name: &str| [format!("pre{name}"), name.to_owned(), format!("post{name}")];
    let mut names = Vec::new();
    for operand in operands {
        match *operand {
            "i" | "ci" | "install" | "add" => {
                names.extend(named("install"));
                names.extend(named("prepare"));
            }
            "t" | "tst" => names.extend(named("test")),
            name => names.extend(named(name)),
        }
    }
    let scripts = names.iter().filter_map(|name| package.scripts.get(name));
    scripts.cloned().collect()
}

/// A Makefile, as far as it says what is run.
#[derive(Debug, Default)]
struct Makefile {
    /// Each target with what it needs and its recipe, in order.
    targets: Vec<(String, Vec<String>, Vec<String>)>,
    variables: BTreeMap<String, String>,
}

impl Makefile {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.replace("\\\n", " ").lines() {
            if let Some(recipe) = line.strip_prefix('\t') {
                let recipe = recipe.trim_start_matches(['@', '-', '+', ' ']);
                if let Some((_, _, lines)) = file.targets.last_mut() {
                    lines.push(recipe.to_owned());
                }
            } else if let Some((name, value)) = line.split_once('=') {
                let name = name.trim_end_matches([':', '?', '+', ' ']).trim();
                file.variables
                    .insert(name.to_owned(), value.trim().to_owned());
            } else if let Some((targets, needs)) = line.split_once(':') {
                let needs: Vec<String> = needs.split_whitespace().map(str::to_owned).collect();
                for target in targets.split_whitespace() {
                    file.targets
                        .push((target.to_owned(), needs.clone(), Vec::new()));
                }
            }
        }
        file
    }

    /// Returns the recipes of the targets and of what they need; without targets, of the first.
    fn recipes(&self, targets: &[&str]) -> Vec<String> {
        let first = self.targets.iter().map(|(name, ..)| name.as_str());
        let first = first.clone().find(|name| !name.starts_with('.'));
        let wanted: Vec<&str> = if targets.is_empty() {
            first.into_iter().collect()
        } else {
            targets.to_vec()
        };
        let mut found = Vec::new();
        for target in wanted {
            self.collect(target, 0, &mut found);
        }
        found
    }

    fn collect(&self, target: &str, depth: usize, found: &mut Vec<String>) {
        if depth > TARGETS_DEPTH_MAX || found.len() > SCRIPTS_MAX {
            return;
        }
        for (_, needs, recipe) in self.targets.iter().filter(|(name, ..)| name == target) {
            for need in needs {
                self.collect(need, depth + 1, found);
            }
            found.extend(recipe.iter().map(|line| self.expanded(line)));
        }
    }

    /// Puts in the values of variables, as far as the file says them, and turns `$$` into `$`.
    fn expanded(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.variables {
            for form in [format!("$({name})"), format!("${{{name}}}")] {
                if line.contains(&form) && line.len() < super::VALUE_BYTES_MAX {
                    line = line.replace(&form, value);
                }
            }
        }
        line.replace("$$", "$")
    }
}

/// Returns the files that a command would run, by the names that it uses: a caller that gives their
/// texts has them judged too.
pub(crate) fn named_scripts(commands: &[SimpleCommand]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for command in commands {
        let program = command.program();
        let operand = || {
            let mut words = command.args().iter();
            words.find(|word| !word.text.starts_with(['-', '+']))
        };
        let wanted = match program {
            "make" | "gmake" => vec!["Makefile", "makefile", "GNUmakefile"],
            "npm" | "pnpm" | "yarn" | "bun" => vec!["package.json"],
            "" => Vec::new(),
            _ if is_shell(program)
                || matches!(program, "." | "source")
                || inline::reads_code(program) =>
            {
                operand()
                    .map(|word| word.text.as_str())
                    .into_iter()
                    .collect()
            }
            _ => {
                let first = command.words.first().map(|word| word.text.as_str());
                first
                    .filter(|text| text.contains('/'))
                    .into_iter()
                    .collect()
            }
        };
        names.extend(wanted.into_iter().map(str::to_owned));
    }
    names.retain(|name| {
        !name.is_empty() && !name.contains(['\0', '\n']) && !basename(name).is_empty()
    });
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::{Makefile, package_scripts};

    #[test]
    fn recipes_follow_what_a_target_needs() {
        let text =
            "R = rm -rf\n.PHONY: all\nall: gone\n\t@echo done\ngone:\n\t$(R) $$HOME\nx: ; \n";
        let file = Makefile::read(text);
        assert_eq!(file.recipes(&[]), ["rm -rf $HOME", "echo done"]);
        assert_eq!(file.recipes(&["gone"]), ["rm -rf $HOME"]);
        assert!(file.recipes(&["unknown"]).is_empty());
        let circle = Makefile::read("a: b\n\techo a\nb: a\n\techo b\n");
        assert!(circle.recipes(&["a"]).len() < 20);
    }

    #[test]
    fn the_scripts_that_npm_runs_are_found() {
        let package = r#"{"name": "x", "scripts": {"preinstall": "a", "build": "b", "test": "c"}}"#;
        assert_eq!(package_scripts(package, &["install"]), ["a"]);
        assert_eq!(package_scripts(package, &["run", "build"]), ["b"]);
        assert_eq!(package_scripts(package, &["t"]), ["c"]);
        assert!(package_scripts("{", &["t"]).is_empty());
    }
}
