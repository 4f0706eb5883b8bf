//! Wrappers: programs whose arguments are another command. A table says where that command starts.

pub(in crate::shell) mod subcommands;

use super::{Route, SimpleCommand, Span, Word, basename, read::is_shell};

/// What a command turned out to be.
#[derive(Debug)]
pub(super) enum Unwrapped {
    /// No wrapper, or one without a command.
    Command,
    Inner(Inner),
    /// Shell text.
    Text {
        text: String,
        span: Span,
        route: Route,
        /// `$1`, `$2`, … in it; empty leaves them as they are.
        positional: Vec<Word>,
        /// `$0` in it.
        zeroth: Option<Word>,
    },
}

/// The commands in a wrapper's arguments.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: &'static str,
    pub(super) route: Route,
    pub(super) assignments: Vec<(String, Word)>,
    /// Each with whether more arguments are added to it.
    pub(super) commands: Vec<(Vec<Word>, bool)>,
}

/// How the wrapped command is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// As the remaining words.
    Words,
    /// As the remaining words; more are added when it runs.
    Fed,
    /// As shell text, made of the remaining words.
    JoinedText,
    /// As shell text in one word, the value of `-c`.
    TextOption,
    /// As shell text in the first operand.
    FirstOperand,
}

struct Wrapper {
    name: &'static str,
    form: Form,
    route: Route,
    /// Short options that take a value.
    short: &'static str,
    /// Long options that take a value in the next word.
    long: &'static [&'static str],
    /// Operands before the command.
    operands: usize,
}

const fn wrapper(name: &'static str, form: Form, short: &'static str) -> Wrapper {
    Wrapper {
        name,
        form,
        route: Route::Direct,
        short,
        long: &[],
        operands: 0,
    }
}

const fn privileged(name: &'static str, form: Form, short: &'static str) -> Wrapper {
    Wrapper {
        route: Route::Privileged,
        ..wrapper(name, form, short)
    }
}

const fn after(operands: usize, wrapper: Wrapper) -> Wrapper {
    Wrapper {
        operands,
        ..wrapper
    }
}

const fn with_long(long: &'static [&'static str], wrapper: Wrapper) -> Wrapper {
    Wrapper { long, ..wrapper }
}

const SUDO_LONG: &[&str] = &[
    "user",
    "group",
    "other-user",
    "chdir",
    "chroot",
    "command-timeout",
    "prompt",
    "close-from",
    "host",
    "role",
    "type",
];
const XARGS_LONG: &[&str] = &[
    "arg-file",
    "delimiter",
    "max-args",
    "max-procs",
    "max-chars",
    "process-slot-var",
];

/// The wrappers. Options come from the programs' own manual pages.
static WRAPPERS: &[Wrapper] = &[
    with_long(SUDO_LONG, privileged("sudo", Form::Words, "ugUDRTpChrtac")),
    privileged("doas", Form::Words, "uCa"),
    with_long(&["user"], privileged("pkexec", Form::Words, "")),
    with_long(
        &["user", "unit", "property"],
        privileged("run0", Form::Words, "u"),
    ),
    privileged("su", Form::TextOption, "gGsw"),
    privileged("runuser", Form::TextOption, "uggGsw"),
    privileged("sg", Form::TextOption, ""),
    with_long(
        &["userspec", "groups"],
        after(1, privileged("chroot", Form::Words, "")),
    ),
    privileged("nsenter", Form::Words, "tSGrw"),
    with_long(&["unset", "chdir"], wrapper("env", Form::Words, "uCP")),
    wrapper("nohup", Form::Words, ""),
    with_long(&["adjustment"], wrapper("nice", Form::Words, "n")),
    with_long(
        &["class", "classdata", "pid"],
        wrapper("ionice", Form::Words, "cnpPu"),
    ),
    with_long(
        &["kill-after", "signal"],
        after(1, wrapper("timeout", Form::Words, "ks")),
    ),
    with_long(
        &["kill-after", "signal"],
        after(1, wrapper("gtimeout", Form::Words, "ks")),
    ),
    wrapper("setsid", Form::Words, ""),
    with_long(
        &["input", "output", "error"],
        wrapper("stdbuf", Form::Words, "ioe"),
    ),
    wrapper("unbuffer", Form::Words, ""),
    with_long(&["format", "output"], wrapper("time", Form::Words, "fo")),
    wrapper("command", Form::Words, ""),
    wrapper("exec", Form::Words, "a"),
    wrapper("builtin", Form::Words, ""),
    wrapper("busybox", Form::Words, ""),
    wrapper("toybox", Form::Words, ""),
    wrapper("fakeroot", Form::Words, "lfis"),
    wrapper("strace", Form::Words, "aeEIoOpPsSuUX"),
    wrapper("ltrace", Form::Words, "aeDFlnopsuwxX"),
    wrapper("valgrind", Form::Words, ""),
    after(1, wrapper("taskset", Form::Words, "")),
    after(1, wrapper("chrt", Form::Words, "TPD")),
    after(1, wrapper("faketime", Form::Words, "")),
    after(1, wrapper("setarch", Form::Words, "")),
    wrapper("linux64", Form::Words, ""),
    wrapper("linux32", Form::Words, ""),
    wrapper("proxychains", Form::Words, "f"),
    wrapper("proxychains4", Form::Words, "f"),
    wrapper("torsocks", Form::Words, ""),
    wrapper("torify", Form::Words, ""),
    wrapper("unshare", Form::Words, "SGRw"),
    wrapper("setpriv", Form::Words, ""),
    wrapper("caffeinate", Form::Words, "tw"),
    wrapper("eatmydata", Form::Words, ""),
    wrapper("xvfb-run", Form::Words, "efnpsw"),
    wrapper("dbus-run-session", Form::Words, ""),
    wrapper("systemd-run", Form::Words, "pMHuE"),
    wrapper("ld-linux-x86-64.so.2", Form::Words, ""),
    after(1, wrapper("flock", Form::Words, "wEc")),
    with_long(XARGS_LONG, wrapper("xargs", Form::Fed, "aEILnPsd")),
    wrapper("xe", Form::Fed, "INjp"),
    wrapper("entr", Form::Fed, ""),
    wrapper("parallel", Form::Fed, "aIjSNLnPd"),
    wrapper("watch", Form::JoinedText, "nqs"),
    wrapper("eval", Form::JoinedText, ""),
    Wrapper {
        route: Route::Remote,
        ..after(
            1,
            wrapper("ssh", Form::JoinedText, "BbcDEeFIiJLlmOoPpQRSWw"),
        )
    },
    wrapper("trap", Form::FirstOperand, ""),
    wrapper("script", Form::TextOption, "IOTmoEBt"),
];

