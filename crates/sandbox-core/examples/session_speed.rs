//! What an operation of the library costs, against starting the same program without a sandbox: `cargo run --release -p
//! sandbox-core --example session_speed -- latency 200`.
//!
//! A second number is the memory that the caller uses meanwhile, in MiB; `alone` behind it does without a session. The two
//! are timed in turn, so that a busy moment of the machine meets both.
//!
//! `many 1000`: that many sandboxes alive at once, each with a session: what one costs to make, its memory, and the latency
//! then against that with one. `throughput 10000`: that many operations, 64 at a time, against as many plain starts.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use sandbox_core::{
    Home, Host, SandboxCore, keep_session_if_asked, keeper_of_this_program,
    types::{Operation, Outcome, SandboxConfig},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long what is built behind an operation may take.
const PAUSE: Duration = Duration::from_millis(30);

fn main() -> Result<()> {
    if let Some(kept) = keep_session_if_asked(env::args_os().nth(1)) {
        return Ok(kept?);
    }
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        let text = arguments.get(index);
        text.map_or(Ok(default), |text| text.parse())
    };
    match arguments.first().map(String::as_str) {
        Some("latency") | None => latency(number(1, 200)?, number(2, 0)?).await,
        Some("many") => many(number(1, 1000)?).await,
        Some("throughput") => throughput(number(1, 10_000)?).await,
        Some(other) => Err(format!("no part is named {other}: latency, many or throughput").into()),
    }
}

/// One operation after the other, with pauses; the caller has `resident` MiB of memory in use.
async fn latency(runs: usize, resident: usize) -> Result<()> {
    let ballast = vec![1_u8; resident << 20];
    let directory = tempfile::tempdir()?;
    let sandbox = open(&directory, "latency").await?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..runs + 10 {
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        let report = sandbox.execute(Operation::command(["true"])).await?;
        let took = start.elapsed();
        assert_eq!(report.outcome, Outcome::Completed, "{:?}", report.error);
        let start = Instant::now();
        spawn().await?;
        let alone = start.elapsed();
        if round >= 10 {
            ours.push(took);
            plain.push(alone);
        }
    }
    sandbox.cleanup().await?;
    drop(ballast);
    print("execute", &mut ours);
    print("spawn", &mut plain);
    Ok(())
}

/// So many sandboxes with a session each; they are all removed again, also after an error.
async fn many(count: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut sandboxes = Vec::new();
    let measured = measure_many(&directory, count, &mut sandboxes).await;
    let start = Instant::now();
    let mut removed = Ok(());
    for sandbox in sandboxes {
        removed = removed.and(sandbox.cleanup().await);
    }
    println!("removing all: {:?}", start.elapsed());
    measured?;
    Ok(removed?)
}

