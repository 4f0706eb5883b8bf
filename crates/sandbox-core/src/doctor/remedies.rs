//! Adds what stands in the way on this host, and what removes it.

use std::path::Path;

use sandbox_isolation::advice;

use super::{Protection, weakened};

/// Adds it to the protections that it weakens. What the kernel's files say is more exact than what a protection said
/// by itself.
pub(super) fn add(protections: &mut [Protection]) {
    let is_root = rustix::process::geteuid().is_root();
    let advice = advice(Path::new("/"), is_root);
    // The first of several on one wall has to go first.
    for advice in advice.into_iter().rev() {
        let name = weakened(advice.wall);
        if let Some(protection) = protections.iter_mut().find(|it| it.name == name) {
            protection.missing = Some(advice.obstacle.reason);
            protection.remedy = Some(advice.obstacle.remedy);
        }
    }
}
