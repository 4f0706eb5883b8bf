//! The small language in which rules say what a command looks like.
//!
//! A pattern is a line of tokens; all of them must hold:
//!
//! | token | holds when |
//! |---|---|
//! | first: `git`, `mkfs.*`, `halt\|reboot` | the program has that name |
//! | `push`, `delete-*`, `rm\|rb` | the next operand is that (subcommands, in order) |
//! | `..` | any number of operands may come before the next token |
//! | `-f\|--force` | one of the options is given: short ones also combined (`-rf`), long ones abbreviated |
//! | `=/dev/null` | some operand is exactly that |
//! | `@device\|root` | some operand lies in one of those classes of places (see `paths`) |
//! | `~text` | some argument contains the text; `_` also stands for a blank |
//! | `$NAME\|OTHER` | one of these variables is set for the command |
//! | `!token` | the token does not hold |

use std::cell::OnceCell;

use crate::{
    paths::{CLASSES, Places, is_in_class},
    shell::{SimpleCommand, Word},
};

/// Options that take a value and may stand before a subcommand.
static GLOBAL_OPTIONS: &[(&str, &[&str])] = &[
    (
        "git",
        &[
            "-C",
            "-c",
            "--git-dir",
            "--work-tree",
            "--namespace",
            "--config-env",
        ],
    ),
    (
        "aws",
        &[
            "--profile",
            "--region",
            "--output",
            "--endpoint-url",
            "--query",
        ],
    ),
    (
        "kubectl",
        &[
            "-n",
            "--namespace",
            "--context",
            "--kubeconfig",
            "-s",
            "--server",
            "--cluster",
        ],
    ),
    (
        "helm",
        &["-n", "--namespace", "--kube-context", "--kubeconfig"],
    ),
    (
        "docker",
        &[
            "-H",
            "--host",
            "-c",
            "--context",
            "--config",
            "-l",
            "--log-level",
        ],
    ),
    (
        "gcloud",
        &[
            "--project",
            "--account",
            "--configuration",
            "--zone",
            "--region",
        ],
    ),
    ("systemctl", &["-H", "--host", "-M", "--machine"]),
    ("npm", &["--prefix", "-C", "-w", "--workspace"]),
    ("virsh", &["-c", "--connect"]),
    ("restic", &["-r", "--repo", "-p", "--password-file"]),
    ("gh", &["-R", "--repo"]),
    (
        "redis-cli",
        &["-h", "-p", "-a", "-n", "-u", "--user", "--pass"],
    ),
    ("snapper", &["-c", "--config"]),
    (
        "make",
        &[
            "-C",
            "--directory",
            "-f",
            "--file",
            "--makefile",
            "-I",
            "-o",
            "-W",
        ],
    ),
    ("gmake", &["-C", "--directory", "-f", "--file", "-I"]),
    ("ninja", &["-C", "-f", "-j"]),
    ("cargo", &["-C", "--config", "--color", "-Z"]),
    ("go", &["-C"]),
    ("pnpm", &["-C", "--dir", "-F", "--filter"]),
    ("yarn", &["--cwd"]),
    ("just", &["-f", "--justfile", "-d", "--working-directory"]),
];

/// Returns whether `command` looks like `pattern`, whose first token is known to match.
pub(crate) fn matches(pattern: &str, command: &SimpleCommand, places: &Places) -> bool {
    let args = command.args();
    // Most patterns fail at an option or a text before they need them.
    let listed = OnceCell::new();
    let operands = || listed.get_or_init(|| operands(command));
    let mut next = 0;
    let mut anywhere = false;
    for token in pattern.split_ascii_whitespace().skip(1) {
        let (negated, token) = match token.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        if token == ".." {
            anywhere = true;
            continue;
        }
        let holds = if token.starts_with('-') {
            token.split('|').any(|option| has_option(args, option))
        } else if let Some(class) = token.strip_prefix('@') {
            operands().iter().any(|word| {
                let mut classes = class.split('|');
                classes.any(|class| is_in_class(&word.text, class, command, places))
            })
        } else if let Some(names) = token.strip_prefix('$') {
            let assigned = |name: &str| command.assignments.iter().any(|(set, _)| set == name);
            names.split('|').any(assigned)
        } else if let Some(exact) = token.strip_prefix('=') {
            operands().iter().any(|word| word.text == exact)
        } else if let Some(text) = token.strip_prefix('~') {
            let wanted = text.split('|');
            wanted.into_iter().any(|text| {
                let plain = |word: &Word| word.text.contains(text);
                args.iter().any(plain)
                    || text.contains('_') && {
                        let spaced = text.replace('_', " ");
                        args.iter().any(|word| word.text.contains(&spaced))
                    }
            })
        } else {
            let rest = operands().get(next..).unwrap_or(&[]);
            let reach = if anywhere {
                rest.len()
            } else {
                rest.len().min(1)
            };
            let found = rest[..reach]
                .iter()
                .position(|word| is_named(token, &word.text));
            if let Some(found) = found {
                next += found + 1;
                anywhere = false;
            }
            found.is_some()
        };
        if holds == negated {
            return false;
        }
    }
    true
}

