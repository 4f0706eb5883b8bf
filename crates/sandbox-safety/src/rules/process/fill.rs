//! Writing without end.

use crate::{
    rules::Scene,
    shell::{Known, RedirectKind, SimpleCommand, Span, Word},
};

/// What is written at once and is more than this fills most disks.
const BYTES_MANY: u64 = 100 << 30;
/// Files that yield bytes for ever.
const ENDLESS: [&str; 3] = ["/dev/zero", "/dev/urandom", "/dev/random"];

/// Finds what writes to a file and never ends by itself, or only after more than disks hold.
pub(super) fn fills_the_disk(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    // What `timeout` and `head` end, ends.
    if command.wrappers.contains(&"timeout") {
        return None;
    }
    let args = command.args();
    let endless = |text: &str| ENDLESS.contains(&text);
    let reads_endless = || {
        let read = command.redirects.iter();
        let mut read = read.filter(|it| it.kind == RedirectKind::Read);
        read.any(|it| endless(&it.target.text)) || args.iter().any(|it| endless(&it.text))
    };
    let fills = match command.program() {
        "yes" => writes_file(command),
        "cat" | "tr" | "base64" | "xxd" | "od" | "pv" => writes_file(command) && reads_endless(),
        "dd" => copies_without_end(args),
        "head" | "fallocate" | "truncate" => args
            .iter()
            .any(|it| bytes_of(&it.text).is_some_and(|bytes| bytes >= BYTES_MANY)),
        _ => false,
    };
    (fills || drains_an_endless_pipe(scene, command) || feeds_itself(command))
        .then_some(command.span)
}

/// Returns whether a pipe that begins with an endless source ends in a file, or in a program that holds all it gets.
fn drains_an_endless_pipe(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    const PASSES: [&str; 17] = [
        "tr", "cat", "base64", "gzip", "pigz", "bzip2", "xz", "zstd", "sed", "xxd", "od", "rev",
        "tee", "pv", "openssl", "fold", "nl",
    ];
    const HOLDS: [&str; 4] = ["sort", "tac", "tail", "shuf"];
    let program = command.program();
    let file = program == "tee"
        && command
            .args()
            .iter()
            .any(|it| !it.text.starts_with(['-', '/']));
    let takes = HOLDS.contains(&program) || PASSES.contains(&program) && writes_file(command);
    if !takes && !file {
        return false;
    }
    let mut feeders = scene.feeders(command);
    let endless = feeders.next().is_some_and(|first| match first.program() {
        "yes" => !first.wrappers.contains(&"timeout"),
        "cat" => first
            .args()
            .iter()
            .any(|it| ENDLESS.contains(&it.text.as_str())),
        _ => false,
    });
    endless && feeders.all(|it| PASSES.contains(&it.program()))
}

/// Returns whether a program appends to the file that it reads.
fn feeds_itself(command: &SimpleCommand) -> bool {
    matches!(command.program(), "cat" | "tail" | "tac" | "nl")
        && command.redirects.iter().any(|it| {
            it.kind == RedirectKind::Append
                && it.target.known == Known::Literal
                && command.args().iter().any(|arg| arg.text == it.target.text)
        })
}

/// Returns whether a value holds the one before at its begin and at its end.
fn is_more_than_once(before: &str, value: &str) -> bool {
    !before.is_empty()
        && value.len() >= before.len() * 2
        && value.starts_with(before)
        && value.ends_with(before)
}

/// Programs that print and are done.
const PRINTS: [&str; 9] = [
    "echo", "printf", "cat", "date", "head", "yes", "seq", "base64", "ls",
];
/// Only so many commands before one in a loop are looked at.
const NEAR: usize = 8;

