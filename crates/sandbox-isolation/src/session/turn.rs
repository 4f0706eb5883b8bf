//! Who may start: many operations that begin at the same time take turns, for each of them takes processors from the
//! others until its guest runs, and from the keeper that builds for them.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::launch::{LaunchError, Prepared, Running};

/// Each processor has one that is built and one that is judged or starts.
const TURNS_PER_PROCESSOR: usize = 2;
/// Nobody waits longer than this: who has a turn may be held up by something else.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The turns of one launcher.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// One operation's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Turns {
    /// Waits for a turn.
    pub(super) fn take(self: &Arc<Self>) -> Turn {
        let turns = thread::available_parallelism().map_or(1, usize::from) * TURNS_PER_PROCESSOR;
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .given_back
            .wait_timeout_while(taken, WAIT_MAX, |taken| *taken >= turns);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Turn(Arc::clone(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let taken = self.0.taken.lock();
        *taken.unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.given_back.notify_one();
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
        assert_eq!(*turns.taken.lock().unwrap(), 0);
    }
}
