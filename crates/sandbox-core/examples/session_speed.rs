//! What an operation of the library costs, against starting the same program without a sandbox: `cargo run --release -p
//! sandbox-core --example session_speed -- latency 200`.
//!
//! A second number is the memory that the caller uses meanwhile, in MiB; `alone` behind it does without a session. The two
//! are timed in turn, so that a busy moment of the machine meets both.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
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
        Some(other) => Err(format!("no part is named {other}: latency").into()),
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
    let config = SandboxConfig::builder(name).workspace(workspace).build()?;
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
