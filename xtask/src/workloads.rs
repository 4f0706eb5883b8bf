//! `cargo xtask workloads`: real builds and test suites, outside and inside of a sandbox, as a table.
//!
//! Each is prepared outside, where a registry may be asked, then run in two copies of what was prepared: first outside,
//! then with the default configuration inside; root does both once more as an unprivileged user. What cannot be
//! prepared here is named as skipped, with the reason.

mod table;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use self::table::{WORKLOADS, Workload};
use crate::{bench, process};

/// As much of a failed program's last words as is shown.
const LAST_WORDS: usize = 600;

/// `nobody`: in every system's user table, owner of nothing.
const UNPRIVILEGED_ID: u32 = 65_534;

/// Who runs a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Us,
    /// [`UNPRIVILEGED_ID`].
    Nobody,
}

impl Who {
    /// Returns those whom we can be.
    fn all() -> anyhow::Result<&'static [Self]> {
        let us = fs::metadata("/proc/self").context("cannot see who we are")?;
        Ok(if us.uid() == 0 {
            &[Self::Us, Self::Nobody]
        } else {
            println!("not root: the workloads run as this user only");
            &[Self::Us]
        })
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Us => "",
            Self::Nobody => ", as user",
        }
    }
}

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
        "workload                              outside s (CPU)    inside s (CPU)   ratio (CPU)   grants"
    );
    let (mut failed, mut skipped, mut tried) = (Vec::new(), 0, 0);
    for workload in wanted {
        for (who, result) in try_one(workload, &sandbox, Who::all()?)? {
            let name = format!("{}{}", workload.name, who.suffix());
            tried += 1;
            match result {
                Tried::Skipped(why) => {
                    skipped += 1;
                    println!("{name:<36} SKIPPED: {why}");
                }
                Tried::Failed(why) => {
                    println!("{name:<36} FAILED inside: {why}");
                    failed.push(name);
                }
                Tried::Passed { outside, inside } => {
                    print(&name, workload.grants, outside, inside);
                }
            }
        }
    }
    if skipped > 0 {
        println!("{skipped} of {tried} SKIPPED: they show nothing here");
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

/// Prepares a workload, then runs it as each of `all`.
fn try_one(workload: &Workload, sandbox: &Path, all: &[Who]) -> anyhow::Result<Vec<(Who, Tried)>> {
    let directory = tempfile::Builder::new()
        .prefix("sandbox-workload-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("cannot make a directory for a workload")?;
    let at = directory.path();
    for name in ["prepared", "cache"] {
        let path = at.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    // The user may not be able to reach the build directory.
    fs::copy(sandbox, at.join("sandbox")).context("cannot copy the program")?;
    let prepared = at.join("prepared");
    let mut prepare = bash(workload.prepare, at, &prepared);
    if let Err(why) = timed(&mut prepare)? {
        let why = format!("it cannot be prepared here: {why}");
        return Ok(vec![(Who::Us, Tried::Skipped(why))]);
    }
    fs::write(prepared.join("workload.sh"), workload.run)
        .context("cannot write the workload's script")?;
    let tried = all
        .iter()
        .map(|who| Ok((*who, try_as(*who, workload, at)?)));
    tried.collect()
}

/// Runs what was prepared below `at`, outside and inside.
fn try_as(who: Who, workload: &Workload, at: &Path) -> anyhow::Result<Tried> {
    let fresh = "rm -rf outside inside home && mkdir home && cp -a prepared outside && cp -a prepared inside";
    process::run(&mut bash(fresh, at, at))?;
    let own = |mut command: Command| {
        if who == Who::Nobody {
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
            command.env("HOME", at.join("home"));
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", at.join("tools/bin").display()));
        }
        command
    };
    if who == Who::Nobody {
        let give =
            format!("chown -R {UNPRIVILEGED_ID}:{UNPRIVILEGED_ID} outside inside home cache");
        process::run(&mut bash(&give, at, at))?;
    }
    let mut outside = own(bash("bash -eu workload.sh", at, &at.join("outside")));
    let outside = match timed(&mut outside)? {
        Ok(took) => took,
        Err(why) => return Ok(Tried::Skipped(format!("it fails outside, too: {why}"))),
    };
    let cache = at.join("cache").display().to_string();
    let sandbox = |args: &[&str]| {
        let mut command = Command::new(at.join("sandbox"));
        command
            .args(args)
            .current_dir(at.join("inside"))
            .env("SANDBOX_HOME", at.join("home/state"))
            .env_remove("SANDBOX_NAME");
        own(command)
    };
    let mut confined = sandbox(&["run", "--yes", "--no-session", "--env"]);
    confined.arg(format!("CACHE={cache}"));
    for grant in workload.grants {
        confined.arg(grant.replace("$CACHE", &cache));
    }
    confined.args(["--", "bash", "-eu", "workload.sh"]);
    let inside = timed(&mut confined)?;
    process::read(&mut sandbox(&["destroy", "--force"]))
        .context("cannot destroy the workload's sandbox")?;
    Ok(match inside {
        Ok(inside) => Tried::Passed { outside, inside },
        Err(why) => Tried::Failed(why),
    })
}

/// Returns bash with `text`, in `directory`; the cache is below `at`.
fn bash(text: &str, at: &Path, directory: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euc", text]).current_dir(directory);
    command.env("CACHE", at.join("cache"));
    command.env("TOOLS", at.join("tools"));
    command
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

fn print(name: &str, grants: &[&str], outside: Took, inside: Took) {
    let ratio = |of: fn(&Took) -> Duration| of(&inside).as_secs_f64() / of(&outside).as_secs_f64();
    let grants = if grants.is_empty() {
        "none".to_owned()
    } else {
        grants.join(" ")
    };
    println!(
        "{name:<36} {:>8.1} ({:>6.1}) {:>8.1} ({:>6.1})    {:>5.2} ({:>5.2})  {grants}",
        outside.wall.as_secs_f64(),
        outside.cpu.as_secs_f64(),
        inside.wall.as_secs_f64(),
        inside.cpu.as_secs_f64(),
        ratio(|it| it.wall),
        ratio(|it| it.cpu),
    );
}
