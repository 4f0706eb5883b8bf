//! Who hears of each record: the file of events, and the handlers, each on a thread of its own.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use super::event_file::EventFile;
use crate::event::{EventHandler, SandboxEvent};

/// The most events that wait for one handler. What comes while so many wait is not handed to it.
pub const HANDLER_QUEUE_MAX: usize = 1024;
/// How long the end of a sandbox waits for a handler that has not heard everything.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Everybody who hears.
#[derive(Debug, Default)]
pub(super) struct Hearing(Mutex<Listeners>);

#[derive(Debug, Default)]
pub(super) struct Listeners {
    file: Option<EventFile>,
    handlers: Vec<Listener>,
}

/// A handler, and its thread once there was something to hear.
struct Listener {
    handler: Arc<dyn EventHandler>,
    thread: Option<Thread>,
}

struct Thread {
    queue: SyncSender<Arc<SandboxEvent>>,
    /// Says that the thread has ended, by hanging up.
    end: Receiver<()>,
}

impl Hearing {
    pub(super) fn set_file(&self, file: EventFile) {
        self.lock().file = Some(file);
    }

    pub(super) fn add(&self, handler: Arc<dyn EventHandler>) {
        let thread = None;
        self.lock().handlers.push(Listener { handler, thread });
    }

    /// Returns everybody if somebody hears. While it is held nobody else appends in this process, so
    /// that all hear in the order of the journal.
    pub(super) fn listeners(&self) -> Option<MutexGuard<'_, Listeners>> {
        let listeners = self.lock();
        let nobody = listeners.file.is_none() && listeners.handlers.is_empty();
        (!nobody).then_some(listeners)
    }

    /// Returns why the file of events is not written, if so.
    pub(super) fn file_failure(&self) -> Option<String> {
        self.lock().file.as_ref()?.failure()
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // What panics while it is held is a handler's own code, of which nothing is kept here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    pub(super) fn tell(&mut self, event: SandboxEvent) {
        if let Some(file) = &mut self.file {
            file.write(&event);
        }
        let event = Arc::new(event);
        for listener in &mut self.handlers {
            listener.tell(&event);
        }
    }
}

impl Listener {
    fn tell(&mut self, event: &Arc<SandboxEvent>) {
        if self.thread.is_none() {
            self.thread = Thread::start(Arc::clone(&self.handler));
        }
        if let Some(thread) = &self.thread {
            // Full, or it panicked: the numbers of the events show what was not heard.
            let _not_heard = thread.queue.try_send(Arc::clone(event));
        }
    }
}

impl Thread {
    /// Returns `None` when the system gives no thread: the next event tries again.
    fn start(handler: Arc<dyn EventHandler>) -> Option<Self> {
        let (queue, events) = sync_channel::<Arc<SandboxEvent>>(HANDLER_QUEUE_MAX);
        let (at_work, end) = sync_channel::<()>(0);
        let work = move || {
            let _at_work = at_work;
            for event in events {
                if catch_unwind(AssertUnwindSafe(|| handler.handle(&event))).is_err() {
                    return;
                }
            }
        };
        let name = "sandbox-handler".to_owned();
        thread::Builder::new().name(name).spawn(work).ok()?;
        Some(Self { queue, end })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(Thread { queue, end }) = self.thread.take() {
            drop(queue);
            // A handler that does not return keeps its thread, and nobody else.
            let _ended: Result<(), RecvTimeoutError> = end.recv_timeout(FAREWELL_MAX);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("started", &self.thread.is_some())
            .finish_non_exhaustive()
    }
}
