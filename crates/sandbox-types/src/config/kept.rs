//! How much is kept for going back: of operations, and of the state.

use std::time::Duration;

use super::SandboxConfig;
use crate::parse_duration;

impl SandboxConfig {
    /// Returns how many operations can be undone.
    pub fn undo_keep(&self) -> usize {
        let built_in = Self::built_in().safety_constraints.undo_keep;
        let kept = self.safety_constraints.undo_keep.or(built_in);
        kept.and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    }

    /// Returns how long an operation can be undone, if that is limited.
    pub fn undo_keep_age(&self) -> Option<Duration> {
        let text = self.safety_constraints.undo_keep_age.as_ref()?;
        parse_duration(text).ok()
    }

    /// Returns how many bytes may be kept for undoing, if that is limited.
    pub fn undo_keep_bytes(&self) -> Option<u64> {
        let mb = u64::try_from(self.safety_constraints.undo_keep_mb?).ok()?;
        Some(mb.saturating_mul(1 << 20))
    }

    /// Returns how many versions of a key of the state are kept.
    pub fn state_keep(&self) -> u64 {
        let built_in = Self::built_in().safety_constraints.state_keep;
        let kept = self.safety_constraints.state_keep.or(built_in);
        kept.and_then(|it| u64::try_from(it).ok()).unwrap_or(1)
    }

    /// Returns how long a version of a key is kept after it was replaced, if that is limited.
    pub fn state_keep_age(&self) -> Option<Duration> {
        let text = self.safety_constraints.state_keep_age.as_ref()?;
        parse_duration(text).ok()
    }
}