/// Finds what takes more and more in a loop that neither ends nor waits.
pub(super) fn grows_without_end(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    if !command.context.endless {
        return None;
    }
    let args = command.args();
    let first = args.first().map_or("", |it| it.text.as_str());
    let grows = match command.program() {
        "" => writes_what_is_printed(scene, command) || doubles(scene, command),
        program if PRINTS.contains(&program) => {
            program == "yes" || appends(command) || writes_file(command) && varies(command)
        }
        "tee" => args.iter().any(|it| it.text == "-a"),
        "cp" | "touch" | "truncate" | "ln" | "split" | "tar" | "fallocate" | "dd" => {
            varies(command)
        }
        "mkdir" | "logger" | "mktemp" | "systemd-run" | "stress" | "stress-ng" => true,
        "openssl" => first == "speed",
        "docker" | "podman" | "nerdctl" => first == "run",
        "aws" | "gcloud" | "az" | "kubectl" => args.iter().any(|it| {
            matches!(
                it.text.as_str(),
                "run-instances" | "create" | "run" | "scale"
            )
        }),
        "curl" | "wget" | "ab" | "hping3" => args.iter().any(|it| {
            let here = ["localhost", "127.0.0.1", "$", "[::1]"];
            it.text.contains("://") && !here.iter().any(|own| it.text.contains(own))
        }),
        _ => false,
    };
    grows.then_some(command.span)
}

fn appends(command: &SimpleCommand) -> bool {
    let mut redirects = command.redirects.iter();
    redirects.any(|it| it.kind == RedirectKind::Append && !it.target.text.starts_with("/dev/"))
}

/// Returns whether what it works on is another each time.
fn varies(command: &SimpleCommand) -> bool {
    let targets = command.redirects.iter().map(|it| &it.target);
    let mut words = command.args().iter().chain(targets);
    words.any(|it| it.known == Known::Unknown)
}

fn before<'s>(
    scene: &'s Scene<'_>,
    command: &SimpleCommand,
) -> impl Iterator<Item = &'s SimpleCommand> {
    let commands = &scene.reading.commands;
    let start = command.index.saturating_sub(NEAR);
    commands
        .get(start..command.index)
        .unwrap_or(&[])
        .iter()
        .rev()
}

/// Returns whether the redirection of a loop takes what is printed in it.
fn writes_what_is_printed(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    writes_file(command)
        && before(scene, command).any(|it| {
            it.context.endless && PRINTS.contains(&it.program()) && it.redirects.is_empty()
        })
}

/// Returns whether a variable gets what it held more than once.
fn doubles(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    command.assignments.iter().any(|(name, value)| {
        let mut earlier = before(scene, command);
        let held = earlier.find_map(|it| it.assignments.iter().find(|(other, _)| other == name));
        if held.is_some_and(|(_, held)| is_more_than_once(&held.text, &value.text)) {
            return true;
        }
        let plain = value.text.matches(&format!("${name}")).count();
        plain + value.text.matches(&format!("${{{name}}}")).count() > 1
    })
}

fn writes_file(command: &SimpleCommand) -> bool {
    command.redirects.iter().any(|it| {
        let writes = matches!(it.kind, RedirectKind::Write | RedirectKind::Append);
        writes && !it.target.text.starts_with("/dev/")
    })
}

fn copies_without_end(args: &[Word]) -> bool {
    let value = |name: &str| args.iter().find_map(|it| it.text.strip_prefix(name));
    let from = value("if=").is_some_and(|it| ENDLESS.contains(&it));
    let to = value("of=").is_some_and(|it| !it.starts_with("/dev/"));
    let bytes = || {
        let block = value("bs=").map_or(Some(512), bytes_of)?;
        value("count=")?.parse::<u64>().ok()?.checked_mul(block)
    };
    from && to && (value("count=").is_none() || bytes().is_some_and(|it| it >= BYTES_MANY))
}

/// Returns how many bytes an argument such as `-c200G`, `--bytes=1T` or `300GiB` says.
fn bytes_of(text: &str) -> Option<u64> {
    let value = text.rsplit('=').next().unwrap_or(text);
    let value = value.trim_start_matches(|c: char| c == '-' || c.is_ascii_lowercase());
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
