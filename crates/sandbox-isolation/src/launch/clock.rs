//! The wall-time limit of a run.

use std::time::Instant;

use sandbox_types::Limits;

/// The wall-time limit. It stands still while the guest is suspended, to a tick exactly.
pub(super) struct WallClock {
    deadline: Option<Instant>,
    /// When it was looked at last, and whether the guest was suspended then.
    seen: Instant,
    stands: bool,
}

impl WallClock {
    pub(super) fn of(limits: &Limits, started_at: Instant) -> Self {
        Self {
            deadline: limits.wall_time.map(|limit| started_at + limit.value),
            seen: Instant::now(),
            stands: false,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Returns when it is over, if it goes on.
    pub(super) fn rings_at(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.stands)
    }

    pub(super) fn pass(&mut self, now: Instant, frozen: bool) {
        if frozen {
            let passed = now.saturating_duration_since(self.seen);
            self.deadline = self.deadline.map(|deadline| deadline + passed);
        }
        self.stands = frozen;
        self.seen = now;
    }
}
