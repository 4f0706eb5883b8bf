//! What files hold: a scan, and the scan of what an operation writes.

use std::fs;

use sandbox_types::{
    ContentAction, ContentFinding, Operation, RiskLevel, SandboxConfig, Settlement,
};

use super::{
    chapters::{Story, ended},
    means::reason,
};
use crate::failure::Failure;

/// A token of the right form, which never belonged to anybody.
const TOKEN: &str = concat!("gh", "p_Zqumpm08hsE8JNpjJOQGa2rb19FlY01xVVzU");
const RULE: &str = "secret.github-token";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Scan: secrets and malicious scripts are found in files")?;
    story.narrator.command("sandbox scan src")?;
    let held = planted(story).await;
    story
        .narrator
        .step("a planted token is found, and not printed", held)?;
    story.narrator.command(
        r#"echo '{"type": "file_write", "path": "login.py", "content": "token = …"}' | sandbox run --operation -"#,
    )?;
    let held = reported(story).await;
    story.narrator.step(
        "what an operation writes is scanned too: it is reported",
        held,
    )?;
    let held = held_back(story).await;
    story
        .narrator
        .step("or held, where the settings say `action: review`", held)
}

fn text() -> String {
    format!("import api\n\nTOKEN = \"{TOKEN}\"\n")
}

/// Returns where the token was found.
fn place(findings: &[ContentFinding], file: &str) -> Result<String, String> {
    let found = findings
        .iter()
        .find(|it| it.rule == RULE && it.path.ends_with(file));
    let found = found.ok_or_else(|| format!("not among {} findings", findings.len()))?;
    if found.line != 3 {
        return Err(format!("it is said to be in line {}", found.line));
    }
    if found.evidence.contains(TOKEN) {
        return Err("the evidence tells the token".to_owned());
    }
    Ok(format!("{file}:3 [{RULE}] {}", found.evidence))
}

async fn planted(story: &Story<'_>) -> Result<String, String> {
    let source = story.scratch.workspace().join("src");
    let scan = || {
        let paths = vec![source.clone()];
        async {
            let scanned = story.core.scan(paths, RiskLevel::Medium).await;
            scanned.map_err(|error| reason(&error))
        }
    };
    // The control: nothing is found before.
    if !scan().await?.is_clean() {
        return Err("there are findings without it".to_owned());
    }
    story.write("src/settings.py", text())?;
    let report = scan().await?;
    let file = source.join("settings.py");
    fs::remove_file(file).map_err(|error| error.to_string())?;
    place(&report.findings, "settings.py")
}

async fn reported(story: &Story<'_>) -> Result<String, String> {
    let before = story.tree();
    let report = story.run(Operation::file_write("login.py", text())).await?;
    if report.changes.settlement != Settlement::Committed {
        return Err(ended(&report));
    }
    let place = place(&report.changes.findings, "login.py")?;
    let undone = story.core.undo(report.id()).await;
    undone.map_err(|error| reason(&error))?;
    story.unchanged(before)?;
    Ok(place)
}

async fn held_back(story: &Story<'_>) -> Result<String, String> {
    let mut settings = SandboxConfig::default();
    settings.safety_constraints.content.action = Some(ContentAction::Review);
    let core = story.open_with(settings)?;
    let before = story.tree();
    let report = core
        .execute(Operation::file_write("login.py", text()))
        .await
        .map_err(|error| reason(&error))?;
    if report.changes.settlement != Settlement::Pending {
        return Err(ended(&report));
    }
    story.unchanged(before)?;
    let discarded = core.discard(Some(report.id().as_str())).await;
    discarded.map_err(|error| reason(&error))?;
    let because = report.changes.held_because.first();
    because
        .cloned()
        .ok_or_else(|| "no reason is given".to_owned())
}
