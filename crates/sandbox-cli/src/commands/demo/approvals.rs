//! Operations that wait for a person.

use sandbox_core::{ApprovalError, ApproveError, Remember, SandboxCore, Unattended, Who};
use sandbox_types::{Operation, Outcome, SafetyProfile, SandboxConfig};

use super::{
    chapters::{Story, ended},
    means::reason,
};
use crate::failure::Failure;

/// Asked about by a strict sandbox; each run leaves one line.
const ASKS: &str = "rm -rf build; echo built >> builds.txt";
const LEFT: &str = "builds.txt";

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Approve: what is asked about waits for a person")?;
    let core = strict(story);
    story
        .narrator
        .command(&format!("sandbox run -c strict.yaml --shell '{ASKS}'"))?;
    let held = waits(story, &core).await;
    story.narrator.step(
        "nobody is there to ask, so it waits, and nothing runs",
        held,
    )?;
    story.narrator.command("sandbox approvals approve ID")?;
    let held = runs_once(story, &core).await;
    story
        .narrator
        .step("approved, exactly that runs, exactly once", held)?;
    story.narrator.command("sandbox approvals deny ID")?;
    let held = denied(story, &core).await;
    story.narrator.step("denied, it never runs", held)?;
    story
        .narrator
        .command("sandbox approvals approve --remember ID")?;
    let held = remembered(story, &core).await;
    story.narrator.step(
        "remembered, it is not asked about again; anything else is",
        held,
    )
}

fn strict(story: &Story<'_>) -> Result<SandboxCore, String> {
    let mut settings = SandboxConfig::default();
    settings.safety_constraints.profile = Some(SafetyProfile::Strict);
    story.open_with(settings)
}

/// Runs what is asked about, and returns the name of the request.
async fn ask(core: &Result<SandboxCore, String>, text: &str) -> Result<String, String> {
    let core = core.as_ref().map_err(Clone::clone)?;
    let report = core
        .execute(Operation::shell(text))
        .await
        .map_err(|error| reason(&error))?;
    let request = report.approval.as_ref().and_then(|it| it.request.as_ref());
    match request {
        Some(id) if report.outcome == Outcome::ApprovalRequired => Ok(id.to_string()),
        _ => Err(ended(&report)),
    }
}

async fn waits(story: &Story<'_>, core: &Result<SandboxCore, String>) -> Result<String, String> {
    let before = story.tree();
    let id = ask(core, ASKS).await?;
    story.unchanged(before)?;
    let waiting = story.core.approvals().map_err(|error| reason(&error))?;
    match waiting.as_slice() {
        [request] if request.id.as_str() == id => {
            let rules = request.verdict.findings.iter().map(|it| it.rule.as_str());
            Ok(format!("{id}: {}", rules.collect::<Vec<_>>().join(", ")))
        }
        _ => Err(format!("{} requests wait", waiting.len())),
    }
}

async fn runs_once(
    story: &Story<'_>,
    core: &Result<SandboxCore, String>,
) -> Result<String, String> {
    let core = core.as_ref().map_err(Clone::clone)?;
    let waiting = core.approvals().map_err(|error| reason(&error))?;
    let id = waiting.first().ok_or("nothing waits")?.id.to_string();
    let approve = || core.approve(&id, Remember::Once, Unattended);
    let report = approve().await.map_err(|error| reason(&error))?;
    if report.outcome != Outcome::Completed {
        return Err(ended(&report));
    }
    let again = match approve().await {
        Err(ApproveError::Approval(error @ ApprovalError::Decided { .. })) => reason(&error),
        Err(error) => return Err(reason(&error)),
        Ok(_) => return Err("it ran twice".to_owned()),
    };
    story.reads(LEFT, "built\n")?;
    Ok(format!("again: {again}"))
}

async fn denied(story: &Story<'_>, core: &Result<SandboxCore, String>) -> Result<String, String> {
    let before = story.tree();
    let id = ask(core, "rm -rf build; echo denied >> builds.txt").await?;
    let core = core.as_ref().map_err(Clone::clone)?;
    core.deny(&id, Who::api()).map_err(|error| reason(&error))?;
    let refused = match core.approve(&id, Remember::Once, Unattended).await {
        Err(ApproveError::Approval(error @ ApprovalError::Decided { .. })) => reason(&error),
        Err(error) => return Err(reason(&error)),
        Ok(_) => return Err("it ran".to_owned()),
    };
    story.unchanged(before)?;
    Ok(refused)
}

async fn remembered(
    story: &Story<'_>,
    core: &Result<SandboxCore, String>,
) -> Result<String, String> {
    let id = ask(core, ASKS).await?;
    let core = core.as_ref().map_err(Clone::clone)?;
    core.approve(&id, Remember::Always, Unattended)
        .await
        .map_err(|error| reason(&error))?;
    let report = core
        .execute(Operation::shell(ASKS))
        .await
        .map_err(|error| reason(&error))?;
    let rule = report.approval.as_ref().and_then(|it| it.rule.as_ref());
    let Some(rule) = rule.filter(|_| report.outcome == Outcome::Completed) else {
        return Err(ended(&report));
    };
    story.reads(LEFT, "built\nbuilt\nbuilt\n")?;
    let other = Operation::shell(format!("{ASKS}; echo and more"));
    if core.needs_approval(&other).is_none() {
        return Err("something else is not asked about either".to_owned());
    }
    Ok(format!("the rule {rule} approved it"))
}
