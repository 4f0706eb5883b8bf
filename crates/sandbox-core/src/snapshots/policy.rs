//! Which snapshots stay when somebody asks for a policy.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sandbox_rollback::{KeepPolicy, Kept, RepositoryError};

use super::{error::SnapshotError, records};
use crate::{
    core::{SandboxCore, in_background},
    home::now,
    sandbox::Sandbox,
};

/// Why a snapshot was deleted, in the journal.
const POLICY: &str = "policy";

/// Returns the time that was so long ago, for a [`KeepPolicy`]; `None` if that is before all times.
pub fn time_before_now(span: Duration) -> Option<Timestamp> {
    now().checked_sub(span).ok()
}

impl SandboxCore {
    /// Deletes the snapshots that `policy` does not keep, and returns all of them with the reasons
    /// that keep them; with `dry_run` it only says so. Their space is free after the next prune.
    ///
    /// # Errors
    ///
    /// Fails when a snapshot cannot be read, or the repository not be written. Then none is deleted.
    pub async fn forget_snapshots(
        &self,
        policy: KeepPolicy,
        dry_run: bool,
    ) -> Result<Vec<Kept>, SnapshotError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || sandbox.apply_policy(&policy, dry_run, now())).await
    }
}

impl Sandbox {
    fn apply_policy(
        &self,
        policy: &KeepPolicy,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<Vec<Kept>, SnapshotError> {
        let _in_use = self.in_use().map_err(SnapshotError::Destroyed)?;
        let kept = match self.repository()?.forget(policy, dry_run) {
            Err(RepositoryError::Empty) => Vec::new(),
            kept => kept?,
        };
        if dry_run {
            return Ok(kept);
        }
        self.release_pins();
        for one in kept.iter().filter(|one| one.reasons.is_empty()) {
            records::deleted(self.journal(), one.snapshot, POLICY, now)
                .map_err(SnapshotError::Record)?;
        }
        Ok(kept)
    }
}
