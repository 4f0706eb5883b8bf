//! Whoever asked for an operation: approves, hears, and receives the output.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::approvals::Who;
use sandbox_types::{OperationId, Settlement, Stream, Verdict};

/// One step of an operation's story.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The judge has spoken.
    Judged(&'a Verdict),
    /// The guest was started.
    Started(&'a OperationId),
    /// The changes were settled.
    Settled(Settlement),
}

/// Whether an operation on which the judge asks may run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Answer {
    /// This time.
    Yes,
    /// This time and from now on: exactly this operation is remembered.
    Always,
    /// No.
    No,
    /// Somebody else decides: the request is stored.
    #[default]
    Later,
}

/// The caller of one operation. Every method has a silent default.
pub trait Caller: Send {
    /// Returns whether an operation on which the judge asks may run.
    fn approve(&mut self, verdict: &Verdict) -> Answer {
        let _ = verdict;
        Answer::Later
    }

    /// Returns who answers, for the journal.
    fn who(&self) -> Who {
        Who::api()
    }

    /// Returns whether [`Caller::output`] would take more without waiting. As long as not, the guest's
    /// pipes are not read; its limits hold, and it can be ended.
    fn takes_output(&mut self) -> bool {
        true
    }

    /// Receives output of the guest as it comes; a slow receiver slows the guest.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let (_, _) = (stream, bytes);
    }

    /// Returns what the guest reads on standard input: it is copied through a pipe, so that the
    /// guest never holds the caller's own file. `None` is an empty input. Asked once, before the judge
    /// has spoken.
    fn stdin(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Returns the terminal that somebody sits at, if the guest is to have one of its own: see
    /// [`sandbox_isolation::StdinSource::Terminal`]. It takes the place of [`Caller::stdin`], except for
    /// operations that bring their input with them. Asked once, before the judge has spoken.
    fn terminal(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Hears what happens.
    fn hear(&mut self, event: Event<'_>) {
        let _ = event;
    }
}

/// A caller that never approves and does not listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

impl Caller for Unattended {}

/// What a caller gives the guest to read.
#[derive(Clone, Debug)]
pub(crate) enum Forwarded {
    Nothing,
    Stream(Arc<OwnedFd>),
    Terminal(Arc<OwnedFd>),
}

impl Forwarded {
    pub(crate) fn of(caller: &mut dyn Caller) -> Self {
        match (caller.terminal(), caller.stdin()) {
            (Some(terminal), _) => Self::Terminal(Arc::new(terminal)),
            (None, Some(stream)) => Self::Stream(Arc::new(stream)),
            (None, None) => Self::Nothing,
        }
    }

    /// Returns what is used up by reading it.
    pub(crate) fn stream(&self) -> Option<&OwnedFd> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Nothing | Self::Terminal(_) => None,
        }
    }
}
