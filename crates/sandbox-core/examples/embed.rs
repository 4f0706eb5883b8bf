//! A program that runs commands in a sandbox of its own: `cargo run -p sandbox-core --example embed`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, time::Duration};

use sandbox_core::{
    Progress, SandboxCore,
    types::{Operation, Outcome, SandboxConfig},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = SandboxConfig::builder("embed-example")
        .workspace(std::env::temp_dir().join("sandbox-embed-example"))
        .build()?;
    let sandbox = SandboxCore::open(config).await?;

    // Run, look at what changed, take it back.
    let operation = Operation::shell("echo 'Hello, Sandbox!' > output.txt").files(["output.txt"]);
    let report = sandbox.execute(operation).await?;
    println!("{:?}: {} created", report.outcome, report.changes.created);
    sandbox.undo(report.id()).await?;
    println!("there: {}", sandbox.workspace().join("output.txt").exists());

    // The output as it comes.
    let mut running = sandbox.start(Operation::shell("echo one; echo two"));
    while let Some(progress) = running.next().await {
        if let Progress::Output { bytes, .. } = progress {
            print!("{}", String::from_utf8_lossy(&bytes));
        }
    }
    println!("{:?}", running.report().await?.outcome);

    // A future that is dropped ends its operation; what happened is in the events.
    let slow = sandbox.execute(Operation::shell("sleep 60"));
    let gave_up = tokio::time::timeout(Duration::from_millis(300), slow).await;
    println!("gave up: {}", gave_up.is_err());
    let mut events = sandbox.events(Some(0))?;
    while let Some(event) = events.next().await {
        let event = event?;
        println!("{} {}", event.sequence, event.kind.name());
        if let sandbox_core::EventKind::OperationFinished(report) = event.kind
            && report.outcome == Outcome::Cancelled
        {
            break;
        }
    }

    let workspace = sandbox.workspace().to_owned();
    sandbox.cleanup().await?;
    std::fs::remove_dir_all(workspace)?;
    Ok(())
}
