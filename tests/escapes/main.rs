//! What hostile commands try, and that it ends at a wall.
//!
//! This program is both sides. As a test it starts `sandbox` as a caller does, with itself as the command; with
//! `--attempt` it is the attacking program. The judge is outside: canary files, listeners, terminals, the
//! host's process table. Each attempt has a control: the same without the wall succeeds.
#![expect(
    clippy::disallowed_methods,
    reason = "the suite starts the program as its users do, and reads its own environment"
)]

#[cfg(test)]
mod attacker;
#[cfg(test)]
mod cases;
#[cfg(test)]
#[path = "../it/lab.rs"]
#[expect(dead_code, reason = "shared with the other tests of the program")]
mod lab;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod trial;

#[cfg(test)]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == attacker::FLAG => attacker::run(rest),
        _ => suite::run(&arguments),
    }
}

#[cfg(not(test))]
fn main() {}