async fn measure_many(
    directory: &tempfile::TempDir,
    count: usize,
    sandboxes: &mut Vec<SandboxCore>,
) -> Result<()> {
    let mut creations = Vec::new();
    let mut alone = Vec::new();
    for index in 0..count {
        let start = Instant::now();
        let sandbox = open(directory, &format!("many-{index}")).await?;
        sandboxes.push(sandbox);
        let Some(sandbox) = sandboxes.last() else {
            break;
        };
        completed(sandbox).await?;
        creations.push(start.elapsed());
        if index == 0 {
            alone = latencies(sandbox).await?;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut then = Vec::new();
    if let Some(first) = sandboxes.first() {
        completed(first).await?;
        then = latencies(first).await?;
    }
    let mut memory = Vec::new();
    for sandbox in sandboxes.iter() {
        if let Some(session) = sandbox.status()?.session {
            memory.push(private_of_tree(&session.pid.to_string()));
        }
    }
    memory.sort_unstable();
    print("opening one and its first operation", &mut creations);
    print("execute with one sandbox", &mut alone);
    print("execute with all of them", &mut then);
    println!(
        "sessions alive: {} of {count}; private memory of keeper and children: median {:?} KiB, most {:?} KiB",
        memory.len(),
        memory.get(memory.len() / 2),
        memory.last()
    );
    Ok(())
}

async fn latencies(sandbox: &SandboxCore) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..40 {
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        completed(sandbox).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn completed(sandbox: &SandboxCore) -> Result<()> {
    let report = sandbox.execute(Operation::command(["true"])).await?;
    if report.outcome == Outcome::Completed {
        Ok(())
    } else {
        Err(format!(
            "the operation ended as {:?}: {:?}",
            report.outcome, report.error
        )
        .into())
    }
}

/// The memory in KiB that only this process and what it has started use.
fn private_of_tree(pid: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own: u64 = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    own + children
        .split_whitespace()
        .map(private_of_tree)
        .sum::<u64>()
}

/// How many run at the same time.
const AT_A_TIME: usize = 64;

async fn throughput(count: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let sandbox = open(&directory, "throughput").await?;
    let measured = measure_throughput(&sandbox, count).await;
    let removed = sandbox.cleanup().await;
    measured?;
    Ok(removed?)
}

async fn measure_throughput(sandbox: &SandboxCore, count: usize) -> Result<()> {
    completed(sandbox).await?;
    let files = || fs::read_dir("/proc/self/fd").map(Iterator::count);
    let before = files()?;
    let rounds = count.div_ceil(AT_A_TIME);
    let (start, used) = (Instant::now(), cpu_used(sandbox)?);
    let shared = sandbox.clone();
    let run = move || {
        let sandbox = shared.clone();
        async move { completed(&sandbox).await }
    };
    at_a_time(rounds, run).await?;
    let ours = (start.elapsed(), cpu_used(sandbox)?.saturating_sub(used));
    let after = files()?;
    let (start, used) = (Instant::now(), cpu_used(sandbox)?);
    at_a_time(rounds, spawn).await?;
    let plain = (start.elapsed(), cpu_used(sandbox)?.saturating_sub(used));
    let all = rounds * AT_A_TIME;
    println!("{all} operations, {AT_A_TIME} at a time: {:?}", ours.0);
    println!("as many plain starts: {:?}", plain.0);
    println!("processor time: {:?} and {:?}", ours.1, plain.1);
    let ratio = |of: fn(&(Duration, Duration)) -> Duration| {
        of(&plain).as_secs_f64() / of(&ours).as_secs_f64()
    };
    println!(
        "throughput: {:.3} x plain starts, {:.3} by processor time",
        ratio(|it| it.0),
        ratio(|it| it.1)
    );
    println!("open files before and after: {before}, {after}");
    Ok(())
}

/// Does `work` so often, in as many tasks as there may be at the same time.
async fn at_a_time<F>(rounds: usize, work: impl Fn() -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let tasks: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                for _ in 0..rounds {
                    work().await.map_err(|error| error.to_string())?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    // All of them are waited for before one that failed is told of: nothing may run while the sandbox is removed.
    let mut ended = Ok(());
    for task in tasks {
        ended = ended.and(task.await?);
    }
    Ok(ended?)
}

/// Returns the processor time of this process, of the session's keeper, and of all that these have waited for.
fn cpu_used(sandbox: &SandboxCore) -> Result<Duration> {
    let keeper = sandbox.status()?.session.map(|session| session.pid);
    let used = |process: &str| -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name may hold anything but the last bracket; then fields 14 to 17 are wanted (`proc_pid_stat(5)`).
        let (_, fields) = stat.rsplit_once(") ").ok_or("no name")?;
        let times = fields.split(' ').skip(11).take(4).map(str::parse::<u64>);
        Ok(times.sum::<std::result::Result<u64, _>>()?)
    };
    let mut ticks = used("self")?;
    if let Some(keeper) = keeper {
        ticks += used(&keeper.to_string())?;
    }
    // `USER_HZ` is 100 on every architecture that this runs on.
    Ok(Duration::from_millis(10 * ticks))
}

async fn spawn() -> Result<()> {
    tokio::task::spawn_blocking(|| {
        #[expect(clippy::disallowed_methods, reason = "what is compared with")]
        let status = std::process::Command::new("true")
            .stdin(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    })
    .await?;
    Ok(())
}

async fn open(directory: &tempfile::TempDir, name: &str) -> Result<SandboxCore> {
    let workspace = directory.path().join(name);
    let mut config = SandboxConfig::builder(name).workspace(workspace).build()?;
    // Making 1,000 sandboxes may take longer than a session waits.
    config.session.idle_timeout = Some("20m".to_owned());
    let home = Home::new(Host::from_environment());
    let home = if env::args().any(|argument| argument == "alone") {
        home
    } else {
        home.with_sessions(keeper_of_this_program())
    };
    Ok(SandboxCore::open_in(home, config).await?)
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let least = times.first().copied().unwrap_or_default();
    println!("{what}: median {median:?}, least {least:?}");
}
