//! Operations that are no commands, and rules that a program adds.

use std::{fs, os::unix::fs::PermissionsExt as _};

use sandbox_core::{Plugins, Validator};
use sandbox_types::{
    Decision, Effect, Finding, Operation, OperationReport, Outcome, RiskLevel, SandboxConfig,
    Verdict,
};

use super::{
    chapters::{Story, ended},
    means::reason,
};
use crate::failure::Failure;

const WRITE: &str =
    r#"{"type": "file_write", "path": "bin/greet.sh", "content": "echo hello\n", "mode": "0750"}"#;
const MOVE: &str = r#"{"type": "file_move", "from": "bin/greet.sh", "to": "tools/greet.sh"}"#;
const SCRIPT: &str = r#"{"type": "script", "interpreter": ["sh"], "source": "sh tools/greet.sh\necho $((6 * 7))\n"}"#;

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Shape: work on files, scripts, and rules of your own")?;
    story.typed(WRITE)?;
    let held = written(story).await;
    story
        .narrator
        .step("a file is written, with its directory and mode", held)?;
    story.typed(MOVE)?;
    let held = moved(story).await;
    story.narrator.step("a file is moved", held)?;
    story.typed(SCRIPT)?;
    let held = scripted(story).await;
    story
        .narrator
        .step("a script runs, confined as all", held)?;
    let held = tightened(story).await;
    story.narrator.step(
        "a program's own rule denies what the built-in ones allow",
        held,
    )
}

impl Story<'_> {
    fn typed(&self, document: &str) -> Result<(), Failure> {
        let command = format!("echo '{document}' | sandbox run --operation -");
        self.narrator.command(&command)
    }

    async fn run_document(&self, document: &str) -> Result<OperationReport, String> {
        let operation = self
            .core
            .read_operation(document, "document")
            .map_err(|error| reason(&error))?;
        let report = self.run(operation).await?;
        if report.outcome == Outcome::Completed {
            Ok(report)
        } else {
            Err(ended(&report))
        }
    }
}

async fn written(story: &Story<'_>) -> Result<String, String> {
    story.run_document(WRITE).await?;
    story.reads("bin/greet.sh", "echo hello\n")?;
    let file = story.scratch.workspace().join("bin/greet.sh");
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode == 0o750 {
        Ok(format!("mode {mode:04o}"))
    } else {
        Err(format!("its mode is {mode:04o}"))
    }
}

async fn moved(story: &Story<'_>) -> Result<(), String> {
    story.run_document(MOVE).await?;
    story.reads("tools/greet.sh", "echo hello\n")?;
    if story.scratch.workspace().join("bin/greet.sh").exists() {
        return Err("the old one is still there".to_owned());
    }
    Ok(())
}

async fn scripted(story: &Story<'_>) -> Result<String, String> {
    let report = story.run_document(SCRIPT).await?;
    let printed = String::from_utf8_lossy(&report.stdout.data);
    let printed = printed.trim().replace('\n', " ");
    if printed == "hello 42" {
        Ok(format!("it printed {printed}"))
    } else {
        Err(format!("it printed {printed:?}"))
    }
}

/// A rule as a program would add it: nobody touches the tools.
#[derive(Debug)]
struct NoTools;

impl Validator for NoTools {
    fn name(&self) -> &'static str {
        "no-tools"
    }

    fn validate(&self, operation: &Operation, _so_far: &Verdict) -> Vec<Finding> {
        let words = operation.action.argv().join(" ");
        if !words.contains("tools/") {
            return Vec::new();
        }
        vec![Finding {
            rule: "demo.no-tools".to_owned(),
            severity: RiskLevel::Critical,
            effects: vec![Effect::AffectsRemote],
            message: "touches the tools".to_owned(),
            span: (0, words.len()),
            evidence: words,
            suggestion: None,
        }]
    }
}

async fn tightened(story: &Story<'_>) -> Result<String, String> {
    let text = "echo x >> tools/greet.sh";
    let operation = || Operation::shell(text);
    // The control: without the rule it would run.
    let allowed = story.core.judge(&operation()).decision;
    if allowed != Decision::Allow {
        return Err(format!("without the rule the decision is {allowed}"));
    }
    let plugins = Plugins::new().validator(NoTools);
    let home = story.scratch.home().clone().with_plugins(plugins);
    let core = story.open_in(&home, SandboxConfig::default())?;
    let before = story.tree();
    let report = core
        .execute(operation())
        .await
        .map_err(|error| reason(&error))?;
    story.unchanged(before)?;
    let ours = report
        .verdict
        .findings
        .iter()
        .any(|it| it.rule == "demo.no-tools");
    if report.outcome == Outcome::Denied && ours {
        Ok(format!("`{text}`: deny demo.no-tools"))
    } else {
        Err(ended(&report))
    }
}
