//! `cargo xtask bench rollback`: what snapshots cost, against the programs that people use instead.
//!
//! Every program does a step before any does the next one, so that all of them meet the same
//! machine; the files are in memory before the first. CPU time is that of all processes of a step,
//! as GNU time counts it.

mod peers;
mod trees;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::process;
use peers::{PEERS, Peer};
use trees::{Tree, edit, reverse};

/// How often a step is done that changes nothing; the least counts.
const ROUNDS: usize = 3;
/// System calls that wait for storage.
const SYNCS: &str = "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range";

/// What one step of one program used.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Used {
    cpu: f64,
    resident_kib: u64,
}

/// A step of the benchmark: its name, what a program does for it, and what happens before.
struct Step {
    name: &'static str,
    of: fn(&Peer) -> &'static str,
    before: Before,
    rounds: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    Nothing,
    /// The files of the workspace change.
    Edit,
    /// They change again, to be brought back.
    Spoil,
    /// The directory to restore to is empty.
    Empty,
}

const STEPS: &[Step] = &[
    step("first snapshot", |it| it.take, Before::Nothing, 1),
    step("nothing changed", |it| it.take, Before::Nothing, ROUNDS),
    step("160 changes", |it| it.take, Before::Edit, 1),
    step(
        "difference of two",
        |it| it.difference,
        Before::Nothing,
        ROUNDS,
    ),
    step("back, in place", |it| it.back, Before::Spoil, 1),
    step("verify, structure", |it| it.verify, Before::Nothing, ROUNDS),
    step("verify, every byte", |it| it.verify_all, Before::Nothing, 1),
    step("restore elsewhere", |it| it.restore, Before::Empty, 1),
];

const fn step(
    name: &'static str,
    of: fn(&Peer) -> &'static str,
    before: Before,
    rounds: usize,
) -> Step {
    Step {
        name,
        of,
        before,
        rounds,
    }
}

/// A program with what it keeps and its own copy of the workspace.
struct Contestant {
    peer: &'static Peer,
    workspace: PathBuf,
    state: PathBuf,
    out: PathBuf,
}

/// Measures on the Linux source tree and one large file, on a small tree, or on a copy of a directory.
pub(crate) fn rollback(which: Option<&str>) -> anyhow::Result<()> {
    for (program, package) in [("time", "time"), ("strace", "strace")] {
        if Command::new(program).arg("--version").output().is_err() {
            bail!(
                "{program} is missing: install the package `{package}` (apt-get install {package})"
            );
        }
    }
    let build = [
        "build",
        "--release",
        "--locked",
        "-p",
        "sandbox-rollback",
        "--example",
        "repository",
    ];
    process::run(&mut process::cargo(&build))?;
    let built = super::release_directory()?.join("examples/repository");
    let place = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    // Another build must not replace it meanwhile.
    let ours = place.path().join("ours");
    fs::copy(built, &ours).context("cannot copy the program")?;
    let trees = match which {
        None => vec![Tree::Linux, Tree::LargeFile],
        Some("--quick") => vec![Tree::Small],
        Some(directory) => vec![Tree::Copy(PathBuf::from(directory))],
    };
    let peers = present()?;
    for tree in trees {
        measure(place.path(), &ours, &tree, &peers)?;
    }
    syncs(place.path(), &ours, &peers)
}

/// Returns the programs that are here, and says which are not.
fn present() -> anyhow::Result<Vec<&'static Peer>> {
    let mut here = Vec::new();
    for peer in PEERS {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {}", peer.program)])
            .output()
            .context("cannot start sh")?;
        if peer.program.is_empty() || found.status.success() {
            here.push(peer);
        } else {
            println!(
                "NOT MEASURED: {} is missing (apt-get install {})",
                peer.name, peer.package
            );
        }
    }
    Ok(here)
}

