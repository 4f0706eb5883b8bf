//! Interpreters: which of their arguments are options, code or a script, and when they read their program from
//! their input.

use crate::shell::{
    SimpleCommand, Word,
    read::{is_shell, runs_its_input},
};

/// How an interpreter reads its arguments.
struct Interpreter {
    /// Without the digits and dots behind it.
    names: &'static [&'static str],
    /// Letters of options that end them: code or a module follows.
    code: &'static str,
    /// Letters of options with a value.
    valued: &'static str,
    /// Long options with a value in the next word.
    long: &'static [&'static str],
    /// Long options after which it takes no program from its input.
    ends: &'static [&'static str],
    /// Whether it reads its input when no script is named; else only for `-`.
    by_itself: bool,
}

const fn interpreter(
    names: &'static [&'static str],
    code: &'static str,
    valued: &'static str,
) -> Interpreter {
    Interpreter {
        names,
        code,
        valued,
        long: &[],
        ends: &["--version", "--help"],
        by_itself: true,
    }
}

/// From the programs' manual pages.
static INTERPRETERS: &[Interpreter] = &[
    interpreter(&["python", "pypy", "ipython", "micropython"], "cmVh", "WXQ"),
    interpreter(&["perl"], "eEVvh", "IMm"),
    interpreter(&["ruby", "jruby"], "eh", "rICE"),
    Interpreter {
        long: &["--require", "--import", "--loader", "--input-type"],
        ends: &[
            "--eval",
            "--print",
            "--check",
            "--test",
            "--run",
            "--version",
            "--help",
        ],
        ..interpreter(&["node", "nodejs", "tsx", "ts-node"], "epvhc", "rC")
    },
    interpreter(&["php"], "rBRFfSmiwvh", "dcz"),
    interpreter(&["lua", "luajit", "texlua"], "ev", "l"),
    interpreter(&["tclsh", "wish", "expect", "jimsh"], "cvf", "d"),
    interpreter(&["osascript"], "e", "l"),
    interpreter(
        &[
            "R", "octave", "julia", "guile", "racket", "gst", "swipl", "ocaml",
        ],
        "efEph",
        "",
    ),
    interpreter(
        &["ed", "scala", "groovysh", "jshell", "iex", "irb"],
        "eSrh",
        "",
    ),
    interpreter(&["deno", "bun"], "ep", "c"),
    interpreter(&["Rscript", "rscript", "raku"], "e", ""),
    Interpreter {
        by_itself: false,
        ..interpreter(&["elixir", "groovy", "babashka", "bb", "jbang"], "e", "")
    },
    Interpreter {
        ends: &[
            "-file",
            "-encodedcommand",
            "-enc",
            "-ec",
            "-version",
            "-help",
        ],
        ..interpreter(&["pwsh", "powershell"], "", "")
    },
];

/// Returns whether `program` runs programs of some language.
pub(crate) fn is_interpreter(program: &str) -> bool {
    let program = program.strip_suffix(".exe").unwrap_or(program);
    is_shell(program) || of(program).is_some()
}

fn of(program: &str) -> Option<&'static Interpreter> {
    let program = program.strip_suffix(".exe").unwrap_or(program);
    let name = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().find(|it| it.names.contains(&name))
}

/// Returns whether a word names the input as a file.
fn is_input(text: &str) -> bool {
    matches!(
        text,
        "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0" | "/proc/self/fd/0/"
    )
}

/// Returns whether an interpreter takes its program from its input.
pub(crate) fn interprets_its_input(command: &SimpleCommand) -> bool {
    let program = command.program();
    if is_shell(program) {
        return runs_its_input(command);
    }
    let args = command.args();
    if matches!(program, "source" | ".") {
        return args.iter().any(|word| is_input(&word.text));
    }
    if matches!(program, "iex" | "Invoke-Expression") && args.is_empty() {
        return true;
    }
    if let Some(interpreter) = of(program) {
        return interpreter.reads_its_input(args);
    }
    takes_a_file_of_commands(program, args)
}

