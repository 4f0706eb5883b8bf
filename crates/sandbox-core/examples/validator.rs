//! A rule of the program's own: nothing is deployed on a Friday.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sandbox_core::{
    Plugins, SandboxCore, Validator,
    types::{Effect, Finding, Operation, RiskLevel, SandboxConfig, Verdict},
};

#[derive(Debug)]
struct NoFridays {
    today: &'static str,
}

impl Validator for NoFridays {
    fn name(&self) -> &'static str {
        "no-fridays"
    }

    fn validate(&self, operation: &Operation, _so_far: &Verdict) -> Vec<Finding> {
        let words = operation.action.argv().join(" ");
        if self.today != "Friday" || !words.contains("deploy") {
            return Vec::new();
        }
        vec![Finding {
            rule: "acme.no-friday-deploys".to_owned(),
            severity: RiskLevel::Critical,
            effects: vec![Effect::AffectsRemote],
            message: "deploys on a Friday".to_owned(),
            span: (0, words.len()),
            evidence: words,
            suggestion: Some("wait until Monday".to_owned()),
        }]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("validator")
        .workspace("/tmp/sandbox-example-validator")
        .build()?;
    let plugins = Plugins::new().validator(NoFridays { today: "Friday" });
    let sandbox = SandboxCore::open_with(config, plugins).await?;
    for text in ["echo build", "echo deploy"] {
        let report = sandbox.execute(Operation::shell(text)).await?;
        let rules: Vec<_> = report.verdict.findings.iter().map(|it| &it.rule).collect();
        println!("{text}: {:?} {rules:?}", report.outcome);
    }
    sandbox.cleanup().await?;
    Ok(())
}
