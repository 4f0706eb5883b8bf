//! Who may start: many operations that begin at the same time take turns, for each of them takes processors from the
//! others until its guest runs, and from the keeper that builds for them.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::launch::{LaunchError, Prepared, Running};

/// Each processor has one that is built and one that is judged or starts.
const TURNS_PER_PROCESSOR: usize = 2;
/// A turn that is held longer does not count: its operation waits for something else than a processor, such as a lock
/// or whoever is told of it, and the others do not wait for that too.
const HELD_MAX: Duration = Duration::from_millis(250);

/// The turns of one launcher.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<Taken>,
    given_back: Condvar,
}

/// The turns that are taken, by number, and since when.
#[derive(Debug, Default)]
struct Taken {
    since: BTreeMap<u64, Instant>,
    next: u64,
}

/// One operation's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Taken {
    /// Returns how long to wait for a turn at least, if all of `turns` are taken.
    fn wait(&self, turns: usize, now: Instant) -> Option<Duration> {
        let count = |since: &&Instant| now.saturating_duration_since(**since) < HELD_MAX;
        let mut counted = self.since.values().filter(count);
        let oldest = *counted.next()?;
        let is_full = 1 + counted.count() >= turns;
        is_full.then(|| HELD_MAX.saturating_sub(now.saturating_duration_since(oldest)))
    }
}

impl Turns {
    /// Waits for a turn.
    pub(super) fn take(self: &Arc<Self>) -> Turn {
        let turns = thread::available_parallelism().map_or(1, usize::from) * TURNS_PER_PROCESSOR;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(wait) = taken.wait(turns, Instant::now()) {
            let waited = self.given_back.wait_timeout(taken, wait);
            (taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let number = taken.next;
        taken.next += 1;
        taken.since.insert(number, Instant::now());
        drop(taken);
        Turn {
            turns: Arc::clone(self),
            number,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let taken = self.turns.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        taken.since.remove(&self.number);
        drop(taken);
        self.turns.given_back.notify_one();
    }
}

/// What is started without a session, in its turn.
#[derive(Debug)]
pub(super) struct InTurn {
    pub(super) prepared: Box<dyn Prepared>,
    pub(super) turn: Turn,
}

impl Prepared for InTurn {
    fn layers_lock(&mut self) -> Option<OwnedFd> {
        self.prepared.layers_lock()
    }

    fn launch(self: Box<Self>) -> Result<Box<dyn Running>, LaunchError> {
        let running = self.prepared.launch();
        drop(self.turn);
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_given_back() {
        let turns = Arc::new(Turns::default());
        let all = thread::available_parallelism().map_or(1, usize::from) * TURNS_PER_PROCESSOR;
        let mut taken: Vec<Turn> = (0..all).map(|_| turns.take()).collect();
        let waits = Arc::clone(&turns);
        let next = thread::spawn(move || drop(waits.take()));
        taken.pop();
        next.join().unwrap();
        drop(taken);
        assert!(turns.taken.lock().unwrap().since.is_empty());
    }

    #[test]
    fn a_turn_that_is_held_long_does_not_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut taken = Taken::default();
        assert_eq!(taken.wait(2, start), None);
        taken.since.insert(0, start);
        assert_eq!(taken.wait(2, start), None);
        taken.since.insert(1, at(100));
        assert_eq!(taken.wait(2, at(100)), Some(Duration::from_millis(150)));
        assert_eq!(
            taken.wait(2, at(250)),
            None,
            "the first waits for something else"
        );
        taken.since.insert(2, at(260));
        assert_eq!(taken.wait(2, at(260)), Some(Duration::from_millis(90)));
    }
}