/// Programs that carry out what a file says, with the options that name the file; an empty name is an operand.
static FILES_OF_COMMANDS: &[(&str, &[&str])] = &[
    ("make", &["-f", "--file", "--makefile"]),
    ("gmake", &["-f", "--file", "--makefile"]),
    ("awk", &["-f", "--file"]),
    ("gawk", &["-f", "--file"]),
    ("mawk", &["-f"]),
    ("sed", &["-f", "--file"]),
    ("gdb", &["-x", "--command"]),
    ("ansible-playbook", &[""]),
    ("crontab", &[""]),
    ("vim", &["-s", "-S"]),
    ("vi", &["-s", "-S"]),
    ("nvim", &["-s", "-S"]),
    ("parallel", &["-a"]),
];

fn takes_a_file_of_commands(program: &str, args: &[Word]) -> bool {
    if matches!(program, "at" | "batch") {
        return !args
            .iter()
            .any(|it| matches!(it.text.as_str(), "-f" | "-l" | "-c" | "-d" | "-r"));
    }
    // Without a command each line is one.
    if program == "parallel" && args.iter().all(|it| it.text.starts_with('-')) {
        return true;
    }
    let Some((_, options)) = FILES_OF_COMMANDS.iter().find(|(name, _)| *name == program) else {
        return false;
    };
    let marks = |text: &str| text == "-" || is_input(text);
    args.iter().enumerate().any(|(at, word)| {
        let text = word.text.as_str();
        let named = at.checked_sub(1).and_then(|at| args.get(at));
        let after = named.is_some_and(|it| options.contains(&it.text.as_str()));
        let glued = options.iter().filter(|it| !it.is_empty()).any(|option| {
            text.strip_prefix(option)
                .is_some_and(|rest| marks(rest.trim_start_matches('=')))
        });
        marks(text) && (after || options.contains(&"")) || glued
    })
}

impl Interpreter {
    fn reads_its_input(&self, args: &[Word]) -> bool {
        let mut at = 0;
        while let Some(word) = args.get(at) {
            let text = word.text.as_str();
            let lower = text.to_ascii_lowercase();
            at += 1;
            if text == "-" || is_input(text) {
                return true;
            }
            if self
                .ends
                .iter()
                .any(|it| lower == *it || lower.starts_with(&format!("{it}=")))
            {
                return false;
            }
            // The code of `pwsh -Command -` is its input.
            if self.code.is_empty() && lower.starts_with("-c") {
                return args.get(at).is_some_and(|it| it.text == "-");
            }
            if text == "--" {
                return args
                    .get(at)
                    .map_or(self.by_itself, |it| it.text == "-" || is_input(&it.text));
            }
            if text.starts_with("--") {
                at += usize::from(self.long.contains(&text));
                continue;
            }
            let Some(cluster) = text.strip_prefix('-') else {
                // `deno run -`
                if text == "run" && self.names.contains(&"deno") {
                    continue;
                }
                return false;
            };
            let special = |c: char| self.code.contains(c) || self.valued.contains(c);
            let Some(found) = cluster.find(special) else {
                continue;
            };
            let letter = cluster[found..].chars().next().unwrap_or(' ');
            if self.code.contains(letter) {
                return false;
            }
            at += usize::from(cluster[found..].len() == letter.len_utf8());
        }
        self.by_itself
    }
}

/// Returns the words that an interpreter takes as code or as the name of a script.
pub(crate) fn code_words(command: &SimpleCommand) -> &[Word] {
    let args = command.args();
    let program = command.program();
    if matches!(
        program,
        "eval" | "source" | "." | "iex" | "Invoke-Expression"
    ) {
        return args;
    }
    if program == "java" {
        let jar = args
            .iter()
            .position(|word| word.text == "-jar")
            .map(|at| at + 1);
        let source = || {
            args.iter().position(|word| {
                word.text
                    .rsplit_once('.')
                    .is_some_and(|(_, end)| end == "java")
            })
        };
        return jar
            .or_else(source)
            .and_then(|at| args.get(at..=at))
            .unwrap_or(&[]);
    }
    if !is_interpreter(program) {
        return &[];
    }
    let first = args.iter().position(|word| !word.text.starts_with('-'));
    first.and_then(|at| args.get(at..=at)).unwrap_or(&[])
}

