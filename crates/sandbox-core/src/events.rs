//! The stream of events: the history from a number on, then what comes, whoever does it.
//!
//! A thread follows the journal and hands its records over through a bounded channel. It sleeps until
//! inotify(7) tells that the journal has grown, so that an idle stream costs nothing; where the
//! system gives no inotify, it looks four times a second. It is a thread of its own, not one of
//! tokio's: a stream may stay open for days, and needs neither of the runtime's drivers.

#[cfg(test)]
mod tests;

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_core::Stream;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use sandbox_state::{Follower, Journal, ReadError};
use sandbox_types::SandboxName;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::event::SandboxEvent;

/// The most events that wait for who reads the stream; then the journal is read no further.
const WAITING_MAX: usize = 64;
/// Records that are read from the journal at once.
const BATCH: usize = 64;
/// How often to look where the system does not tell.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The events of one sandbox, as they happen.
///
/// No event is lost, doubled or out of order, also when other processes cause them. It ends after
/// [`crate::EventKind::SandboxDestroyed`], and after an error. Dropping it ends its thread.
#[derive(Debug)]
pub struct EventStream {
    events: Receiver<Result<SandboxEvent, ReadError>>,
    /// Tells the thread that nobody listens any more.
    over: Arc<OwnedFd>,
}

/// The events that have happened, oldest first.
#[derive(Debug)]
pub struct PastEvents {
    sandbox: SandboxName,
    follower: Follower,
    read: std::vec::IntoIter<sandbox_state::Record>,
    ended: bool,
}

/// Events cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The journal cannot be read.
    #[error("cannot read the journal")]
    Read(#[source] ReadError),
    /// The system gives no thread or no descriptor.
    #[error("cannot start to follow the journal")]
    Start(#[source] io::Error),
}

impl EventStream {
    /// Starts to follow; see [`crate::SandboxCore::events`].
    pub(crate) fn start(
        journal: &Journal,
        sandbox: &SandboxName,
        since: Option<u64>,
    ) -> Result<Self, EventsError> {
        // The bell before the first look: what comes between rings.
        let over = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Arc::new)
            .map_err(|errno| EventsError::Start(errno.into()))?;
        let bell = Bell::of(&journal.path(), Arc::clone(&over));
        let follower = journal.follow(since).map_err(EventsError::Read)?;
        let (sender, events) = channel(WAITING_MAX);
        let sandbox = sandbox.clone();
        thread::Builder::new()
            .name("sandbox-events".to_owned())
            .spawn(move || follow(follower, &sandbox, &bell, &sender))
            .map_err(EventsError::Start)?;
        Ok(Self { events, over })
    }

    /// Returns the next event; waits for it. `None` once the sandbox was destroyed, and after an
    /// error. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<SandboxEvent, ReadError>> {
        self.events.recv().await
    }
}

impl Stream for EventStream {
    type Item = Result<SandboxEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        // It fails only if the counter is full: then it is readable already.
        let _told = rustix::io::write(&*self.over, &1_u64.to_ne_bytes());
    }
}

impl PastEvents {
    pub(crate) fn new(
        journal: &Journal,
        sandbox: &SandboxName,
        since: u64,
    ) -> Result<Self, ReadError> {
        Ok(Self {
            sandbox: sandbox.clone(),
            follower: journal.follow(Some(since))?,
            read: Vec::new().into_iter(),
            ended: false,
        })
    }
}

impl Iterator for PastEvents {
    type Item = Result<SandboxEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.read.next() {
            return Some(Ok(SandboxEvent::of(&self.sandbox, record)));
        }
        if self.ended {
            return None;
        }
        match self.follower.read(BATCH) {
            Ok(records) => {
                let records = records.unwrap_or_default();
                self.ended = records.is_empty();
                self.read = records.into_iter();
                self.next()
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

/// Hands over what the journal has, then what it gets, until nobody listens or it is removed.
fn follow(
    mut follower: Follower,
    sandbox: &SandboxName,
    bell: &Bell,
    sender: &Sender<Result<SandboxEvent, ReadError>>,
) {
    loop {
        let records = match follower.read(BATCH) {
            Ok(Some(records)) => records,
            Ok(None) => return,
            Err(error) => {
                let _nobody_listens = sender.blocking_send(Err(error));
                return;
            }
        };
        if records.is_empty() && bell.wait() == Wait::Over {
            return;
        }
        for record in records {
            let event = SandboxEvent::of(sandbox, record);
            if sender.blocking_send(Ok(event)).is_err() {
                return;
            }
        }
    }
}

/// Rings when the journal has grown or was removed.
struct Bell {
    changes: Option<OwnedFd>,
    /// Readable when nobody listens any more.
    over: Arc<OwnedFd>,
}

/// Why the waiting ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    /// There may be something.
    Look,
    /// Nobody listens.
    Over,
}

impl Bell {
    fn of(journal: &Path, over: Arc<OwnedFd>) -> Self {
        // The directory: the journal may not be there yet.
        let watch = |directory: &Path| {
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let flags = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&changes, directory, flags)?;
            Ok::<_, Errno>(changes)
        };
        let changes = journal.parent().and_then(|directory| watch(directory).ok());
        Self { changes, over }
    }

    fn wait(&self) -> Wait {
        let mut fds = vec![PollFd::new(&*self.over, PollFlags::IN)];
        let timeout = match &self.changes {
            Some(changes) => {
                fds.push(PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN));
                None
            }
            None => Timespec::try_from(LOOK_AGAIN).ok(),
        };
        // Woken, timed out or interrupted: the journal is looked at in each case.
        let _woken = poll(&mut fds, timeout.as_ref());
        if !fds[0].revents().is_empty() {
            return Wait::Over;
        }
        if let Some(changes) = &self.changes {
            drain(changes);
        }
        Wait::Look
    }
}

/// Takes all that was told. What is told meanwhile rings again.
fn drain(changes: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(changes, &mut buffer);
    while reader.next().is_ok() {}
}
