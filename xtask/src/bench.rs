//! `cargo xtask bench exec`: what one sandboxed `true` costs, against bubblewrap and no sandbox.
//!
//! They are run in turn (A B C A B C …), so that a busy moment of the machine meets all of them. A run that starts in
//! a session begins when the session is ready, and the next one in turn when it is ready again: what is built behind
//! a run is in nobody's time.
//! Ours includes the transaction, the journal and the report; bubblewrap has none of these.

mod library;
mod safety;
mod scan;
mod snapshots;
mod state;
mod transactions;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::process;

pub(crate) use library::{OPERATIONS, ROUNDS, SANDBOXES, layers, sessions, throughput};
pub(crate) use safety::safety;
pub(crate) use scan::scan;
pub(crate) use snapshots::rollback;
pub(crate) use state::state;
pub(crate) use transactions::transactions;

/// Timed runs of each program.
pub(crate) const RUNS_DEFAULT: usize = 50;
/// Fewer runs have no stable median.
const RUNS_MIN: usize = 30;
const RUNS_WARM_UP: usize = 5;
/// What the kernel counts CPU time in: `USER_HZ`, 100 on every architecture we run on (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

const BWRAP: &[&str] = &[
    "bwrap",
    "--unshare-all",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--die-with-parent",
    "true",
];

/// How long building behind a run may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// A keeper that has ended, because somebody made or removed mounts of the host for example, is started again so often
/// in a row.
const RESTARTS_MAX: u32 = 5;

/// One program that is timed.
struct Contestant {
    name: &'static str,
    command: Command,
    /// Says whether what the next run finds is ready.
    status: Option<Command>,
    wall: Vec<Duration>,
    spent: Spent,
}

/// What processes that were waited for used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    cpu: Duration,
    /// Page faults without I/O: unlike times, they do not depend on what else the machine does.
    faults: u64,
}

/// What else the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Nothing of ours.
    None,
    /// A process that never sleeps for each processor.
    Full,
}

/// Processes that never sleep, until it is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start(load: Load) -> anyhow::Result<Self> {
        let count = match load {
            Load::None => 0,
            Load::Full => thread::available_parallelism().map_or(1, usize::from),
        };
        let mut busy = Self(Vec::new());
        for _ in 0..count {
            let mut command = words(&["sh", "-c", "while :; do :; done"]);
            let started = command.spawn().context("cannot keep a processor busy")?;
            busy.0.push(started);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for process in &mut self.0 {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// Times `runs` runs of each program and prints the medians.
pub(crate) fn exec(runs: usize, load: Load) -> anyhow::Result<()> {
    if runs < RUNS_MIN {
        bail!("{runs} runs have no stable median: take at least {RUNS_MIN}");
    }
    if Command::new("bwrap").arg("--version").output().is_err() {
        bail!(
            "bubblewrap is missing: install the package `bubblewrap` (apt-get install bubblewrap)"
        );
    }
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--locked",
        "--bin",
        "sandbox",
    ]))?;
    let directory = tempfile::Builder::new()
        .prefix("sandbox-bench-")
        .tempdir()
        .context("cannot make a directory for the benchmark")?;
    let workspace = directory.path().join("workspace");
    fs::create_dir(&workspace).context("cannot make the workspace")?;

    let sandbox = release_binary()?;
    let ours = |args: &[&str]| {
        let mut command = Command::new(&sandbox);
        command
            .args(args)
            .current_dir(&workspace)
            .env("SANDBOX_HOME", directory.path().join("home"))
            .env_remove("SANDBOX_NAME");
        command
    };
    let mut contestants = [
        Contestant::new("sandbox run -- true", ours(&["run", "--", "true"]))
            .in_session(ours(&["--json", "status"])),
        Contestant::new(
            "sandbox run --no-session -- true",
            ours(&["run", "--no-session", "--", "true"]),
        ),
        Contestant::new("bwrap --unshare-all … true", words(BWRAP)),
        Contestant::new("true", words(&["true"])),
    ];
    let busy = Busy::start(load)?;
    let timed = time_all(&mut contestants, runs);
    drop(busy);
    // Also after a failed run: what the sandbox holds outside of our directory goes away.
    let destroyed = process::read(&mut ours(&["destroy"]));
    timed?;
    destroyed.context("cannot destroy the benchmark's sandbox")?;
    print(&contestants, runs);
    Ok(())
}

