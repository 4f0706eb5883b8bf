//! The whole workspace as it was: snapshots, restore, rollback, and the check of what is kept.

use sandbox_core::{
    RepositoryVerification, RestoreRequest, RollbackOptions, SandboxCore, SnapshotReport,
    SnapshotRequest, VerifyDepth,
};
use sandbox_types::{Bytes, Operation, Outcome};

use super::{
    chapters::{Story, ended},
    means::{flip_a_bit, reason},
};
use crate::failure::Failure;

/// The size of a file that cannot be compressed.
const DATA_BYTES: usize = 256 << 10;
/// A second snapshot stores at most one part in so many of the first.
const TINY: u64 = 10;

pub(super) async fn tell(story: &mut Story<'_>) -> Result<(), Failure> {
    story
        .narrator
        .chapter("Snapshot: the whole workspace as it was")?;
    story.narrator.command("sandbox snapshot create")?;
    let first = take_first(story).await;
    let held = first.as_ref().map(shown).map_err(Clone::clone);
    story.narrator.step("a first one stores everything", held)?;
    let second = take_second(story).await;
    let held = second.as_ref().map(shown).map_err(Clone::clone);
    story
        .narrator
        .step("after one edit, a second one stores next to nothing", held)?;
    let Some(id) = second.ok().map(|it| it.id.to_string()) else {
        return Ok(());
    };
    let short = id.get(..8).unwrap_or(&id).to_owned();
    let whole = story.tree();
    story
        .narrator
        .command(&format!("sandbox snapshot restore {short} --path 'src/**'"))?;
    let held = restored(story, &id).await;
    story.narrator.step(
        "after a mishap, one directory comes back, the rest stays",
        held,
    )?;
    let damaged = story.tree();
    story
        .narrator
        .command(&format!("sandbox rollback {short}"))?;
    let rolled_back = story.core.roll_back(&id, RollbackOptions::default()).await;
    let rolled_back = rolled_back.map_err(|error| reason(&error));
    let held = match &rolled_back {
        Ok(outcome) => story
            .unchanged(whole)
            .map(|()| format!("{} paths", outcome.paths.len())),
        Err(wrong) => Err(wrong.clone()),
    };
    story
        .narrator
        .step("everything is as in the snapshot, identical", held)?;
    story.narrator.command("sandbox undo")?;
    let operation = rolled_back.and_then(|it| it.operation.ok_or_else(|| "nothing to undo".into()));
    let held = match operation {
        Ok(id) => match story.core.undo(&id).await {
            Ok(_) => story.unchanged(damaged),
            Err(error) => Err(reason(&error)),
        },
        Err(wrong) => Err(wrong),
    };
    story
        .narrator
        .step("the rollback itself is taken back", held)?;
    story
        .narrator
        .command("sandbox snapshot verify --read-data")?;
    let held = verified(story).await;
    story
        .narrator
        .step("they are whole; one flipped bit in a copy is found", held)
}

fn shown(taken: &SnapshotReport) -> String {
    format!(
        "{} files of {}, stored {}",
        taken.files,
        Bytes(taken.bytes),
        Bytes(taken.stored_bytes)
    )
}

async fn take(story: &Story<'_>) -> Result<SnapshotReport, String> {
    let taken = story.core.snapshot(SnapshotRequest::default()).await;
    taken.map_err(|error| reason(&error))
}

async fn take_first(story: &Story<'_>) -> Result<SnapshotReport, String> {
    story.write("data.bin", noise())?;
    let taken = take(story).await?;
    let listed = story.core.snapshots().map_err(|error| reason(&error))?;
    match listed.as_slice() {
        [only] if only.id == taken.id && taken.stored_bytes >= DATA_BYTES as u64 => Ok(taken),
        _ => Err(format!("{} are listed; {}", listed.len(), shown(&taken))),
    }
}

async fn take_second(story: &Story<'_>) -> Result<SnapshotReport, String> {
    let text = format!("{}one more line\n", story.read("README.md")?);
    story.write("README.md", text)?;
    let taken = take(story).await?;
    if taken.new_bytes > 0 && taken.stored_bytes < taken.bytes / TINY {
        Ok(taken)
    } else {
        Err(shown(&taken))
    }
}

/// Damages two files, and restores one by a pattern.
async fn restored(story: &Story<'_>, id: &str) -> Result<String, String> {
    let damage = Operation::shell("echo broken > src/lib.txt; echo broken > README.md");
    let report = story.run(damage).await?;
    if report.outcome != Outcome::Completed {
        return Err(ended(&report));
    }
    // The control: what comes back had gone.
    story.reads("src/lib.txt", "broken\n")?;
    let request = RestoreRequest {
        paths: vec!["src/**".to_owned()],
        ..RestoreRequest::default()
    };
    let restored = story.core.restore(id, request).await;
    let restored = restored.map_err(|error| reason(&error))?;
    story.reads("src/lib.txt", "the library\n")?;
    story.reads("README.md", "broken\n")?;
    let paths = restored.paths.iter().map(|it| it.path.to_string_lossy());
    Ok(paths.collect::<Vec<_>>().join(", "))
}

async fn verified(story: &Story<'_>) -> Result<String, String> {
    let whole = verify(&story.core).await?;
    if let Some(problem) = whole.problems.first() {
        return Err(problem.what.clone());
    }
    let copy = story.copy("copied-snapshots")?;
    flip_a_bit(&copy.directory.join("repository/packs/00000001.pack"))?;
    let damaged = verify(&copy.open()?).await?;
    match damaged.problems.first() {
        Some(problem) => Ok(problem.what.clone()),
        None => Err("it was not found".to_owned()),
    }
}

async fn verify(core: &SandboxCore) -> Result<RepositoryVerification, String> {
    let verified = core.verify_snapshots(VerifyDepth::Data).await;
    verified.map_err(|error| reason(&error))
}

/// Bytes without a pattern: the generator is xorshift64 (Marsaglia, 2003).
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.flat_map(u64::to_le_bytes).take(DATA_BYTES).collect()
}
