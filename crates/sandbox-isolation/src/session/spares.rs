//! How many confinements a keeper holds ready.

use std::{
    os::fd::OwnedFd,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::{fresh::Seen, layers::Mounted};
use crate::{
    child::status::Message,
    egress,
    launch::start::{Built, read_message},
};

/// Confinements that wait at most; each holds some hundred KiB.
pub(super) const SPARES_MAX: usize = 8;
/// How long it is remembered that many operations ran at the same time.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A confinement that waits for its operation, or is on its way to that.
pub(super) struct Spare {
    pub(super) built: Built,
    pub(super) seen: Rc<Seen>,
    pub(super) layers: Option<Mounted>,
    /// Of its network, if that leads anywhere. They wait here and not in a channel, where all that a user sends count.
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) is_ready: bool,
    /// Whether the host was looked at for this one.
    pub(super) is_first: bool,
}

impl Spare {
    /// Hears what init has told; returns whether it is as it should be.
    pub(super) fn hear(&mut self) -> bool {
        let Built {
            tree,
            status,
            network,
            ..
        } = &mut self.built;
        if tree.init().is_none() {
            return matches!(tree.await_birth(status), Ok(None));
        }
        if !matches!(read_message(status), Ok(Some(Message::Ready))) {
            return false;
        }
        // They were sent before that.
        let taken = egress::take_sockets(network.take());
        let is_whole = taken.is_ok();
        self.sockets = taken.unwrap_or_default();
        self.is_ready = is_whole;
        is_whole
    }
}

/// How many operations there were at the same time lately.
#[derive(Debug)]
pub(super) struct Demand {
    now: usize,
    before: usize,
    since: Instant,
    /// How many are built at the same time: more would only wait for each other.
    pub(super) builders: usize,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now: 1,
            before: 1,
            since: now,
            builders: thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Notes that so many operations use this session.
    pub(super) fn note(&mut self, operations: usize, now: Instant) {
        self.pass(now);
        self.now = self.now.max(operations);
    }

    /// Returns how many confinements are to wait for the next operations.
    pub(super) fn wanted(&self) -> usize {
        self.now.max(self.before).clamp(1, SPARES_MAX)
    }

    /// Forgets what is long ago.
    pub(super) fn pass(&mut self, now: Instant) {
        if now < self.since + REMEMBERED {
            return;
        }
        let is_recent = now < self.since + 2 * REMEMBERED;
        self.before = if is_recent { self.now } else { 1 };
        self.now = 1;
        self.since = now;
    }

    /// Returns when [`Self::pass`] may change what is wanted.
    pub(super) fn changes_at(&self) -> Option<Instant> {
        (self.wanted() > 1).then(|| self.since + REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_needed_lately_is_wanted_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut demand = Demand::new(start);
        assert_eq!((demand.wanted(), demand.changes_at()), (1, None));
        demand.note(5, at(10));
        demand.note(2, at(20));
        assert_eq!(demand.wanted(), 5);
        demand.note(1, at(1_100));
        assert_eq!(demand.wanted(), 5, "a second ago");
        demand.pass(at(2_200));
        assert_eq!((demand.wanted(), demand.changes_at()), (1, None));
        demand.note(100, at(2_300));
        assert_eq!(demand.wanted(), SPARES_MAX);
        demand.pass(at(10_000));
        assert_eq!(demand.wanted(), 1, "long ago");
    }
}
