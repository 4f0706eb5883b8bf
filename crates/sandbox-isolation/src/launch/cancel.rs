//! Ending a run from another thread.

use std::{
    fmt,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::event::EventfdFlags;

/// Ends the run that waits with it. Clones are one and the same; cancelling cannot be taken back.
#[derive(Clone)]
pub struct Cancellation(Arc<State>);

struct State {
    cancelled: AtomicBool,
    /// Wakes the waiting thread. Without it (no descriptors left) the thread notices at its next tick.
    wake: Option<OwnedFd>,
}

impl Cancellation {
    /// Returns a cancellation that was not asked for yet.
    pub fn new() -> Self {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Self(Arc::new(State {
            cancelled: AtomicBool::new(false),
            wake: rustix::event::eventfd(0, flags).ok(),
        }))
    }

    /// Asks for the end.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        if let Some(wake) = &self.0.wake {
            // It fails only if the counter is full: then it is readable already.
            rustix::io::write(wake, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// Returns whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Returns what becomes readable when the end is asked for.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.wake.as_ref().map(|wake| wake.as_fd())
    }
}

impl Default for Cancellation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation")
            .field(&self.is_cancelled())
            .finish()
    }
}
