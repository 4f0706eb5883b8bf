//! Code of other languages in an argument or a heredoc, looked through for the same effects.

mod exhaust;
mod interpreters;
mod strings;
mod words;

pub(crate) use exhaust::exhausts;
pub(crate) use interpreters::{code_words, interprets_its_input, takes_lines_as_commands};
pub(crate) use strings::{shell_strings, strings};
pub(crate) use words::Code;

use std::cell::OnceCell;

use words::{
    CONNECTS, DELETES, DOWNLOADS, ENVIRONMENTS, EVALUATES, FETCHES, HERE, IN_MEMORY, INPUTS,
    OPAQUE, OPENS, POSTS, POWERSHELL_GETS, POWERSHELL_RUNS, RUNS, SECRET_PLACES, SENDS,
    SHELL_PATHS, SHELLS, WRITE_CALLS,
};

use crate::{
    gate::Scanner,
    paths::{Place, is_in_class, place_of},
    pattern::is_listed,
    rules::Scene,
    shell::{Reading, RedirectKind, SimpleCommand, Span, Word, read::is_shell},
};

/// Only so much of a program's text is looked through.
const CODE_BYTES_MAX: usize = 64 * 1024;
/// A call's argument is looked for so far behind its name.
const CALL_BYTES_MAX: usize = 160;

/// Programs for which a path of a shell is data, or that start one where it is expected.
const SHELL_IN_ARGUMENT_SPARED: &str = "docker podman kubectl oc lxc lxd incus nerdctl chsh usermod useradd adduser ls file \
    stat readlink which type whereis echo printf cat grep egrep rg sed head tail less \
    find test [ ln cp mv diff cmp md5sum sha256sum ldd strings nm objdump chmod chown rm \
    touch tee export git jq dpkg pacman rpm srun salloc bwrap screen tmux make update-alternatives \
    install rsync man tldr gh basename dirname cd source . alias su sudo \
    ssh crontab local set kill pkill pgrep ps docker-compose env";

/// Returns the options with which an interpreter gets its program as an argument; `None` for programs
/// that are no interpreters.
fn code_letters(program: &str) -> Option<&'static str> {
    let name = program
        .strip_suffix(".exe")
        .unwrap_or(program)
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    Some(match name {
        "python" | "pypy" | "erl" | "pwsh" | "powershell" => "c",
        "perl" => "eE",
        "ruby" | "lua" | "irb" | "osascript" | "Rscript" | "elixir" | "luajit" | "groovy"
        | "jrunscript" | "texlua" | "bpftrace" | "deno" | "tclsh" | "julia" | "guile"
        | "dotnet" | "jjs" | "jshell" | "go" | "iex" | "ghc" | "scala" | "crystal" | "groovysh"
        | "slsh" | "octave" | "gnuplot" | "newlisp" | "gst" | "nim" | "raku" | "swipl"
        | "ocaml" | "racket" => "e",
        "node" | "nodejs" | "bun" => "ep",
        "php" => "r",
        "awk" | "gawk" | "mawk" | "nawk" => "",
        _ => return None,
    })
}

/// Returns whether `program` runs code of another language than the shell's.
pub(crate) fn reads_code(program: &str) -> bool {
    code_letters(program).is_some()
}

