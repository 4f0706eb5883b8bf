//! The files that commands run as scripts, as exactly as their words say which: what an approval holds.

use super::{SimpleCommand, build_files, is_shell};
use crate::{
    inline,
    shell::{Known, RedirectKind, Word},
};

/// After so many changes of the directory it is not known any more.
const PLACES_MAX: usize = 16;
/// Options of shells that take the next word, besides those that end in `o`.
const SHELL_OPTIONS: [&str; 2] = ["--rcfile", "--init-file"];
/// Variables that name a file which a shell runs first.
const STARTED_FIRST: [&str; 2] = ["BASH_ENV", "ENV"];
/// Interpreters whose first word is a command of theirs, or whose words are code.
const WITH_COMMANDS: [&str; 15] = [
    "awk", "bun", "deno", "dotnet", "elixir", "gawk", "ghc", "go", "iex", "mawk", "nawk", "nim",
    "scala", "crystal", "bpftrace",
];

/// A file that an operation runs as a script, or a build tool reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ScriptUse {
    /// The paths that it may have, relative to where the operation starts: one for each directory that the command may
    /// stand in, and for each word that may name it.
    pub paths: Vec<String>,
    /// Whether one of them must be there: not with what a tool looks for and does without.
    pub is_needed: bool,
    /// Whether the text says which file it is: no variable, no wildcard, and no directory that only a run knows.
    pub is_known: bool,
}

/// Where commands may stand.
struct Places {
    directories: Vec<String>,
    is_known: bool,
}

impl Places {
    /// Notes a change of the directory. In a subshell it ends with that, so the directories before stay possible.
    fn change(&mut self, command: &SimpleCommand) {
        let mut args = command.args().iter();
        let target = args.find(|word| !word.text.starts_with('-'));
        let is_plain = |word: &&Word| word.known == Known::Literal && !word.text.starts_with('~');
        let Some(target) = target.filter(is_plain) else {
            self.is_known = false;
            return;
        };
        let new: Vec<String> = self
            .directories
            .iter()
            .map(|directory| within(directory, &target.text))
            .filter(|place| !self.directories.contains(place))
            .collect();
        self.directories.extend(new);
        self.is_known &= self.directories.len() <= PLACES_MAX;
        self.directories.truncate(PLACES_MAX);
    }

    /// Returns the file that one of these words names.
    fn file(&self, words: &[&Word], is_needed: bool) -> ScriptUse {
        let literal = |word: &&&Word| word.known == Known::Literal;
        let names: Vec<&str> = words
            .iter()
            .filter(literal)
            .map(|it| it.text.as_str())
            .collect();
        let is_said = !is_needed || !names.is_empty();
        ScriptUse {
            is_known: is_said && (self.is_known || names.iter().all(|it| it.starts_with('/'))),
            ..self.named(names, is_needed)
        }
    }

    fn named(&self, names: Vec<&str>, is_needed: bool) -> ScriptUse {
        let places = |name| self.directories.iter().map(move |it| within(it, name));
        let mut paths: Vec<String> = names.into_iter().flat_map(places).collect();
        paths.retain(|path| !path.is_empty() && !path.contains('\0'));
        paths.sort_unstable();
        paths.dedup();
        ScriptUse {
            paths,
            is_needed,
            is_known: self.is_known,
        }
    }
}

/// Returns the files that these commands use.
pub(crate) fn script_uses(commands: &[SimpleCommand]) -> Vec<ScriptUse> {
    let mut places = Places {
        directories: vec![String::new()],
        is_known: !commands.iter().any(changes_directory),
    };
    let mut uses = Vec::new();
    for command in commands {
        let program = command.program();
        if matches!(program, "cd" | "pushd" | "popd") {
            places.change(command);
            continue;
        }
        for tool in build_files::named(command) {
            uses.push(places.named(vec![&tool], false));
        }
        if let Some(word) = command.words.first().filter(|it| it.text.contains('/')) {
            uses.push(places.file(&[word], true));
        }
        let assigned = command.assignments.iter();
        let first = assigned.filter(|(name, _)| STARTED_FIRST.contains(&name.as_str()));
        uses.extend(first.map(|(_, word)| places.file(&[word], false)));
        let is_interpreter = is_shell(program) || inline::reads_code(program);
        if is_interpreter {
            let read = command.redirects.iter();
            let read = read.filter(|it| it.kind == RedirectKind::Read);
            uses.extend(read.map(|it| places.file(&[&it.target], true)));
        }
        if is_interpreter && command.fed {
            uses.push(places.file(&[], true));
        }
        if is_shell(program) {
            shell(command, &places, &mut uses);
        } else if matches!(program, "." | "source") {
            uses.extend(command.args().first().map(|it| places.file(&[it], true)));
        } else if is_interpreter && !command.taken_apart {
            interpreter(command, &places, &mut uses);
        }
    }
    uses
}

/// Returns whether a text that cannot be read as commands has a word that could run a file.
pub(crate) fn may_run_a_file(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_./+-".contains(c);
    let mut words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty());
    let is_such = |word: &str| {
        let tool = SimpleCommand {
            words: vec![Word::literal(word, (0, 0))],
            ..SimpleCommand::default()
        };
        let is_interpreter = is_shell(word) || inline::reads_code(word) || word == "source";
        is_interpreter || word.contains(['/', '.']) || !build_files::named(&tool).is_empty()
    };
    words.any(is_such)
}

