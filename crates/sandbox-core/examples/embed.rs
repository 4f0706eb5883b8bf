//! Runs one command in a sandbox and takes it back.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sandbox_core::{
    SandboxCore,
    types::{Operation, SandboxConfig},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("my-sandbox")
        .workspace("/tmp/my-sandbox")
        .memory("1GiB")
        .cpu_percent(50)
        .build()?;
    let sandbox = SandboxCore::open(config).await?;
    let operation = Operation::shell("echo 'Hello, Sandbox!' > output.txt").files(["output.txt"]);
    let report = sandbox.execute(operation).await?;
    println!(
        "{:?}, {} file(s) created",
        report.outcome, report.changes.created
    );
    sandbox.undo(report.id()).await?;
    sandbox.cleanup().await?;
    Ok(())
}
