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
    failure::{Failure, Kind},
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
    told?;
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

fn tell(scratch: &Scratch, narrator: &mut Narrator) -> Result<(), Failure> {
    let runtime = waiting::runtime_with_clock()?;
    let told = runtime.block_on(async {
        let story = Story::begin(scratch, narrator)?;
        tokio::select! {
            told = story.tell() => told,
            _ = signal::ctrl_c() => {
                Err(Failure::new(Kind::Refused, "interrupted").hint("run `sandbox demo` again"))
            }
        }
    });
    // Waits until an operation that was interrupted is settled.
    drop(runtime);
    told
}
