//! A program that is the keeper of its own sessions: `cargo run -p sandbox-core --example session`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error, path::Path, time::Duration};

use sandbox_core::{
    Home, Host, Progress, SandboxCore, SessionNow, keep_session_if_asked, keeper_of_this_program,
    types::{Operation, SandboxConfig},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Before anything else: the keeper is this program too.
    if let Some(kept) = keep_session_if_asked(env::args_os().nth(1)) {
        return Ok(kept?);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run())
}

async fn run() -> Result<()> {
    let home = Home::new(Host::from_environment());
    println!("without a keeper: {}", started_in(home.clone()).await?);
    let keeper = keeper_of_this_program();
    println!(
        "with one: {}",
        started_in(home.with_sessions(keeper)).await?
    );
    Ok(())
}

/// Runs two operations, the second once the session is ready, and says where that one was started.
async fn started_in(home: Home) -> Result<&'static str> {
    let config = SandboxConfig::builder("session-example")
        .workspace("/tmp/sandbox-example-session")
        .build()?;
    let sandbox = SandboxCore::open_in(home, config).await?;
    sandbox.execute(Operation::shell("echo one > file")).await?;
    let session = ready(&sandbox).await?;

    let mut running = sandbox.start(Operation::shell("sleep 60"));
    while !matches!(running.next().await, Some(Progress::Started) | None) {}
    let joined = sandbox
        .status()?
        .session
        .is_some_and(|it| it.operations == 1);
    running.cancel();
    running.report().await?;
    sandbox.cleanup().await?;
    Ok(match session {
        _ if joined => "in the session",
        Some(session) if Path::new("/proc").join(session.pid.to_string()).exists() => "left behind",
        Some(_) | None => "on its own",
    })
}

/// Waits a while for the session's next confinement.
async fn ready(sandbox: &SandboxCore) -> Result<Option<SessionNow>> {
    for _ in 0..200 {
        let session = sandbox.status()?.session;
        if session.is_some_and(|it| it.ready) {
            return Ok(session);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(None)
}
