//! Which operation is meant where none was named.

use sandbox_core::{RunningNow, SandboxCore};

use crate::{
    commands::describe,
    failure::{Failure, Kind},
};

/// How many of the newest operations are looked at.
const LOOKED_AT: usize = 100;

/// Returns the operation whose output is meant: the newest detached one, whether it runs or has ended.
pub(crate) fn newest_with_output(core: &SandboxCore) -> Result<String, Failure> {
    let running = running(core)?;
    if let Some(newest) = running.iter().rev().find(|it| it.detached) {
        return Ok(newest.id.to_string());
    }
    let ended = core.log(LOOKED_AT)?;
    let kept = ended
        .into_iter()
        .find(|it| core.output(it.id.as_str()).is_ok());
    kept.map(|it| it.id.to_string())
        .ok_or_else(|| none("no operation was detached here"))
}

/// Returns the operation whose end is meant: the newest that runs, else the newest detached one.
pub(crate) fn newest_to_wait_for(core: &SandboxCore) -> Result<String, Failure> {
    match running(core)?.last() {
        Some(newest) => Ok(newest.id.to_string()),
        None => newest_with_output(core),
    }
}

/// Returns the only operation that runs.
pub(crate) fn only_running(core: &SandboxCore) -> Result<String, Failure> {
    match running(core)?.as_slice() {
        [only] => Ok(only.id.to_string()),
        [] => Err(none("nothing runs in this sandbox")),
        several => {
            let ids: Vec<&str> = several.iter().map(|it| describe::short(&it.id)).collect();
            Err(Failure::new(
                Kind::NotFound,
                format!("{} operations run in this sandbox", several.len()),
            )
            .hint(format!("name one of them: {}", ids.join(", "))))
        }
    }
}

fn running(core: &SandboxCore) -> Result<Vec<RunningNow>, Failure> {
    Ok(core.running()?)
}

fn none(what: &str) -> Failure {
    Failure::new(Kind::NotFound, what).hint("`sandbox log` lists what ran, `sandbox ps` what runs")
}
