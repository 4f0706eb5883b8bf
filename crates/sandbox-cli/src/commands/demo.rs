//! `sandbox demo`: the whole story on a temporary workspace. Every step verifies what it claims.

mod approvals;
mod chapters;
mod confinement;
mod content;
mod events;
mod history;
mod kinds;
mod means;
mod narrator;
mod snapshots;
mod state;
mod suspend;
mod tree;
mod watch;

use tokio::signal;

use crate::{
    commands::{scratch::Scratch, waiting},
    exit_codes,
    failure::Failure,
    settings::Settings,
};
use chapters::Story;
use narrator::Narrator;

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let scratch = Scratch::new(&settings.host, "demo")?;
    let mut narrator = Narrator::new(settings);
    let told = tell(&scratch, &mut narrator);
    // Also after a failure and after Ctrl-C: nothing of the demo stays.
    let removed = scratch.remove();
    if told? == Told::Interrupted {
        settings
            .ui
            .insist("sandbox: interrupted; nothing of the demo stays");
        removed?;
        return Ok(INTERRUPTED);
    }
    narrator.step(
        "the temporary workspace is gone too",
        removed.map_err(|it| it.to_string()),
    )?;
    narrator.end()?;
    Ok(if narrator.every_step_held() {
        exit_codes::DONE
    } else {
        exit_codes::NO
    })
}

/// How far the story came.
#[derive(Eq, PartialEq)]
enum Told {
    Whole,
    Interrupted,
}

/// What Ctrl-C (SIGINT) ends with.
const INTERRUPTED: u8 = exit_codes::SIGNAL_BASE + 2;

fn tell(scratch: &Scratch, narrator: &mut Narrator) -> Result<Told, Failure> {
    let runtime = waiting::runtime_with_all()?;
    let told = runtime.block_on(async {
        let story = Story::begin(scratch, narrator)?;
        tokio::select! {
            told = story.tell() => told.map(|()| Told::Whole),
            _ = signal::ctrl_c() => Ok(Told::Interrupted),
        }
    });
    // Waits until an operation that was interrupted is settled.
    drop(runtime);
    told
}