/// Returns the code that a command's interpreter runs, and the words that hold it.
pub(crate) fn code_of(command: &SimpleCommand) -> Option<(&str, Span)> {
    let letters = code_letters(command.program())?;
    let script = command
        .redirects
        .iter()
        .find(|it| it.kind == RedirectKind::Script);
    if let Some(script) = script {
        return Some((clip(&script.target.text), script.target.span));
    }
    let args = command.args();
    let mut at = 0;
    while let Some(argument) = args.get(at) {
        let text = argument.text.as_str();
        at += 1;
        if letters.is_empty() && !text.starts_with('-') {
            return Some((clip(text), argument.span));
        }
        // PowerShell knows its options by any beginning, in any case; a text by itself is a command, too.
        if matches!(
            command.program(),
            "pwsh" | "powershell" | "pwsh.exe" | "powershell.exe"
        ) {
            let lower = text.to_ascii_lowercase();
            if lower.len() > 1 && "-command".starts_with(&lower) {
                let word = args.get(at)?;
                return Some((clip(&word.text), word.span));
            }
            if text.contains(' ') {
                return Some((clip(text), argument.span));
            }
            continue;
        }
        if matches!(
            text,
            "--eval" | "--execute" | "eval" | "--print" | "-eval" | "-expr" | "--expr"
        ) {
            let word = args.get(at)?;
            return Some((clip(&word.text), word.span));
        }
        let Some(cluster) = text.strip_prefix('-').filter(|c| !c.starts_with('-')) else {
            continue;
        };
        if let Some(found) = cluster.find(|c| letters.contains(c)) {
            let plain = cluster[..found].chars().all(|c| c.is_ascii_alphanumeric());
            let glued = &cluster[found + 1..];
            if plain && glued.is_empty() {
                let word = args.get(at)?;
                return Some((clip(&word.text), word.span));
            }
            if plain && glued.len() > 3 {
                return Some((clip(glued), argument.span));
            }
        }
    }
    let input = command.redirects.iter().find(|redirect| {
        matches!(
            redirect.kind,
            RedirectKind::HereDoc { .. } | RedirectKind::HereString
        )
    })?;
    args.iter()
        .all(|word| word.text.starts_with('-'))
        .then(|| (clip(&input.target.text), input.target.span))
}

/// Returns as much of a program as is looked through.
pub(crate) fn clip(code: &str) -> &str {
    let mut end = code.len().min(CODE_BYTES_MAX);
    while !code.is_char_boundary(end) {
        end -= 1;
    }
    &code[..end]
}

/// What is run of other languages, by command; looked through once for all rules.
#[derive(Debug)]
pub(crate) struct Codes<'a>(Vec<OnceCell<Option<(Code<'a>, Span)>>>);

impl Codes<'_> {
    pub(crate) fn of(reading: &Reading) -> Self {
        let mut cells = Vec::new();
        cells.resize_with(reading.commands.len(), OnceCell::new);
        Self(cells)
    }
}

/// Returns the code that a command's interpreter runs.
pub(crate) fn code<'s>(
    scene: &'s Scene<'_>,
    command: &SimpleCommand,
) -> Option<&'s (Code<'s>, Span)> {
    let cell = scene.codes.0.get(command.index)?;
    let found = cell.get_or_init(|| {
        let (text, span) = code_of(scene.reading.commands.get(command.index)?)?;
        Some((Code::of(text), span))
    });
    found.as_ref()
}

fn has(code: &str, words: &[&str]) -> bool {
    words.iter().any(|word| code.contains(word))
}

/// Returns whether the code connects a socket and hands it to a shell.
pub(crate) fn ties_shell_to_socket(code: &Code<'_>) -> bool {
    code.has(CONNECTS) && code.has(SHELLS)
}

/// Returns whether the code sends the variables of the environment or a file of the system to another machine.
pub(crate) fn sends_secrets(code: &Code<'_>) -> bool {
    if code.has(HERE) {
        return false;
    }
    let posts_a_file = code.has(OPENS) && code.has(POSTS);
    code.has(SENDS) && (code.has(SECRET_PLACES) || reads_environment(code)) || posts_a_file
}

