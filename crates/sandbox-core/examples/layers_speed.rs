//! What each layer of a confinement costs: `cargo run --release -p sandbox-core --example layers_speed -- 60`.
//!
//! Each row has all that the rows above it have, but for the lower tier, which stands for itself. They are timed in turn,
//! so that a busy moment of the machine meets all of them.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use sandbox_core::{
    Home, Host, SandboxCore, keep_session_if_asked, keeper_of_this_program,
    types::{Limit, NetworkAccess, Operation, Outcome, SandboxConfig},
};
use sandbox_isolation::{Confinement, KernelLauncher, LaunchPlan, WorkspaceMode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long what is built or taken down behind a run may take.
const PAUSE: Duration = Duration::from_millis(30);
const WARM_UP: usize = 3;

fn main() -> Result<()> {
    if let Some(kept) = keep_session_if_asked(env::args_os().nth(1)) {
        return Ok(kept?);
    }
    let runs = env::args().nth(1).map_or(Ok(60), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let base = directory.path().canonicalize()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let sandboxes = Sandboxes {
        alone: runtime.block_on(open(&base, "alone", false))?,
        session: runtime.block_on(open(&base, "session", true))?,
    };
    let measured = measure(&base, &sandboxes, runs);
    for sandbox in [sandboxes.alone, sandboxes.session] {
        runtime.block_on(sandbox.cleanup())?;
    }
    print(&measured?, runs);
    Ok(())
}

struct Sandboxes {
    alone: SandboxCore,
    session: SandboxCore,
}

struct Row {
    name: &'static str,
    wall: Vec<Duration>,
}

type Run<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

fn measure(base: &Path, sandboxes: &Sandboxes, runs: usize) -> Result<Vec<Row>> {
    let layers = Layers::new(base)?;
    let mut programs: Vec<(&'static str, Run<'_>)> = vec![
        ("nothing: fork, exec, wait", Box::new(plain)),
        (
            "namespaces, view, Landlock, seccomp; the host's network",
            Box::new(|| layers.run(|plan| plan.network = NetworkAccess::Host)),
        ),
        ("+ a network of its own", Box::new(|| layers.run(|_| ()))),
        (
            "+ a transaction's overlay",
            Box::new(|| layers.run_in_overlay(|_| ())),
        ),
        (
            "+ cgroups (a memory limit that must hold)",
            Box::new(|| layers.run_in_overlay(limit)),
        ),
        (
            "all but the cgroups, with verdict, transaction, journal and report: `execute`",
            Box::new(|| execute(&sandboxes.alone)),
        ),
        (
            "the same in a session",
            Box::new(|| execute(&sandboxes.session)),
        ),
    ];
    if !rustix::process::geteuid().is_root() {
        let run: Run<'_> = Box::new(|| layers.run(alone));
        programs.insert(1, ("the lower tier: Landlock and seccomp alone", run));
    }
    let mut rows: Vec<Row> = programs
        .iter()
        .map(|(name, _)| Row {
            name,
            wall: Vec::new(),
        })
        .collect();
    for round in 0..runs + WARM_UP {
        for (row, (_, run)) in rows.iter_mut().zip(&mut programs) {
            std::thread::park_timeout(PAUSE);
            let start = Instant::now();
            run().map_err(|error| format!("{}: {error}", row.name))?;
            if round >= WARM_UP {
                row.wall.push(start.elapsed());
            }
        }
    }
    Ok(rows)
}

/// What is confined without a sandbox's story around it.
struct Layers {
    workspace: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

impl Layers {
    fn new(base: &Path) -> Result<Self> {
        let layers = Self {
            workspace: base.join("workspace"),
            upper: base.join("layers/one/upper"),
            work: base.join("layers/one/work"),
        };
        fs::create_dir(&layers.workspace)?;
        Ok(layers)
    }

    fn run(&self, change: impl FnOnce(&mut LaunchPlan)) -> Result<()> {
        let mut plan = LaunchPlan::locked(self.workspace.clone(), ["true"]);
        plan.workspace_mode = WorkspaceMode::Direct;
        change(&mut plan);
        let (ended, _) = KernelLauncher::new().run(plan)?;
        if ended.exit.is_success() {
            Ok(())
        } else {
            Err(format!("it ended as {:?}", ended.exit).into())
        }
    }

    fn run_in_overlay(&self, change: impl FnOnce(&mut LaunchPlan)) -> Result<()> {
        for directory in [&self.upper, &self.work] {
            fs::create_dir_all(directory)?;
        }
        self.run(|plan| {
            plan.workspace_mode = WorkspaceMode::Overlay {
                upper: self.upper.clone(),
                work: self.work.clone(),
            };
            change(plan);
        })?;
        if let Some(set) = self.upper.parent() {
            fs::remove_dir_all(set)?;
        }
        Ok(())
    }
}

fn limit(plan: &mut LaunchPlan) {
    plan.limits.memory = "1GiB".parse().ok().map(Limit::requested);
}

fn alone(plan: &mut LaunchPlan) {
    plan.confinement = Confinement::LandlockAlone;
}

fn plain() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "what is compared with")]
    let status = std::process::Command::new("true")
        .stdin(Stdio::null())
        .status()?;
    assert!(status.success());
    Ok(())
}

fn execute(sandbox: &SandboxCore) -> Result<()> {
    let operation = Operation::command(["true"]);
    let report = sandbox.execute_here(
        &operation,
        &mut sandbox_core::Unattended,
        &sandbox_core::Cancellation::new(),
    )?;
    sandbox.keep_ready();
    assert_eq!(report.outcome, Outcome::Completed, "{:?}", report.error);
    Ok(())
}

async fn open(base: &Path, name: &str, in_session: bool) -> Result<SandboxCore> {
    let config = SandboxConfig::builder(format!("layers-{name}"))
        .workspace(base.join(name))
        .build()?;
    let home = Home::new(Host::from_environment());
    let home = if in_session {
        home.with_sessions(keeper_of_this_program())
    } else {
        home
    };
    Ok(SandboxCore::open_in(home, config).await?)
}

fn print(rows: &[Row], runs: usize) {
    println!("{runs} runs in turn");
    println!("    least    median  × nothing (medians)");
    let median = |row: &Row| {
        let mut sorted = row.wall.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let Some(nothing) = rows.first().map(median) else {
        return;
    };
    for row in rows {
        let least = row.wall.iter().min().copied().unwrap_or_default();
        println!(
            "{:>6.2} ms {:>6.2} ms {:>8.1}  {}",
            least.as_secs_f64() * 1000.0,
            median(row).as_secs_f64() * 1000.0,
            median(row).as_secs_f64() / nothing.as_secs_f64(),
            row.name
        );
    }
}