/// Whether it is a wrapper that runs its command in another directory (`env -C`, `sudo -D`).
fn changes_directory(command: &SimpleCommand) -> bool {
    const OPTIONS: [&str; 5] = ["-C", "-D", "--chdir", "--wd", "--working-directory"];
    let args = command.args();
    let is_such = |text: &str| OPTIONS.iter().any(|it| text.starts_with(it));
    command.taken_apart && !is_shell(command.program()) && args.iter().any(|it| is_such(&it.text))
}

/// Adds the script of a shell, and what it runs before.
fn shell(command: &SimpleCommand, places: &Places, uses: &mut Vec<ScriptUse>) {
    let mut args = command.args().iter();
    while let Some(word) = args.next() {
        let text = word.text.as_str();
        let is_cluster = text.len() > 1 && text.starts_with(['-', '+']) && !text.starts_with("--");
        if text == "--" {
            uses.extend(args.next().map(|it| places.file(&[it], true)));
            return;
        }
        if is_cluster && text.contains(['c', 's']) || text == "-" {
            // Its text is read as such, or its input.
            return;
        }
        if SHELL_OPTIONS.contains(&text) {
            uses.extend(args.next().map(|it| places.file(&[it], true)));
        } else if is_cluster && text.ends_with(['o', 'O']) {
            args.next();
        } else if !text.starts_with(['-', '+']) {
            uses.push(places.file(&[word], true));
            return;
        }
    }
}

/// Adds the script of another interpreter. Which of its options take a word is not known, so that all words count up
/// to the first one that stands behind no option.
fn interpreter(command: &SimpleCommand, places: &Places, uses: &mut Vec<ScriptUse>) {
    let mut words = Vec::new();
    let mut is_behind_option = false;
    let mut has_code = false;
    for word in command.args() {
        if word.text.starts_with('-') && word.text.len() > 1 {
            is_behind_option = true;
            has_code |= is_code_option(&word.text);
            continue;
        }
        words.push(word);
        if !is_behind_option {
            break;
        }
        is_behind_option = false;
    }
    let is_needed = !has_code && !WITH_COMMANDS.contains(&command.program()) && !words.is_empty();
    uses.push(places.file(&words, is_needed));
}

/// Whether an option brings code, or names a module, in most interpreters.
fn is_code_option(text: &str) -> bool {
    let is_long = text.starts_with("--");
    is_long
        && ["eval", "print", "version", "help"]
            .iter()
            .any(|it| text[2..].starts_with(it))
        || !is_long && text.contains(['c', 'e', 'E', 'm', 'p', 'r', 'V', 'v'])
}

fn within(directory: &str, name: &str) -> String {
    if name.starts_with('/') || directory.is_empty() {
        name.to_owned()
    } else {
        format!("{}/{name}", directory.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use sandbox_types::Operation;

    use crate::script_uses_of;

    /// One line a use: its paths, `?` if they are not all, `!` if one of them must be there.
    fn uses(text: &str) -> String {
        let uses = script_uses_of(&Operation::shell(text));
        let line = |it: &super::ScriptUse| {
            let unknown = if it.is_known { "" } else { "?" };
            let needed = if it.is_needed { "!" } else { "" };
            format!("{}{unknown}{needed}", it.paths.join(" "))
        };
        uses.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn scripts_are_found_however_they_are_named() {
        for (text, expected) in [
            ("sh x.sh", "x.sh!"),
            ("cd sub && sh y.sh", "sub/y.sh y.sh!"),
            ("(cd a; cd b); sh y.sh", "a/b/y.sh a/y.sh b/y.sh y.sh!"),
            ("cd \"$d\" && sh y.sh", "y.sh?!"),
            ("cd \"$d\" && sh /w/y.sh", "/w/y.sh!"),
            ("cd && ./y.sh", "./y.sh?!"),
            ("bash -o errexit x.sh", "x.sh!"),
            ("bash -euo pipefail -- x.sh a", "x.sh!"),
            ("bash --rcfile rc x.sh", "rc!, x.sh!"),
            ("sh < x.sh", "x.sh!"),
            ("sh ./x*.sh", "?!"),
            ("sh \"$x\"", "?!"),
            ("sh -c 'echo hi'", ""),
            ("sh -ec '. ./x.sh'", "./x.sh!"),
            ("BASH_ENV=a bash x.sh", "a, x.sh!"),
            ("env -C sub sh x.sh", "x.sh?!"),
            ("python3 -W ignore x.py data", "ignore x.py!"),
            ("python3 -m pytest", "pytest"),
            ("go test ./...", "test"),
            ("./venv/bin/python x.py", "./venv/bin/python!, x.py!"),
            ("make -C sub", "sub/GNUmakefile, sub/makefile, sub/Makefile"),
            ("ls | xargs sh", "?!"),
            ("echo x.sh", ""),
        ] {
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split(", ").map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_eq!(sorted(&uses(text)), sorted(expected), "{text}");
        }
        assert_eq!(uses("sh x.sh; 'unfinished"), "?!");
        assert_eq!(uses("echo 'unfinished"), "");
    }
}