/// Returns whether the code reads all variables of the environment, or one whose name says that it is a secret.
fn reads_environment(code: &Code<'_>) -> bool {
    let secret = [
        "TOKEN",
        "SECRET",
        "PASSW",
        "CREDENTIAL",
        "API_KEY",
        "ACCESS_KEY",
    ];
    ENVIRONMENTS.iter().any(|all| {
        code.places(all).any(|at| {
            let rest = &code.text[at + all.len()..];
            let name = rest
                .strip_prefix(".get(")
                .or_else(|| rest.strip_prefix('['))
                .or_else(|| rest.strip_prefix('.'));
            let Some(name) = name else { return true };
            let name = name.trim_start_matches(['"', '\'']);
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &name[..end.unwrap_or(name.len())];
            // A method of the whole, as in `os.environ.items()`.
            name.bytes().any(|byte| byte.is_ascii_lowercase()) || has(name, &secret)
        })
    })
}

/// Returns whether the code runs what it reads from its input.
pub(crate) fn runs_its_input(code: &Code<'_>) -> bool {
    let runs = |call: &&str| {
        let mut places = code.places(call);
        // Not the method of that name.
        places.any(|at| {
            !code.text[..at].ends_with(|c: char| c == '.' || c == '_' || c.is_ascii_alphanumeric())
        })
    };
    code.has(INPUTS) && EVALUATES.iter().any(runs)
}

/// Returns the names of the files that code opens to write to them, as far as it says them beside the call.
pub(crate) fn written_files(code: &Code<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for call in WRITE_CALLS {
        for at in code.places(call).take(16) {
            let behind = window(code.text, at);
            let line = behind.split(['\n', ';']).next().unwrap_or(behind);
            // `open` reads unless it is told otherwise.
            let modes = [
                "'w", "\"w", "'a", "\"a", "'x", "\"x", "'r+", "\"r+", "'>", "\">", "mode=",
            ];
            if *call == "open(" && !has(line, &modes) {
                continue;
            }
            found.extend(strings(line).into_iter().take(2));
            if call.starts_with('.') {
                let before = code.text[..at].rsplit(['\n', ';']).next().unwrap_or("");
                found.extend(strings(before).into_iter().last());
            }
        }
    }
    found.retain(|it| it.len() > 2 && !it.contains('\n'));
    found
}

/// Finds code that writes to what runs by itself, to accounts or to the system.
pub(crate) fn code_writes(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::InlineCode) {
        return None;
    }
    let (code, span) = code(scene, command)?;
    let classes = [
        "startup",
        "account",
        "guard",
        "systemfile",
        "gitinternal",
        "device",
        "log",
    ];
    let guarded = |path: &String| {
        classes
            .iter()
            .any(|class| is_in_class(path, class, command, scene.places))
    };
    written_files(code).iter().any(guarded).then_some(*span)
}

/// Returns whether the code runs text that it decodes.
pub(crate) fn runs_decoded(code: &Code<'_>) -> bool {
    let decodes = [
        "b64decode",
        "decode_base64",
        "base64_decode",
        "fromhex",
        "atob(",
        "unpack(",
        "map(chr",
        "fromCharCode",
        "chr(",
        "[::-1]",
        ".reverse()",
        "bytes([",
        "bytearray([",
        "pack(",
        "unhexlify",
        "codecs.decode",
        "Buffer.from(",
        "decompress(",
        "rot13",
    ];
    RUNS.iter().any(|call| {
        let mut places = code.places(call);
        places.any(|at| has(window(code.text, at), &decodes))
    })
}

fn window(code: &str, at: usize) -> &str {
    let mut end = (at + CALL_BYTES_MAX).min(code.len());
    while !code.is_char_boundary(end) {
        end -= 1;
    }
    &code[at..end]
}

