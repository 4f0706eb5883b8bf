//! Shells with the rights of root, for somebody's hands.

use crate::{
    pattern::has_option,
    rules::Scene,
    shell::{RedirectKind, Route, SimpleCommand, Span, Word, read::is_shell},
};

/// Programs that start a shell as root when they get no command.
const WITHOUT_COMMAND: [&str; 6] = ["sudo", "su", "doas", "run0", "nsenter", "machinectl"];

/// Wrappers that do not move the shell into a container, another root or onto another machine.
const KEEPS_TO_ITSELF: [&str; 12] = [
    "sudo", "doas", "pkexec", "run0", "env", "nice", "nohup", "setsid", "command", "exec", "time",
    "ionice",
];

/// Finds what leaves a shell of root behind that takes what is typed.
pub(super) fn opens_root_shell(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    // What is piped or handed in is read and judged by itself.
    if command.pipe.is_some() || command.taken_apart {
        return None;
    }
    let program = command.program();
    let args = command.args();
    let elevated = command.context.route == Route::Privileged;
    let opens = if is_shell(program) {
        let directly = command
            .wrappers
            .iter()
            .all(|it| KEEPS_TO_ITSELF.contains(it));
        elevated && directly && for_root(scene, command) && args.iter().all(is_switch)
    } else {
        WITHOUT_COMMAND.contains(&program) && asks_for_shell(program, args)
    };
    (opens && !is_fed(scene, command)).then_some(command.span)
}

fn is_fed(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    let given = |it: &SimpleCommand| {
        let mut redirects = it.redirects.iter();
        redirects.any(|it| {
            matches!(
                it.kind,
                RedirectKind::Read | RedirectKind::HereDoc { .. } | RedirectKind::HereString
            )
        })
    };
    given(command) || wrapper_of(scene, command).is_some_and(given)
}

/// Returns the command that was taken apart to reach this one.
fn wrapper_of<'s>(scene: &'s Scene<'_>, command: &SimpleCommand) -> Option<&'s SimpleCommand> {
    let before = scene.reading.commands.get(..command.index)?;
    let encloses = |it: &Span| it.0 <= command.span.0 && command.span.1 <= it.1;
    let mut before = before.iter().rev();
    before.find(|it| it.taken_apart && encloses(&it.span))
}

/// Returns whether the wrapper around a shell names no other user than root.
fn for_root(scene: &Scene<'_>, command: &SimpleCommand) -> bool {
    let Some(wrapper) = wrapper_of(scene, command) else {
        return true;
    };
    !names_another(wrapper.args())
}

/// Returns whether the options name a user other than root.
fn names_another(args: &[Word]) -> bool {
    let value = |at: usize| args.get(at + 1).map_or("", |it| it.text.as_str());
    args.iter()
        .enumerate()
        .any(|(at, it)| match it.text.as_str() {
            "-u" | "--user" => !is_root(value(at)),
            text => text
                .strip_prefix("--user=")
                .or_else(|| text.strip_prefix("-u"))
                .is_some_and(|user| !is_root(user)),
        })
}

fn is_root(user: &str) -> bool {
    matches!(user, "root" | "#0")
}

/// Returns whether an argument of a shell says how it starts, not what it runs.
fn is_switch(word: &Word) -> bool {
    let text = word.text.as_str();
    matches!(
        text,
        "-" | "--login" | "--norc" | "--noprofile" | "--posix" | "--interactive"
    ) || text.strip_prefix('-').is_some_and(|letters| {
        !letters.is_empty() && letters.bytes().all(|it| b"ilp".contains(&it))
    })
}

/// Returns whether the arguments ask for a shell of root and for no command.
fn asks_for_shell(program: &str, args: &[Word]) -> bool {
    if ["--help", "--version", "--list", "--validate"]
        .iter()
        .any(|it| args.iter().any(|word| word.text == *it))
        || names_another(args)
    {
        return false;
    }
    let operands: Vec<&str> = args
        .iter()
        .map(|it| it.text.as_str())
        .filter(|it| *it == "-" || !it.starts_with('-'))
        .collect();
    match program {
        "su" => {
            let own_shell = !has_option(args, "-c") && !has_option(args, "--command");
            own_shell && matches!(operands.as_slice(), [] | ["-" | "root"] | ["-", "root"])
        }
        "sudo" => {
            let interactive = has_option(args, "-i")
                || has_option(args, "-s")
                || has_option(args, "--login")
                || has_option(args, "--shell");
            interactive && matches!(operands.as_slice(), [] | ["root"])
        }
        "doas" => has_option(args, "-s") && operands.is_empty(),
        "run0" => args.is_empty(),
        // The namespaces of the machine's first process are the machine.
        "nsenter" => {
            let first = args
                .windows(2)
                .any(|it| matches!(it[0].text.as_str(), "-t" | "--target") && it[1].text == "1");
            (first
                || args
                    .iter()
                    .any(|it| it.text == "--target=1" || it.text == "-t1"))
                && operands.iter().all(|it| *it == "1")
        }
        "machinectl" => matches!(operands.as_slice(), ["shell"] | ["shell", ".host"]),
        _ => false,
    }
}
