//! `cargo xtask bench safety`: what judging costs, a command at a time and as a process, and the content scan.
//!
//! The commands are those of `tests/verdicts/`: half of them dangerous, as no day's work is, so that the rules that
//! look closely are met. No corpus is needed.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{Contestant, milliseconds, release_directory, time_all};
use crate::process;

/// Timed runs of each program.
const RUNS: usize = 50;
/// Lists of words of these lengths are searched for.
const GROWTH: [&str; 3] = ["100", "1000", "5000"];

/// Measures judging, and scanning on the files of `directory`.
pub(crate) fn safety(directory: &str) -> anyhow::Result<()> {
    build()?;
    commands()?;
    processes()?;
    growth(directory)?;
    super::scan(directory)
}

fn build() -> anyhow::Result<()> {
    let example = |name| ["-p", "sandbox-safety", "--example", name];
    for what in [
        &["--bin", "sandbox"][..],
        &example("judge_speed"),
        &example("scan_speed"),
    ] {
        let mut cargo = process::cargo(&["build", "--release", "--locked"]);
        process::run(cargo.args(what))?;
    }
    Ok(())
}

/// Judges each command of `tests/verdicts/` in one process.
fn commands() -> anyhow::Result<()> {
    let mut judge = Command::new(release_directory()?.join("examples/judge_speed"));
    let mut judge = judge
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start judge_speed")?;
    let texts = texts()?;
    println!("{} commands of tests/verdicts", texts.len());
    let mut input = judge.stdin.take().context("no standard input")?;
    for text in &texts {
        write!(input, "{text}\0").context("cannot write to judge_speed")?;
    }
    drop(input);
    if !judge
        .wait()
        .context("cannot wait for judge_speed")?
        .success()
    {
        bail!("judge_speed failed");
    }
    Ok(())
}

/// Returns the fenced commands of `tests/verdicts/`.
fn texts() -> anyhow::Result<Vec<String>> {
    let folder = process::root().join("tests/verdicts");
    let mut texts = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry.context("cannot read an entry")?.path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for fenced in text.split("```sh").skip(1) {
            let Some((kind, rest)) = fenced.split_once('\n') else {
                continue;
            };
            let body = rest.split_once("\n```").map_or(rest, |(body, _)| body);
            match kind {
                "" => texts.push(body.to_owned()),
                _each_line => texts.extend(body.lines().map(str::to_owned)),
            }
        }
    }
    if texts.is_empty() {
        bail!("{} has no commands", folder.display());
    }
    Ok(texts)
}

/// Times a whole `sandbox check` against a process of ours that judges nothing.
fn processes() -> anyhow::Result<()> {
    let place = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    let sandbox = release_directory()?.join("sandbox");
    let ours = |args: &[&str]| {
        let mut command = Command::new(&sandbox);
        command.args(args).current_dir(place.path());
        command
            .env("SANDBOX_HOME", place.path().join("home"))
            .env_remove("SANDBOX_NAME");
        command
    };
    let mut contestants = [
        Contestant::new("sandbox check -- ls", ours(&["check", "--", "ls"])),
        Contestant::new("sandbox --version", ours(&["--version"])),
    ];
    time_all(&mut contestants, RUNS)?;
    let times = u32::try_from(RUNS).unwrap_or(u32::MAX);
    for it in &contestants {
        println!(
            "{:>6.2} ms median {:>6.2} ms least {:>6.2} ms CPU {:>6} faults  {}",
            milliseconds(it.median()),
            milliseconds(it.minimum()),
            milliseconds(it.spent.cpu / times),
            it.spent.faults / u64::from(times),
            it.name
        );
    }
    let [check, version] = &contestants;
    let ratio = check.median().as_secs_f64() / version.median().as_secs_f64();
    println!("{ratio:>6.2} × sandbox --version by the medians");
    Ok(())
}

/// Searches for longer and longer lists of words, with the scanner's automaton and with ripgrep, one thread each.
fn growth(directory: &str) -> anyhow::Result<()> {
    let example = release_directory()?.join("examples/scan_speed");
    let place = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    let list = place.path().join("words");
    for count in GROWTH {
        process::run(Command::new(&example).args(["--growth", count, directory]))?;
        let words = process::read(Command::new(&example).args(["--words", count]))?;
        fs::write(&list, words).context("cannot write the words")?;
        let mut ripgrep = Command::new("rg");
        ripgrep.args(["-c", "-i", "-a", "-uuu", "-F", "-j", "1", "-f"]);
        ripgrep.arg(&list).arg(directory);
        let mut ripgrep = Contestant::new("rg", ripgrep);
        for _ in 0..3 {
            let took = ripgrep.run()?;
            ripgrep.wall.push(took);
        }
        println!(
            "  rg, with reading the files: {:.0} ms",
            milliseconds(ripgrep.median())
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_of_the_verdicts_are_found() {
        let texts = super::texts().unwrap();
        assert!(texts.len() > 20 && texts.iter().all(|it| !it.contains("```")));
    }
}