impl Contestant {
    fn new(name: &'static str, mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self {
            name,
            command,
            status: None,
            wall: Vec::new(),
            spent: Spent::default(),
        }
    }

    fn in_session(self, status: Command) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Waits until what was built behind a run is complete.
    fn settle(&mut self) -> anyhow::Result<()> {
        let Some(status) = &mut self.status else {
            return Ok(());
        };
        let mut restarts = 0;
        let start = Instant::now();
        loop {
            let told: serde_json::Value = serde_json::from_slice(&process::read(status)?)
                .context("cannot read the sandbox's status")?;
            let session = &told["session"];
            if session["ready"] == true {
                return Ok(());
            }
            if session.is_null() && restarts < RESTARTS_MAX {
                restarts += 1;
                process::read(&mut self.command)?;
            }
            if start.elapsed() > SETTLE_LIMIT {
                bail!(
                    "{}: no confinement was built behind it; its session is {session}",
                    self.name
                );
            }
        }
    }

    fn run(&mut self) -> anyhow::Result<Duration> {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = self.command.status();
        let took = start.elapsed();
        let status = status.with_context(|| format!("cannot start {}", self.name))?;
        if !status.success() {
            // Once more, to see what it says.
            self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
            process::read(&mut self.command)?;
            bail!("{}: {status}", self.name);
        }
        Ok(took)
    }

    fn median(&self) -> Duration {
        let mut sorted = self.wall.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn minimum(&self) -> Duration {
        self.wall.iter().min().copied().unwrap_or_default()
    }
}

fn time_all(contestants: &mut [Contestant], runs: usize) -> anyhow::Result<()> {
    for _ in 0..RUNS_WARM_UP {
        for contestant in contestants.iter_mut() {
            contestant.run()?;
            contestant.settle()?;
        }
    }
    for _ in 0..runs {
        for contestant in contestants.iter_mut() {
            let took = contestant.run()?;
            contestant.wall.push(took);
            contestant.settle()?;
        }
    }
    // CPU time is counted in ticks longer than a run, so it is taken over a whole batch.
    for contestant in contestants.iter_mut() {
        let before = spent_by_children()?;
        for _ in 0..runs {
            contestant.run()?;
        }
        let after = spent_by_children()?;
        contestant.spent = Spent {
            cpu: after.cpu.saturating_sub(before.cpu),
            faults: after.faults.saturating_sub(before.faults),
        };
    }
    Ok(())
}

fn print(contestants: &[Contestant], runs: usize) {
    println!("{runs} runs in turn; CPU and page faults: mean of {runs} runs, waited-for processes");
    println!("   median     least       CPU   faults");
    let times = u32::try_from(runs).unwrap_or(u32::MAX);
    for contestant in contestants {
        let Spent { cpu, faults } = contestant.spent;
        println!(
            "{:>6.2} ms {:>6.2} ms {:>6.2} ms {:>8}  {}",
            milliseconds(contestant.median()),
            milliseconds(contestant.minimum()),
            milliseconds(cpu / times),
            faults / u64::from(times),
            contestant.name
        );
    }
    let [ours @ .., bwrap, _true] = contestants else {
        return;
    };
    for contestant in ours {
        let ratio = |of: fn(&Contestant) -> Duration| {
            of(contestant).as_secs_f64() / of(bwrap).as_secs_f64()
        };
        println!(
            "{:>6.2} × bwrap by the medians, {:.2} × by the least: {}",
            ratio(Contestant::median),
            ratio(Contestant::minimum),
            contestant.name
        );
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn words(words: &[&str]) -> Command {
    let (program, args) = words.split_first().unwrap_or((&"true", &[]));
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn release_binary() -> anyhow::Result<PathBuf> {
    Ok(release_directory()?.join("sandbox"))
}

fn release_directory() -> anyhow::Result<PathBuf> {
    Ok(process::target_directory()?.join("release"))
}

/// Measures the list of allowed hosts, with the same client outside in the same run.
pub(crate) fn egress() -> anyhow::Result<()> {
    process::run(&mut process::cargo(&[
        "run",
        "--release",
        "--locked",
        "-p",
        "sandbox-isolation",
        "--example",
        "egress_speed",
    ]))
}

/// Returns the CPU time of all children that were waited for.
pub(crate) fn cpu_of_children() -> anyhow::Result<Duration> {
    Ok(spent_by_children()?.cpu)
}

/// Returns what all children that were waited for used: fields 11, 16 and 17 of `proc_pid_stat(5)`.
fn spent_by_children() -> anyhow::Result<Spent> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    // The second field, the program's name, may contain anything; it ends at the last bracket.
    let (_, rest) = stat
        .rsplit_once(')')
        .context("no name in /proc/self/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> u64 {
        let text = fields.get(number - 3);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let ticks = u32::try_from(field(16) + field(17)).unwrap_or(u32::MAX);
    Ok(Spent {
        cpu: Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_SECOND),
        faults: field(11),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let mut contestant = Contestant::new("true", words(&["true"]));
        contestant.wall = [3, 1, 2].map(Duration::from_millis).to_vec();
        assert_eq!(contestant.median(), Duration::from_millis(2));
        assert_eq!(contestant.minimum(), Duration::from_millis(1));
        contestant.run().unwrap();
        assert!(Contestant::new("false", words(&["false"])).run().is_err());
    }

    #[test]
    fn what_children_use_is_counted() {
        let before = spent_by_children().unwrap();
        let text = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        process::run(&mut words(&["sh", "-c", text])).unwrap();
        let after = spent_by_children().unwrap();
        assert!(after.cpu > before.cpu && after.faults > before.faults);
    }
}
