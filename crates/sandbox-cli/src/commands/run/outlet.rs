//! Passes the command's output on to our own standard streams, without ever waiting for who reads them.
//!
//! A little is written at once, where that cannot wait. The rest goes to a thread, which waits as long as the reader
//! takes; then the command's pipes are read no further, and its limits, Ctrl-C and `sandbox kill` hold all the same.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox_core::Cancellation;
use sandbox_types::Stream;

use crate::ui;

/// A pipe that can be written to takes as much without waiting: `PIPE_BUF` of pipe(7).
const AT_ONCE_MAX: usize = 4096;
/// With so much waiting, no more is taken.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long a reader has for the rest when the command was cancelled.
const REST_AFTER_CANCEL: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is known of who reads our standard streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Our standard output was closed.
    gone: AtomicBool,
    /// Bytes that wait.
    waiting: AtomicUsize,
}

impl Readers {
    pub(crate) fn are_gone(&self) -> bool {
        self.0.gone.load(Ordering::Relaxed)
    }
}

/// Returns whether what we have to say ourselves would wait for who reads it.
pub(super) fn would_wait() -> bool {
    !is_ready(Stream::Stderr)
}

/// Where the output goes. Dropping it waits until all is written, or the command was cancelled.
pub(crate) struct Outlet {
    readers: Readers,
    cancel: Cancellation,
    writer: Option<Writer>,
}

struct Writer {
    pieces: Sender<(Stream, Vec<u8>)>,
    /// Closed when all is written.
    done: Receiver<()>,
}

impl Outlet {
    pub(crate) fn new(cancel: &Cancellation) -> Self {
        Self {
            readers: Readers::default(),
            cancel: cancel.clone(),
            writer: None,
        }
    }

    pub(crate) fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Returns whether there is room for more.
    pub(crate) fn takes(&self) -> bool {
        self.readers.0.waiting.load(Ordering::Acquire) < WAITING_BYTES_MAX
    }

    /// Takes output.
    pub(crate) fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        if self.readers.are_gone() {
            return;
        }
        let nothing_waits = self.readers.0.waiting.load(Ordering::Acquire) == 0;
        if nothing_waits && bytes.len() <= AT_ONCE_MAX && is_ready(stream) {
            return write(&self.readers, &self.cancel, stream, bytes);
        }
        if self.writer.is_none() {
            self.writer = Writer::start(&self.readers, &self.cancel);
        }
        let Some(writer) = &self.writer else {
            // No thread was to be had.
            return write(&self.readers, &self.cancel, stream, bytes);
        };
        self.readers
            .0
            .waiting
            .fetch_add(bytes.len(), Ordering::AcqRel);
        // It ends only after we do.
        let _taken = writer.pieces.send((stream, bytes.to_vec()));
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let Some(Writer { pieces, done }) = self.writer.take() else {
            return;
        };
        drop(pieces);
        let mut until = None;
        while done.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout) {
            if until.is_none() && self.cancel.is_cancelled() {
                until = Some(Instant::now() + REST_AFTER_CANCEL);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                // Nobody reads it; what the report has of it stays.
                return;
            }
        }
    }
}

impl Writer {
    fn start(readers: &Readers, cancel: &Cancellation) -> Option<Self> {
        let (pieces, taken) = mpsc::channel::<(Stream, Vec<u8>)>();
        let (ended, done) = mpsc::channel::<()>();
        let (readers, cancel) = (readers.clone(), cancel.clone());
        let work = move || {
            for (stream, bytes) in taken {
                write(&readers, &cancel, stream, &bytes);
                readers.0.waiting.fetch_sub(bytes.len(), Ordering::AcqRel);
            }
            drop(ended);
        };
        thread::Builder::new().spawn(work).ok()?;
        Some(Self { pieces, done })
    }
}

fn write(readers: &Readers, cancel: &Cancellation, stream: Stream, bytes: &[u8]) {
    if readers.are_gone() {
        return;
    }
    if ui::pass_on(stream, bytes).is_err() && stream == Stream::Stdout {
        // As `yes | head` ends `yes`: nobody reads, so it need not go on.
        readers.0.gone.store(true, Ordering::Relaxed);
        cancel.cancel();
    }
}

/// Returns whether a little can be written without waiting.
fn is_ready(stream: Stream) -> bool {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let fd = match stream {
        Stream::Stdout => stdout.as_fd(),
        Stream::Stderr => stderr.as_fd(),
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
