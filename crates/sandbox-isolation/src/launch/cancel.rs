//! Ending a run from another thread, or by a signal.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, poll},
    io::Errno,
};

use crate::sys::signals::{self, SignalSet};

/// Signals that come so close together are one request: a service manager sends SIGTERM and SIGHUP, a wrapper hands
/// on what the terminal has sent already.
const ONE_REQUEST: Duration = Duration::from_millis(200);

/// What is asked of a run now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// To go on.
    Nothing,
    /// To end within its time; the guest is to hear of it by this signal.
    Soon(i32),
    /// To end.
    Now,
}

/// Ends the run that waits with it. Clones are one and the same; cancelling cannot be taken back.
#[derive(Clone)]
pub struct Cancellation(Arc<State>);

struct State {
    cancelled: AtomicBool,
    /// Wakes the waiting thread. Without it (no descriptors left) the thread notices at its next tick.
    wake: Option<OwnedFd>,
    /// Where the signals arrive that ask for the end, and the first that did; 0 is none.
    signals: Option<OwnedFd>,
    signal: AtomicI32,
    /// When the first one came, and how long the guest may take from then on.
    asked_at: OnceLock<Instant>,
    grace: Duration,
    /// Another one came, or [`Cancellation::cancel`] was called: nothing is waited for any more.
    is_urgent: AtomicBool,
    /// What was blocked before these signals were.
    blocked_before: Option<SignalSet>,
}

impl Cancellation {
    /// Returns a cancellation that was not asked for yet.
    pub fn new() -> Self {
        Self::with((None, None), Duration::ZERO)
    }

    /// Returns a cancellation that SIGHUP, SIGINT, SIGQUIT and SIGTERM ask for too: for a program whose main thread
    /// runs one operation. From now on these signals have no other effect on this thread and those that it starts;
    /// when they were ignored, they stay ignored.
    ///
    /// # Errors
    ///
    /// Fails if there is no descriptor left.
    pub fn on_signals() -> io::Result<Self> {
        Self::on_signals_within(Duration::ZERO)
    }

    /// As [`Self::on_signals`], but a command that runs is handed the first signal, every process of it, and has
    /// `grace` to end. Another signal, or [`Self::cancel`], ends it at once.
    ///
    /// # Errors
    ///
    /// Fails if there is no descriptor left.
    pub fn on_signals_within(grace: Duration) -> io::Result<Self> {
        let (signals, blocked_before) = signals::take_endings()?;
        Ok(Self::with((Some(signals), Some(blocked_before)), grace))
    }

    /// Gives the signals that were taken their usual effect again, on this thread: once the operation is over. One
    /// that has come by now has asked for the end, and has no other effect.
    pub fn give_signals_back(&self) {
        self.signal();
        if let Some(before) = self.0.blocked_before {
            signals::set_mask(before);
        }
    }

    fn with(
        (signals, blocked_before): (Option<OwnedFd>, Option<SignalSet>),
        grace: Duration,
    ) -> Self {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Self(Arc::new(State {
            cancelled: AtomicBool::new(false),
            wake: rustix::event::eventfd(0, flags).ok(),
            signals,
            signal: AtomicI32::new(0),
            asked_at: OnceLock::new(),
            grace,
            is_urgent: AtomicBool::new(false),
            blocked_before,
        }))
    }

    /// Asks for the end.
    pub fn cancel(&self) {
        self.0.is_urgent.store(true, Ordering::Release);
        self.0.cancelled.store(true, Ordering::Release);
        if let Some(wake) = &self.0.wake {
            // It fails only if the counter is full: then it is readable already.
            rustix::io::write(wake, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// Returns whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire) || self.signal().is_some()
    }

    /// Returns the first signal that asked for the end.
    pub fn signal(&self) -> Option<i32> {
        let State {
            cancelled,
            signals,
            signal,
            asked_at,
            is_urgent,
            ..
        } = &*self.0;
        while let Some(number) = signals.as_ref().and_then(signals::next) {
            cancelled.store(true, Ordering::Release);
            let asked_at = asked_at.get_or_init(Instant::now);
            // The first one stays.
            let is_first = signal
                .compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
            if !is_first && asked_at.elapsed() > ONE_REQUEST {
                is_urgent.store(true, Ordering::Release);
            }
        }
        Some(signal.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    /// Returns what is asked of a run whose command goes on.
    pub(crate) fn asked(&self) -> Asked {
        if !self.is_cancelled() {
            return Asked::Nothing;
        }
        let is_urgent = self.0.is_urgent.load(Ordering::Acquire);
        match (self.signal(), self.ends_at()) {
            (Some(number), Some(at)) if !is_urgent && Instant::now() < at => Asked::Soon(number),
            _ => Asked::Now,
        }
    }

    /// Returns when the time is over that the guest got with the first signal.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.0.asked_at.get()?.checked_add(self.0.grace)
    }

    /// Waits until there is something to read from `file`, its end too. Returns false if the end was asked for first.
    ///
    /// # Errors
    ///
    /// Fails if the kernel cannot wait for it.
    pub fn wait_to_read(&self, file: impl AsFd) -> io::Result<bool> {
        while !self.is_cancelled() {
            let ours = self.descriptors();
            let ours = ours.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let mut polled = vec![PollFd::new(&file, PollFlags::IN)];
            polled.extend(ours);
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let readable = polled.first().is_some_and(|it| !it.revents().is_empty());
            if readable && !self.is_cancelled() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns what becomes readable when the end is asked for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let both = [&self.0.wake, &self.0.signals];
        both.into_iter().flatten().map(|fd| fd.as_fd())
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