/// Says what is wrong with a pattern.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    let mut tokens = pattern.split_ascii_whitespace();
    let program = tokens.next().ok_or("the pattern is empty")?;
    if program.starts_with(['-', '!', '@', '=', '~', '$', '*', '.']) {
        return Err(format!(
            "a pattern begins with a program, not with `{program}`"
        ));
    }
    for token in tokens {
        let token = token.strip_prefix('!').unwrap_or(token);
        let mut classes = token
            .strip_prefix('@')
            .into_iter()
            .flat_map(|it| it.split('|'));
        if let Some(class) = classes.find(|class| !CLASSES.contains(class)) {
            return Err(format!(
                "there is no class of places `{class}`; there are {}",
                CLASSES.join(", ")
            ));
        }
        let rest = token.strip_prefix(['@', '=', '~', '$']).unwrap_or(token);
        if rest.is_empty() || token != ".." && rest.split('|').any(str::is_empty) {
            return Err(format!("`{token}` says nothing"));
        }
    }
    Ok(())
}

/// Returns whether `name` is one of the words of a list.
pub(crate) fn is_listed(list: &str, name: &str) -> bool {
    let mut listed = list.as_bytes().split(|byte| *byte == b' ');
    listed.any(|listed| listed == name.as_bytes())
}

/// Returns whether `text` is one of the alternatives; `*` stands for anything.
pub(crate) fn is_named(alternatives: &str, text: &str) -> bool {
    alternatives.split('|').any(|name| fits(name, text))
}

/// Returns whether `text` is `name`, in which `*` stands for anything.
pub(crate) fn fits(name: &str, text: &str) -> bool {
    // Most names begin with another letter, and that is cheap to see.
    let (first, given) = (name.as_bytes().first(), text.as_bytes().first());
    if first != given && first != Some(&b'*') {
        return false;
    }
    let Some((before, mut rest)) = name.split_once('*') else {
        return name == text;
    };
    let Some(mut text) = text.strip_prefix(before) else {
        return false;
    };
    while let Some((part, next)) = rest.split_once('*') {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
        rest = next;
    }
    text.ends_with(rest)
}

/// Returns the options of a program that take a value and may stand before a subcommand.
pub(crate) fn valued_options(program: &str) -> &'static [&'static str] {
    let known = GLOBAL_OPTIONS.iter().find(|(name, _)| *name == program);
    known.map_or(&[][..], |(_, options)| options)
}

/// Returns the arguments that are neither options nor values of global options.
pub(crate) fn operands(command: &SimpleCommand) -> Vec<&Word> {
    let valued = valued_options(command.program());
    let mut found = Vec::new();
    let mut skips = false;
    let mut only_operands = false;
    for word in command.args() {
        let text = word.text.as_str();
        if std::mem::take(&mut skips) {
            continue;
        }
        if only_operands || text == "-" || !text.starts_with('-') {
            found.push(word);
        } else if text == "--" {
            only_operands = true;
        } else if found.is_empty() && valued.contains(&text) {
            skips = true;
        }
    }
    found
}

/// Returns whether an option is given: `-f` also in `-rf`, `--force` also as `--force=x` or `--for`.
pub(crate) fn has_option(args: &[Word], option: &str) -> bool {
    if option == "--" {
        return args.iter().any(|word| word.text == "--");
    }
    let before_end = args.iter().take_while(|word| word.text != "--");
    let mut given = before_end.map(|word| word.text.as_str());
    if let Some(long) = option.strip_prefix("--") {
        return given.any(|text| {
            let Some(text) = text.strip_prefix("--") else {
                return false;
            };
            let name = text.split('=').next().unwrap_or(text);
            // `--export` is no abbreviation of `--export-secret-keys`.
            let rest = long.strip_prefix(name).unwrap_or("-");
            name.len() >= 3 && !rest.starts_with('-') || name == long
        });
    }
    let letter = option.strip_prefix('-').unwrap_or(option);
    if letter.len() != 1 {
        return given.any(|text| {
            text == option
                || text
                    .strip_prefix(option)
                    .is_some_and(|rest| rest.starts_with('='))
        });
    }
    given.any(|text| {
        text.strip_prefix('-').is_some_and(|cluster| {
            !cluster.starts_with('-') && cluster.len() <= 8 && cluster.contains(letter)
        })
    })
}
