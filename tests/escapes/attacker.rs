//! The attacking program: `--attempt NAME [ARGUMENT…]`.
//!
//! It prints `> what<TAB>answer` for each attempt: `through`, or what the kernel answered. It knows nothing of
//! sandboxes; the suite runs it outside, too.

use std::{io, process::ExitCode};

use crate::raw::{End, in_child};

mod calls;
mod files;
mod names;
mod network;
mod processes;
mod resources;
mod terminal;

/// Makes the test program the attacking program.
pub(crate) const FLAG: &str = "--attempt";

/// Errors that are a wall's answer: the request was understood and refused. Others come from behind it.
const REFUSALS: [i32; 10] = [
    libc::EPERM,
    libc::EACCES,
    libc::ENOSYS,
    libc::ENOENT,
    libc::ENXIO,
    libc::ENODEV,
    libc::EROFS,
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
    libc::ESOCKTNOSUPPORT,
];

/// Carries one attack out.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((name, rest)) = arguments.split_first() else {
        return ExitCode::from(2);
    };
    match *name {
        "calls" => calls::kernel(rest),
        "namespaces" => calls::namespaces(),
        "families" => network::families(),
        "connect" => network::connect(rest),
        "unix" => network::unix(rest),
        "datagram" => network::datagrams(rest),
        "exchange" => network::exchange(rest),
        "visit" => names::visit(rest),
        "world" => return names::world(rest),
        "hold" => network::hold(rest),
        "offer" => network::offer(rest),
        "take" => network::take(rest),
        "open" => files::open(rest),
        "handle" => files::by_handle(rest),
        "change" => files::change(rest),
        "make" => files::make(rest),
        "attribute" => files::attribute(rest),
        "deep" => files::deep(rest),
        "many" => files::many(rest),
        "memfd" => files::memfd(rest),
        "tty" => terminal::attack(),
        "console" => terminal::console(),
        "in-terminal" => return terminal::run_in(rest),
        "signal" => processes::signal(rest),
        "trace" => processes::trace(rest),
        "schedule" => processes::schedule(),
        "weaken" => processes::weaken(),
        "bound" => return processes::bound_to_parent(rest),
        "dodge" => processes::dodge(rest),
        "fork" => resources::fork(rest),
        "threads" => resources::threads(rest),
        "zombies" => resources::zombies(rest),
        "eat" => resources::eat(rest),
        "anonymous" => resources::anonymous(rest),
        "print" => resources::print(rest),
        "shared" => resources::shared(rest),
        "spin" => resources::spin(rest),
        "descriptors" => resources::descriptors(),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Says what came of an attempt.
fn tell(what: &str, answer: &str) {
    println!("> {what}\t{answer}");
}

fn tell_result<T>(what: &str, result: io::Result<T>) {
    match result {
        Ok(_) => tell(what, "through"),
        Err(error) => tell(what, &words_of(&error)),
    }
}

/// Says whether an attempt came past the walls, whatever the kernel then said to its arguments.
fn tell_code(what: &str, code: i32) {
    if REFUSALS.contains(&code) {
        tell(what, &words_of(&io::Error::from_raw_os_error(code)));
    } else {
        tell(what, "through");
    }
}

/// Makes an attempt in a child of its own. Only its success counts.
fn tell_success(what: &str, attempt: impl Fn() -> io::Result<usize>) {
    match in_child(|| code_of(attempt())) {
        End::Exited(0) => tell(what, "through"),
        End::Exited(code) => tell(what, &words_of(&io::Error::from_raw_os_error(code))),
        End::Killed(signal) => tell(what, &format!("killed by signal {signal}")),
    }
}

/// Makes an attempt in a child of its own, first as it is, then as root of new namespaces. It is through if it came to
/// the code behind the wall, whatever that said to its arguments.
fn tell_call(what: &str, attempt: impl Fn() -> io::Result<usize>) {
    let plain = in_child(|| {
        calls::leave_terminal();
        code_of(attempt())
    });
    let answer = match plain {
        End::Exited(code) if REFUSALS.contains(&code) => in_child(|| {
            calls::leave_terminal();
            match calls::become_root_of_namespaces() {
                Ok(_) => code_of(attempt()),
                Err(_refused) => code,
            }
        }),
        answer @ (End::Exited(_) | End::Killed(_)) => answer,
    };
    match answer {
        End::Exited(code) => tell_code(what, code),
        End::Killed(signal) => tell(what, &format!("killed by signal {signal}")),
    }
}

/// Returns 0, or the number of the error.
fn code_of(result: io::Result<usize>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(255), |_| 0)
}

fn words_of(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Returns the number that an argument holds.
fn number(arguments: &[&str], index: usize) -> usize {
    let text = arguments.get(index).expect("an argument is missing");
    text.parse().expect("an argument is no number")
}