fn measure(place: &Path, ours: &Path, tree: &Tree, peers: &[&'static Peer]) -> anyhow::Result<()> {
    let source = tree.make(place)?;
    println!("\n{}", tree.name());
    let mut contestants = Vec::new();
    for peer in peers {
        contestants.push(Contestant::new(peer, place, &source)?);
    }
    let names: Vec<_> = peers
        .iter()
        .map(|peer| format!("{:>9}", peer.name))
        .collect();
    println!("{:<20}{}   ours / best", "CPU seconds", names.join(""));
    let mut resident = vec![0; contestants.len()];
    for step in STEPS {
        if tree.is_one_file() && step.name == "difference of two" {
            continue;
        }
        let mut row = Vec::new();
        for (contestant, resident) in contestants.iter().zip(&mut resident) {
            let used = contestant.step(step, ours)?;
            *resident = (*resident).max(used.map_or(0, |used| used.resident_kib));
            row.push(used.map(|used| used.cpu));
        }
        print_row(step.name, &row);
    }
    let resident: Vec<_> = resident
        .iter()
        .map(|kib| format!("{:>9}", kib / 1024))
        .collect();
    println!("{:<20}{}", "most memory, MiB", resident.join(""));
    let kept: Vec<_> = contestants
        .iter()
        .map(Contestant::kept_mib)
        .collect::<anyhow::Result<_>>()?;
    let kept: Vec<_> = kept.iter().map(|mib| format!("{mib:>9}")).collect();
    println!("{:<20}{}", "kept, MiB", kept.join(""));
    for contestant in contestants {
        contestant.remove()?;
    }
    fs::remove_dir_all(&source).context("cannot remove the tree")
}

fn print_row(name: &str, row: &[Option<f64>]) {
    let cells: Vec<_> = row
        .iter()
        .map(|cpu| cpu.map_or_else(|| format!("{:>9}", "-"), |cpu| format!("{cpu:>9.2}")))
        .collect();
    let best = row.iter().skip(1).flatten().copied().reduce(f64::min);
    let ratio = match (row.first().copied().flatten(), best) {
        (Some(ours), Some(best)) if best > 0.0 => format!("{:>10.2}", ours / best),
        _ => format!("{:>10}", "-"),
    };
    println!("{name:<20}{}{ratio}", cells.join(""));
}

impl Contestant {
    fn new(peer: &'static Peer, place: &Path, source: &Path) -> anyhow::Result<Self> {
        let own = place.join(peer.name.replace(' ', "-"));
        let contestant = Self {
            peer,
            workspace: own.join("workspace"),
            state: own.join("state"),
            out: own.join("out"),
        };
        fs::create_dir_all(&contestant.state).context("cannot make a directory")?;
        // The same times everywhere, and the files in memory.
        process::run(
            Command::new("cp")
                .arg("-a")
                .arg(source)
                .arg(&contestant.workspace),
        )?;
        process::run(contestant.shell(peer.prepare).arg("prepare"))?;
        Ok(contestant)
    }

    /// Returns a shell for `script`, which finds its directories in `$W`, `$S` and `$O`.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-ec", script])
            .env("W", &self.workspace)
            .env("S", &self.state)
            .env("O", &self.out)
            .env("HOME", &self.state)
            .envs(peers::ENVIRONMENT.iter().copied())
            .stdout(std::process::Stdio::null());
        command
    }

    /// Does a step, and returns what it used; `None` if this program cannot do it.
    fn step(&self, step: &Step, ours: &Path) -> anyhow::Result<Option<Used>> {
        match step.before {
            Before::Nothing | Before::Empty => {}
            Before::Edit => edit(&self.workspace, "edited")?,
            Before::Spoil => edit(&self.workspace, "spoilt")?,
        }
        let script = (step.of)(self.peer);
        if script.is_empty() {
            if step.before == Before::Spoil {
                reverse(&self.workspace)?;
            }
            return Ok(None);
        }
        let mut least: Option<Used> = None;
        for _ in 0..step.rounds {
            if step.before == Before::Empty {
                fs::create_dir_all(&self.out).context("cannot make a directory")?;
            }
            let used = self.time(script, ours)?;
            if least.is_none_or(|least| used.cpu < least.cpu) {
                least = Some(used);
            }
        }
        Ok(least)
    }

    fn time(&self, script: &str, ours: &Path) -> anyhow::Result<Used> {
        let told = self.state.with_extension("used");
        let inner = self.shell(script);
        let mut command = Command::new("time");
        command.args(["-f", "%U %S %M", "-o"]).arg(&told).arg("sh");
        command.args(inner.get_args());
        command.envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command.env("OURS", ours);
        process::read(&mut command)?;
        let told = fs::read_to_string(&told).context("cannot read what time says")?;
        used(&told).with_context(|| format!("time says '{told}'"))
    }

    fn kept_mib(&self) -> anyhow::Result<u64> {
        let told = process::read(Command::new("du").arg("-sm").arg(&self.state))?;
        let told = String::from_utf8_lossy(&told);
        let mib = told
            .split_whitespace()
            .next()
            .and_then(|mib| mib.parse().ok());
        mib.context("du says nothing")
    }

    fn remove(self) -> anyhow::Result<()> {
        let own = self.workspace.parent().unwrap_or(&self.workspace);
        fs::remove_dir_all(own).context("cannot remove a copy")
    }
}

/// Reads what GNU time wrote: user and system seconds, and the most memory in KiB.
fn used(told: &str) -> Option<Used> {
    let mut words = told.lines().last()?.split_whitespace();
    let mut seconds = || words.next()?.parse::<f64>().ok();
    let cpu = seconds()? + seconds()?;
    Some(Used {
        cpu,
        resident_kib: words.next()?.parse().ok()?,
    })
}

/// Counts how often each program waits for storage in its first snapshot of 1,000 files.
fn syncs(place: &Path, ours: &Path, peers: &[&'static Peer]) -> anyhow::Result<()> {
    let source = Tree::Small.make(place)?;
    println!("\ncalls that wait for storage, in the first snapshot of a small tree");
    for peer in peers {
        let contestant = Contestant::new(peer, place, &source)?;
        let trace = contestant.state.with_extension("trace");
        let inner = contestant.shell(peer.take);
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-e", SYNCS, "-o"]).arg(&trace);
        command.arg("sh").args(inner.get_args());
        command.envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        process::read(command.env("OURS", ours))?;
        let calls = fs::read_to_string(&trace).context("cannot read the trace")?;
        let calls = calls.lines().filter(|line| line.contains("sync")).count();
        println!("{calls:>9}  {}", peer.name);
        contestant.remove()?;
    }
    fs::remove_dir_all(&source).context("cannot remove the tree")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_says_is_read() {
        let read = used("Command exited with non-zero status 1\n0.25 0.50 1024\n");
        let expected = Used {
            cpu: 0.75,
            resident_kib: 1024,
        };
        assert_eq!(read, Some(expected));
        assert_eq!(used("nothing"), None);
    }
}