/// Finds a program that is no shell and is told to start one.
pub(crate) fn shell_in_argument(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::ShellEscape) {
        return None;
    }
    let program = command.program();
    if program.is_empty() && command.words.is_empty()
        || is_shell(program)
        || is_listed(SHELL_IN_ARGUMENT_SPARED, program)
        || code_of(command).is_some() && !program.ends_with("awk")
    {
        return None;
    }
    let starts_shell = |text: &str| {
        [
            "/bin/sh",
            "/bin/bash",
            "/bin/dash",
            "/bin/zsh",
            "!sh",
            "!bash",
        ]
        .iter()
        .any(|shell| {
            text.match_indices(shell).any(|(at, _)| {
                let before = text[..at].trim_end_matches(' ');
                let after = text[at + shell.len()..].chars().next();
                !before.ends_with("#!")
                    && !before.ends_with("/usr")
                    && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
            })
        })
    };
    let argument = command.args().iter().find(|word| starts_shell(&word.text));
    let variable = || {
        command.assignments.iter().find(|(name, value)| {
            !matches!(
                name.as_str(),
                "SHELL" | "CONFIG_SHELL" | "BASH" | "MAKESHELL"
            ) && starts_shell(&value.text)
        })
    };
    let fed = || {
        command.redirects.iter().find(|r| {
            matches!(
                r.kind,
                RedirectKind::HereDoc { .. } | RedirectKind::HereString
            ) && r.target.text.contains("!/bin/")
        })
    };
    argument
        .map(|word| word.span)
        .or_else(|| variable().map(|_| command.span))
        .or_else(|| fed().map(|r| r.target.span))
}

/// Finds code that starts a shell.
pub(crate) fn shell_from_code(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::InlineCode) {
        return None;
    }
    let (code, span) = code(scene, command)?;
    let quoted = SHELL_PATHS.iter().any(|shell| {
        code.places(shell).any(|at| {
            let quote = code.text[..at].chars().next_back();
            let rest = &code.text[at + shell.len()..];
            let ends = rest.starts_with(['"', '\'', '`', '}', ')', ']', '/', '|'])
                || rest.starts_with(" -i")
                || rest.starts_with(" -p")
                || rest.starts_with(" 0<")
                || rest.starts_with(" 1")
                || rest.starts_with(" &");
            quote.is_some_and(|c| "\"'`{([/|".contains(c)) && ends
        })
    });
    (quoted || code.has(OPAQUE)).then_some(*span)
}

/// Finds code that deletes what does not belong to the workspace.
pub(crate) fn code_destroys(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::InlineCode) {
        return None;
    }
    let (code, span) = code(scene, command)?;
    let destroys = DELETES.iter().any(|call| {
        code.places(call).any(|at| {
            let behind = window(code.text, at);
            let own_home = has(
                behind,
                &[
                    "homedir()",
                    "expanduser(",
                    "Path.home()",
                    "Dir.home",
                    "ENV['HOME']",
                    "$ENV{HOME}",
                    "environ['HOME']",
                    "environ[\"HOME\"]",
                ],
            );
            if own_home && *call != "Path(" {
                return true;
            }
            let argument = strings(behind).into_iter().next();
            argument.is_some_and(|path| {
                let word = Word::literal(path, *span);
                let bad = matches!(
                    place_of(&word, command, scene.places),
                    Place::Root
                        | Place::SystemTree
                        | Place::SystemFile
                        | Place::Home
                        | Place::InHome
                );
                bad && (*call != "Path(" || has(behind, &[".unlink(", ".rmdir("]))
            })
        })
    });
    destroys.then_some(*span)
}

/// Finds code that runs what it downloads.
pub(crate) fn code_runs_download(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !scene.gate.opens(Scanner::InlineCode) {
        return None;
    }
    let (code, span) = code(scene, command)?;
    // What is written to memory and handed to the kernel leaves no file.
    let in_memory = code.has(IN_MEMORY) && code.has(DOWNLOADS);
    let powershell = code.has(POWERSHELL_RUNS) && code.has(POWERSHELL_GETS);
    let runs = in_memory
        || powershell
        || EVALUATES.iter().any(|call| {
            let mut places = code.places(call);
            places.any(|at| {
                let behind = window(code.text, at);
                // What is evaluated far from where it was fetched has a name.
                let named = behind[call.len()..].starts_with(|c: char| c.is_alphabetic());
                has(behind, DOWNLOADS) || named && call.ends_with('(') && code.has(FETCHES)
            })
        });
    runs.then_some(*span)
}
