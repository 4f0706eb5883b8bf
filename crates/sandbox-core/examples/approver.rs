//! Somebody who answers when the judge asks; what is left to later waits, and is approved then.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sandbox_core::{
    Answer, Approver, Plugins, Remember, SandboxCore, Unattended,
    types::{NetworkAccess, Operation, RiskLevel, SafetyProfile, SandboxConfig, Verdict},
};

/// Says yes to what remains below high, no to what reaches the network, and later to the rest.
#[derive(Debug)]
struct OnCall;

impl Approver for OnCall {
    fn name(&self) -> &'static str {
        "on-call"
    }

    fn answer(&self, operation: &Operation, verdict: &Verdict) -> Answer {
        if operation.network == Some(NetworkAccess::Host) {
            Answer::No
        } else if verdict.findings.iter().any(|it| it.rule == "text.hidden") {
            Answer::Later
        } else if verdict.residual_risk.level < RiskLevel::High {
            Answer::Yes
        } else {
            Answer::Later
        }
    }

    fn reason(&self, _: &Operation, verdict: &Verdict) -> Option<String> {
        Some(format!(
            "the risk that remains is {}",
            verdict.residual_risk.level
        ))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("approver")
        .workspace("/tmp/sandbox-example-approver")
        .profile(SafetyProfile::Strict)
        .build()?;
    let plugins = Plugins::new().approver(OnCall);
    let sandbox = SandboxCore::open_with(config, plugins).await?;

    let mut push = Operation::shell("git push --force");
    push.network = Some(NetworkAccess::Host);
    let delete = Operation::shell("rm -rf build");
    let hidden = Operation::shell("echo \u{200b}hidden > out");
    for operation in [push, delete, hidden] {
        let report = sandbox.execute(operation).await?;
        println!("{:?}", report.outcome);
    }
    for request in sandbox.approvals()? {
        let ran = sandbox.approve(request.id.as_str(), Remember::Once, Unattended);
        let report = ran.await?;
        println!(
            "approved: {:?}, {} created",
            report.outcome, report.changes.created
        );
        sandbox.undo(report.id()).await?;
    }
    sandbox.cleanup().await?;
    Ok(())
}
