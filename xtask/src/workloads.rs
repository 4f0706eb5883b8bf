//! `cargo xtask workloads`: real builds and test suites, outside and inside of a sandbox, as a table.
//!
//! Each is prepared outside, where a registry may be asked, then run in two copies of what was prepared: first outside,
//! then with the default configuration inside. What cannot be prepared here is named as skipped, with the reason.

mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use self::table::{WORKLOADS, Workload};
use crate::{bench, process};

/// As much of a failed program's last words as is shown.
const LAST_WORDS: usize = 600;

/// What one run of a workload took.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

/// Runs the workloads with `name` in their name.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    let wanted: Vec<&Workload> = WORKLOADS
        .iter()
        .filter(|it| it.name.contains(name))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = WORKLOADS.iter().map(|it| it.name).collect();
        bail!("no workload has `{name}` in its name: {}", names.join(", "));
    }
    process::run(&mut process::cargo(&[
        "build", "--locked", "--bin", "sandbox",
    ]))?;
    // Not optimised: what it does itself is nothing beside a build.
    let sandbox = process::target_directory()?.join("debug/sandbox");
    println!(
        "workload                    outside s (CPU)    inside s (CPU)   ratio (CPU)   grants"
    );
    let (mut failed, mut skipped) = (Vec::new(), 0);
    for workload in wanted {
        match try_one(workload, &sandbox)? {
            Tried::Skipped(why) => {
                skipped += 1;
                println!("{:<26} SKIPPED: {why}", workload.name);
            }
            Tried::Failed(why) => {
                println!("{:<26} FAILED inside: {why}", workload.name);
                failed.push(workload.name);
            }
            Tried::Passed { outside, inside } => print(workload, outside, inside),
        }
    }
    if skipped > 0 {
        println!(
            "{skipped} of {} SKIPPED: they show nothing here",
            WORKLOADS.len()
        );
    }
    if !failed.is_empty() {
        bail!("{} failed inside", failed.join(", "));
    }
    Ok(())
}

/// What came of a workload.
enum Tried {
    Passed {
        outside: Took,
        inside: Took,
    },
    /// It works outside only.
    Failed(String),
    Skipped(String),
}

fn try_one(workload: &Workload, sandbox: &Path) -> anyhow::Result<Tried> {
    let directory = tempfile::Builder::new()
        .prefix("sandbox-workload-")
        .tempdir()
        .context("cannot make a directory for a workload")?;
    let place = |name: &str| -> PathBuf { directory.path().join(name) };
    for name in ["prepared", "cache", "home"] {
        fs::create_dir(place(name)).with_context(|| format!("cannot make the directory {name}"))?;
    }
    let bash = |text: &str, at: &Path| {
        let mut command = Command::new("bash");
        command.args(["-euc", text]).current_dir(at);
        command.env("CACHE", place("cache"));
        command
    };
    let prepared = place("prepared");
    if let Err(why) = timed(&mut bash(workload.prepare, &prepared))? {
        return Ok(Tried::Skipped(format!("it cannot be prepared here: {why}")));
    }
    fs::write(prepared.join("workload.sh"), workload.run)
        .context("cannot write the workload's script")?;
    for copy in ["outside", "inside"] {
        let text = format!("cp -a prepared {copy}");
        process::run(&mut bash(&text, directory.path()))?;
    }
    let outside = match timed(&mut bash("bash -eu workload.sh", &place("outside")))? {
        Ok(took) => took,
        Err(why) => return Ok(Tried::Skipped(format!("it fails outside, too: {why}"))),
    };
    let cache = place("cache").display().to_string();
    let mut confined = Command::new(sandbox);
    confined
        .args(["run", "--yes", "--no-session", "--env"])
        .arg(format!("CACHE={cache}"));
    for grant in workload.grants {
        confined.arg(grant.replace("$CACHE", &cache));
    }
    confined
        .args(["--", "bash", "-eu", "workload.sh"])
        .current_dir(place("inside"))
        .env("SANDBOX_HOME", place("home"))
        .env_remove("SANDBOX_NAME");
    let inside = timed(&mut confined)?;
    let mut destroy = Command::new(sandbox);
    destroy
        .args(["destroy", "--force"])
        .current_dir(place("inside"))
        .env("SANDBOX_HOME", place("home"))
        .env_remove("SANDBOX_NAME");
    process::read(&mut destroy).context("cannot destroy the workload's sandbox")?;
    Ok(match inside {
        Ok(inside) => Tried::Passed { outside, inside },
        Err(why) => Tried::Failed(why),
    })
}

/// Runs a command; says what it took, or its last words.
fn timed(command: &mut Command) -> anyhow::Result<Result<Took, String>> {
    let before = bench::cpu_of_children()?;
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot start a workload")?;
    let took = Took {
        wall: start.elapsed(),
        cpu: bench::cpu_of_children()?.saturating_sub(before),
    };
    if output.status.success() {
        return Ok(Ok(took));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let said = said.trim();
    let from = said
        .char_indices()
        .rev()
        .nth(LAST_WORDS)
        .map_or(0, |(at, _)| at);
    let last = said.get(from..).unwrap_or_default();
    Ok(Err(format!("{}: {last}", output.status)))
}

fn print(workload: &Workload, outside: Took, inside: Took) {
    let ratio = |of: fn(&Took) -> Duration| of(&inside).as_secs_f64() / of(&outside).as_secs_f64();
    println!(
        "{:<26} {:>8.1} ({:>6.1}) {:>8.1} ({:>6.1})    {:>5.2} ({:>5.2})  {}",
        workload.name,
        outside.wall.as_secs_f64(),
        outside.cpu.as_secs_f64(),
        inside.wall.as_secs_f64(),
        inside.cpu.as_secs_f64(),
        ratio(|it| it.wall),
        ratio(|it| it.cpu),
        if workload.grants.is_empty() {
            "none"
        } else {
            ""
        }
        .to_owned()
            + &workload.grants.join(" "),
    );
}
