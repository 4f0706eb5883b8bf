//! A sandbox that stands still, and goes on.

use std::{fs, path::PathBuf, time::Duration};

use sandbox_core::{RunFault, RunningOperation, State, SuspendError};
use sandbox_types::{Operation, Outcome};

use super::{
    chapters::{Story, ended},
    means::{in_time, reason, until},
};
use crate::failure::Failure;

/// The end of an operation that the demo ends itself, if it cannot any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Suspend: everything stands still, and goes on")?;
    story.narrator.command("sandbox suspend")?;
    let counting = Counting::start(story).await;
    let frozen = suspend(story, counting).await;
    let (claim, held, counting) = match frozen {
        Ok(Suspended::Frozen(counting, stands_at)) => (
            "what runs is frozen in the middle",
            Ok(format!("it counts, and stands at {stands_at}")),
            Some((counting, stands_at)),
        ),
        Ok(Suspended::NoFreezer(why)) => (
            "this host cannot freeze what runs: that is said, and it runs on",
            Ok(why),
            None,
        ),
        Err(wrong) => ("what runs is frozen in the middle", Err(wrong), None),
    };
    story.narrator.step(claim, held)?;
    let held = refuses(story).await;
    story
        .narrator
        .step("a new operation is refused meanwhile", held)?;
    story.narrator.command("sandbox resume")?;
    let claim = if counting.is_some() {
        "it goes on where it stood"
    } else {
        "operations run again"
    };
    let held = goes_on(story, counting).await;
    story.narrator.step(claim, held)
}

/// An operation that lengthens a file outside of its workspace, so that it can be seen at work.
struct Counting {
    operation: RunningOperation,
    file: PathBuf,
}

impl Counting {
    async fn start(story: &Story<'_>) -> Result<Self, String> {
        let directory = story.scratch.root().join("count");
        fs::create_dir(&directory).map_err(|error| error.to_string())?;
        let file = directory.join("file");
        let text = format!("while echo x >> '{}'; do sleep 0.002; done", file.display());
        let mut operation = Operation::shell(text).timeout(FORGOTTEN_AFTER);
        operation.write = vec![directory];
        let counting = Self {
            operation: story.core.start(operation),
            file,
        };
        counting.counts().await?;
        Ok(counting)
    }

    fn count(&self) -> u64 {
        // It writes lines of two bytes.
        fs::metadata(&self.file).map_or(0, |it| it.len() / 2)
    }

    /// Waits until it has counted on.
    async fn counts(&self) -> Result<(), String> {
        let before = self.count();
        until("the next count", async || self.count() > before).await
    }

    async fn end(self) -> Result<(), String> {
        self.operation.cancel();
        let report = in_time("its end", self.operation.report()).await?;
        let report = report.map_err(|error| reason(&error))?;
        if report.outcome == Outcome::Cancelled {
            Ok(())
        } else {
            Err(ended(&report))
        }
    }
}

enum Suspended {
    /// At which count it stands.
    Frozen(Counting, u64),
    /// There is none, and why.
    NoFreezer(String),
}

async fn suspend(
    story: &Story<'_>,
    counting: Result<Counting, String>,
) -> Result<Suspended, String> {
    let counting = counting?;
    match story.core.suspend().await {
        Ok(suspension) => {
            let count = counting.count();
            let id = counting.operation.id();
            let listed = suspension.operations.iter().any(|it| it.id == *id);
            if !listed || state(story)? != State::Suspended {
                return Err(format!("the sandbox is {}", state(story)?));
            }
            Ok(Suspended::Frozen(counting, count))
        }
        Err(error @ SuspendError::Freeze { .. }) => {
            counting.counts().await?;
            counting.end().await?;
            // Without an operation nothing needs to be frozen.
            let suspended = story.core.suspend().await;
            suspended.map_err(|error| reason(&error))?;
            Ok(Suspended::NoFreezer(reason(&error)))
        }
        Err(error) => Err(reason(&error)),
    }
}

fn state(story: &Story<'_>) -> Result<State, String> {
    Ok(story.core.status().map_err(|error| reason(&error))?.state)
}

async fn refuses(story: &Story<'_>) -> Result<String, String> {
    let before = story.tree();
    match story.core.execute(Operation::shell("echo x > x")).await {
        Err(error) if matches!(*error.fault, RunFault::Enter(_)) => {
            story.unchanged(before)?;
            Ok(reason(&error))
        }
        Err(error) => Err(reason(&error)),
        Ok(report) => Err(ended(&report)),
    }
}

async fn goes_on(story: &Story<'_>, counting: Option<(Counting, u64)>) -> Result<String, String> {
    let now = counting.as_ref().map(|(counting, _)| counting.count());
    story.core.resume().await.map_err(|error| reason(&error))?;
    let mut evidence = "`true` ran".to_owned();
    if let Some((counting, stood_at)) = counting {
        if now != Some(stood_at) {
            return Err(format!("it was at {stood_at}, and went on to {now:?}"));
        }
        counting.counts().await?;
        evidence = format!("from {stood_at} to {}", counting.count());
        counting.end().await?;
    }
    let report = story.run(Operation::command(["true"])).await?;
    if report.outcome == Outcome::Completed {
        Ok(evidence)
    } else {
        Err(ended(&report))
    }
}