/// Takes one layer off.
pub(super) fn take_apart(command: &SimpleCommand) -> Unwrapped {
    let Some(first) = command.words.first() else {
        return Unwrapped::Command;
    };
    let program = basename(&first.text);
    if is_shell(program) {
        return shell_text(command.args());
    }
    if program == "find" || program == "fd" {
        return executed_by_find(command.args());
    }
    let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == program) else {
        return subcommands::take_off(command);
    };
    let mut inner = Inner {
        name: wrapper.name,
        route: wrapper.route,
        assignments: Vec::new(),
        commands: Vec::new(),
    };
    let args = command.args();
    if asks_only(wrapper.name, args) {
        return Unwrapped::Command;
    }
    if let Some(text) = text_option(wrapper, args) {
        return text;
    }
    let start = skip(wrapper, args, &mut inner.assignments);
    let rest = args.get(start..).unwrap_or(&[]);
    let Some(next) = rest.first() else {
        return Unwrapped::Command;
    };
    match wrapper.form {
        Form::JoinedText => text_of(rest, wrapper.route),
        Form::FirstOperand if next.text.is_empty() || next.text == "-" => Unwrapped::Command,
        Form::FirstOperand => text_of(&rest[..1], wrapper.route),
        Form::TextOption => Unwrapped::Command,
        Form::Words | Form::Fed => {
            let end = rest.iter().position(|word| word.text.starts_with(":::"));
            let mut words = rest[..end.unwrap_or(rest.len())].to_vec();
            if let [only] = words.as_slice()
                && only.text.contains(' ')
                && wrapper.form == Form::Fed
            {
                return text_of(&words, wrapper.route);
            }
            // `parallel COMMAND ::: ARGUMENT…`
            words.extend(rest.iter().skip(words.len() + 1).cloned());
            inner.commands.push((words, wrapper.form == Form::Fed));
            Unwrapped::Inner(inner)
        }
    }
}

/// Returns whether the wrapper only looks something up (`command -v`, `sudo -l`).
fn asks_only(name: &str, args: &[Word]) -> bool {
    let first = args.first().map_or("", |word| word.text.as_str());
    match name {
        "command" => matches!(first, "-v" | "-V"),
        "sudo" => matches!(
            first,
            "-l" | "-v" | "-k" | "-K" | "-h" | "-V" | "--list" | "--validate"
        ),
        "trap" => matches!(first, "-l" | "-p"),
        "timeout" | "time" | "env" | "nohup" | "nice" => matches!(first, "--help" | "--version"),
        _ => false,
    }
}

fn text_of(words: &[Word], route: Route) -> Unwrapped {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let span = (
        words.iter().map(|word| word.span.0).min().unwrap_or(0),
        words.iter().map(|word| word.span.1).max().unwrap_or(0),
    );
    Unwrapped::Text {
        text: texts.join(" "),
        span,
        route,
        positional: Vec::new(),
        zeroth: None,
    }
}