/// Returns whether a command that gets its arguments from elsewhere runs each of them as code: `xargs sh -c`,
/// `xargs -I% sh -c %`.
pub(crate) fn takes_lines_as_commands(command: &SimpleCommand) -> bool {
    if !command.fed {
        return false;
    }
    // `find -exec sh -c …` hands over names of files.
    if command.wrappers.last().is_some_and(|it| *it == "find") {
        return false;
    }
    // What stands for the argument: a sign, not a text.
    let is_mark = |text: &str| {
        text.len() <= 8
            && !text.is_empty()
            && !text.bytes().any(|it| it == b' ' || it == b'/')
            && (!text.bytes().any(|it| it.is_ascii_lowercase()) || text.starts_with('{'))
    };
    let args = command.args();
    if is_shell(command.program()) {
        let at = args.iter().position(|it| {
            it.text
                .strip_prefix('-')
                .is_some_and(|letters| !letters.starts_with('-') && letters.contains('c'))
        });
        return at.is_some_and(|at| args.get(at + 1).is_none_or(|it| is_mark(&it.text)));
    }
    command.words.len() == 1 && command.words.first().is_some_and(|it| is_mark(&it.text))
        || command.program() == "eval"
}

#[cfg(test)]
mod tests {
    use super::{interprets_its_input, is_interpreter};
    use crate::shell::{SimpleCommand, Word};

    fn command(text: &str) -> SimpleCommand {
        SimpleCommand {
            words: text
                .split(' ')
                .map(|word| Word::literal(word, (0, 0)))
                .collect(),
            ..SimpleCommand::default()
        }
    }

    #[test]
    fn a_program_comes_from_the_input_where_none_is_named() {
        for text in [
            "python3",
            "python3 -",
            "python3 -u -",
            "python3 -W ignore -",
            "python3 -X utf8 - a b",
            "perl /dev/stdin",
            "perl -w",
            "ruby - arg",
            "node -",
            "node --input-type module -",
            "php",
            "php -d a=1",
            "lua -",
            "tclsh",
            "Rscript -",
            "deno run -A -",
            "bun run -",
            "pwsh -Command -",
            "pwsh -NoProfile -c -",
            "pwsh -",
            "sh",
            "bash -s -- x",
            "source /dev/stdin",
            "make -f -",
            "make -f/dev/stdin all",
            "awk -f -",
            "at now",
            "batch",
            "parallel -j4",
            "python3.11 /proc/self/fd/0",
            "iex",
        ] {
            assert!(interprets_its_input(&command(text)), "{text}");
        }
        for text in [
            "python3 -m json.tool",
            "python3 x.py",
            "python3 -c print(1)",
            "python3 -Ic print(1)",
            "perl -ne print",
            "perl x.pl",
            "ruby -e 1",
            "node -e 1",
            "node x.js -",
            "node --check x.js",
            "php -r 1",
            "lua x.lua",
            "Rscript x.R",
            "bb",
            "deno run x.ts",
            "pwsh -File x.ps1",
            "pwsh -c x",
            "sh x.sh",
            "source x",
            "make all",
            "make -",
            "awk 1 -",
            "at -f x now",
            "parallel gzip",
            "jq .",
            "python3 --version",
            "grep -f -",
            "tool.iex x",
        ] {
            assert!(!interprets_its_input(&command(text)), "{text}");
        }
        assert!(is_interpreter("python3.12") && !is_interpreter("tool.iex"));
    }
}
