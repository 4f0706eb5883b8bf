//! How long judging takes: reads commands, each ended by a NUL, from standard input and prints times.

use std::{
    io::{self, Read as _},
    time::{Duration, Instant},
};

use sandbox_safety::{Policy, Profile, SafetyValidator, Surroundings};

/// Each command is judged so often; the shortest time counts, as the others are other programs' work.
const ROUNDS: usize = 9;

#[expect(clippy::print_stdout, reason = "what it prints is its result")]
fn main() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let validator = SafetyValidator::new(Policy::of(Profile::Default));
    let around = Surroundings::unconfined();
    let judge = |command: &str| {
        let started = Instant::now();
        drop(validator.judge_text(command, &around));
        started.elapsed()
    };
    let started = Instant::now();
    let _warm = judge("ls");
    println!("first {:?}", started.elapsed());
    let shortest = |command: &str| (0..ROUNDS).map(|_| judge(command)).min();
    let mut times: Vec<(Duration, usize)> = text
        .split_terminator('\0')
        .enumerate()
        .filter_map(|(index, command)| Some((shortest(command)?, index)))
        .collect();
    times.sort_unstable();
    let all: Duration = times.iter().map(|(time, _)| *time).sum();
    if !all.is_zero() {
        let count = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX));
        println!("{:.0} commands a second", count / all.as_secs_f64());
    }
    let at =
        |share: usize| times.get((times.len() * share / 1000).min(times.len().saturating_sub(1)));
    for (name, share) in [("p50", 500), ("p90", 900), ("p99", 990), ("max", 1000)] {
        if let Some((time, index)) = at(share) {
            let length = text.split_terminator('\0').nth(*index).map_or(0, str::len);
            println!("{name} {time:?} ({length} bytes)");
        }
    }
    let body = "a line of text in a document, with \"quotes\" and $variables\n".repeat(350);
    let heredoc = format!("cat > x.md <<'END'\n{body}END\n");
    println!(
        "heredoc of {} bytes {:?}",
        heredoc.len(),
        shortest(&heredoc)
    );
    let script = "echo \"$x\" | sort > out && make -C dir all\n".repeat(500);
    println!("script of {} bytes {:?}", script.len(), shortest(&script));
    Ok(())
}