/// Finds `-c TEXT`, `-cTEXT`, `--command TEXT`, and the string form of `env` (`-S TEXT`).
fn text_option(wrapper: &Wrapper, args: &[Word]) -> Option<Unwrapped> {
    let (short, long) = match (wrapper.form, wrapper.name) {
        (Form::TextOption, _) | (_, "flock") => ('c', "command"),
        (_, "env") => ('S', "split-string"),
        _ => return None,
    };
    for (index, argument) in args.iter().enumerate() {
        let text = argument.text.as_str();
        if let Some(value) = text.strip_prefix("--") {
            match value.split_once('=') {
                Some((name, value)) if name == long => {
                    let word = Word {
                        text: value.to_owned(),
                        ..argument.clone()
                    };
                    return Some(text_of(&[word], wrapper.route));
                }
                None if value == long => {
                    return Some(text_of(args.get(index + 1..index + 2)?, wrapper.route));
                }
                Some(_) | None => continue,
            }
        }
        let Some(cluster) = text.strip_prefix('-') else {
            // `env` stops at its command, `su` and `script` take options after operands.
            if wrapper.name == "env" && !text.contains('=') {
                return None;
            }
            continue;
        };
        let Some(at) = cluster.find(short) else {
            continue;
        };
        let glued = &cluster[at + 1..];
        let mut words = vec![Word {
            text: glued.to_owned(),
            ..argument.clone()
        }];
        if glued.is_empty() {
            words = args.get(index + 1..index + 2)?.to_vec();
        }
        if wrapper.name == "env" {
            let next = index + if glued.is_empty() { 2 } else { 1 };
            words.extend(args.get(next..)?.iter().cloned());
        }
        return Some(text_of(&words, wrapper.route));
    }
    None
}

/// Returns where the wrapped command starts.
fn skip(wrapper: &Wrapper, args: &[Word], assignments: &mut Vec<(String, Word)>) -> usize {
    let mut at = 0;
    while let Some(argument) = args.get(at) {
        let text = argument.text.as_str();
        if text == "--" {
            at += 1;
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            at += if wrapper.long.contains(&long) { 2 } else { 1 };
        } else if text.len() > 1 && text.starts_with('-') {
            let takes_next = text
                .chars()
                .next_back()
                .is_some_and(|c| wrapper.short.contains(c))
                && !text[1..text.len() - 1]
                    .chars()
                    .any(|c| wrapper.short.contains(c));
            at += if takes_next { 2 } else { 1 };
        } else {
            break;
        }
    }
    at += wrapper.operands;
    while let Some(argument) = args.get(at) {
        let takes_assignments = matches!(wrapper.name, "env" | "sudo" | "doas" | "systemd-run");
        match argument.text.split_once('=') {
            Some((name, value)) if takes_assignments && is_name(name) => {
                let word = Word {
                    text: value.to_owned(),
                    ..argument.clone()
                };
                assignments.push((name.to_owned(), word));
            }
            _ => break,
        }
        at += 1;
    }
    at
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Finds the text of `sh -c TEXT`, with combined options (`-lc`) and `+x`.
fn shell_text(args: &[Word]) -> Unwrapped {
    let mut wants_text = false;
    let mut at = 0;
    while let Some(argument) = args.get(at) {
        let text = argument.text.as_str();
        at += 1;
        match text {
            "--" => break,
            "--rcfile" | "--init-file" | "-O" | "+O" => at += 1,
            "-" => {}
            _ if text.starts_with("--") => wants_text |= text == "--command",
            _ if text.starts_with(['-', '+']) => {
                wants_text |= text.starts_with('-') && text.contains('c');
                at += usize::from(text.ends_with('o'));
            }
            _ => {
                at -= 1;
                break;
            }
        }
    }
    match args.get(at) {
        Some(word) if wants_text => Unwrapped::Text {
            text: word.text.clone(),
            span: word.span,
            route: Route::Direct,
            positional: args.get(at + 2..).unwrap_or(&[]).to_vec(),
            zeroth: args.get(at + 1).cloned(),
        },
        _ => Unwrapped::Command,
    }
}

/// Finds the commands of `find … -exec COMMAND ;` and `fd … -x COMMAND`.
fn executed_by_find(args: &[Word]) -> Unwrapped {
    const ACTIONS: [&str; 8] = [
        "-exec",
        "-execdir",
        "-ok",
        "-okdir",
        "-x",
        "-X",
        "--exec",
        "--exec-batch",
    ];
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(argument) = args.get(at) {
        at += 1;
        if !ACTIONS.contains(&argument.text.as_str()) {
            continue;
        }
        let rest = args.get(at..).unwrap_or(&[]);
        let end = rest
            .iter()
            .position(|word| matches!(word.text.as_str(), ";" | "+"))
            .unwrap_or(rest.len());
        if end > 0 {
            commands.push((rest[..end].to_vec(), true));
        }
        at += end;
    }
    if commands.is_empty() {
        return Unwrapped::Command;
    }
    Unwrapped::Inner(Inner {
        name: "find",
        route: Route::Direct,
        assignments: Vec::new(),
        commands,
    })
}
