//! Hears what this process does in a sandbox.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::mpsc::{Sender, channel};

use sandbox_core::{
    EventHandler, Plugins, SandboxCore, SandboxEvent,
    types::{Operation, SandboxConfig},
};

/// Hands on the name of each event.
#[derive(Debug)]
struct Teller(Sender<String>);

impl EventHandler for Teller {
    fn handle(&self, event: &SandboxEvent) {
        // Nobody listens any more once the story is told.
        let _told = self
            .0
            .send(format!("{} {}", event.sequence, event.kind.name()));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("event-handler")
        .workspace("/tmp/sandbox-example-event-handler")
        .build()?;
    let (teller, told) = channel();
    let plugins = Plugins::new().event_handler(Teller(teller));
    let sandbox = SandboxCore::open_with(config, plugins).await?;
    let report = sandbox.execute(Operation::shell("echo hi > out")).await?;
    sandbox.undo(report.id()).await?;
    // It is called on a thread of its own.
    for line in told.iter().take(3) {
        println!("{line}");
    }
    sandbox.cleanup().await?;
    Ok(())
}
