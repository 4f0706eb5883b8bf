//! Makes the cgroups of an operation that runs already, and moves its tree into them.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;

use super::{TOO_LATE, absent, descendants};
use crate::cgroup::{self, Controller, OperationCgroup, Wanted};

/// How often in a row the tree is searched for processes that were born outside meanwhile. Those that fork and end
/// faster than that are searched for at every tick, and reported.
const SWEEPS_MAX: usize = 200;
/// A process may be born behind a search's back, so one that finds nothing proves little.
const CLEAN_SWEEPS: usize = 2;

/// Makes the cgroups and moves the tree of `init` into them; returns them, and how many processes are outside still.
pub(super) fn make_and_sweep(
    name: &str,
    wanted: &Wanted,
    init: Pid,
    is_over: &AtomicBool,
) -> Result<(OperationCgroup, usize), Vec<String>> {
    let hierarchies = cgroup::discover();
    hierarchies
        .version_of(Controller::Memory)
        .map_err(|reason| absent(wanted, &reason))?;
    if is_over.load(Ordering::Relaxed) {
        return Err(absent(wanted, TOO_LATE));
    }
    let mut cgroup = cgroup::create(&hierarchies, name, wanted)
        .map_err(|error| vec![format!("the resource limits: {error}")])?;
    if is_over.load(Ordering::Relaxed) {
        drop(cgroup.remove());
        return Err(absent(wanted, TOO_LATE));
    }
    // Init first: whatever is born of it from now on is born inside.
    if let Err(error) = cgroup.attach(init) {
        drop(cgroup.remove());
        return Err(vec![format!("the resource limits: {error}")]);
    }
    let escaped = sweep_until_clean(&cgroup, init, is_over);
    Ok((cgroup, escaped))
}

/// Returns how many processes are outside still.
fn sweep_until_clean(cgroup: &OperationCgroup, init: Pid, is_over: &AtomicBool) -> usize {
    let (mut clean, mut outside) = (0, 0);
    for _ in 0..SWEEPS_MAX {
        outside = sweep(cgroup, init);
        clean = if outside == 0 { clean + 1 } else { 0 };
        if clean == CLEAN_SWEEPS || is_over.load(Ordering::Relaxed) {
            return 0;
        }
    }
    outside
}

/// Moves all processes of the tree into the cgroups; returns how many were outside.
pub(super) fn sweep(cgroup: &OperationCgroup, init: Pid) -> usize {
    let mut outside = cgroup.without_membership(descendants(init));
    if outside.contains(&init) && cgroup.is_frozen() {
        // It was let out on purpose: see `cgroup/freeze.rs`.
        outside.retain(|pid| *pid != init);
    }
    for &pid in &outside {
        // It may have ended meanwhile; the next sweep tells.
        drop(cgroup.attach(pid));
    }
    outside.len()
}
