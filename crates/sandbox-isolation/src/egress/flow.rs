//! One direction of a connection: what comes from one side goes to the other, and no more is read than can be written.
//!
//! What is small is copied. Once much has come without a pause, it goes through a pipe instead: the kernel then passes
//! pages on and copies nothing (`splice(2)`).

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown},
    pipe::{PipeFlags, SpliceFlags},
};

/// How much is read at once. What the other side does not take is kept, and nothing more is read.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// Pieces of one connection before the others have their turn.
const PIECES_PER_TURN: usize = 8;
/// A turn with so much of it is worth a pipe.
const BULK_BYTES: u64 = 2 * PIECE_BYTES as u64;
/// What an unprivileged user's pipe can hold (`pipe(7)`); less will do.
const PIPE_BYTES: usize = 1 << 20;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pending: Vec<u8>,
    written: usize,
    pipe: Option<Pipe>,
    /// The side that is read from has ended, and the other side was told so.
    pub(super) finished: bool,
    /// How much was read.
    pub(super) bytes: u64,
}

/// Where pages wait between two sockets.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    filled: usize,
}

/// A side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The one that is read from.
    Source,
    /// The one that is written to.
    Sink,
}

impl Flow {
    /// Adds what is to be written before anything that is read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Adds what was read already.
    pub(super) fn push_read(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.push(bytes);
    }

    /// Whether there is something that waits for the sink.
    pub(super) fn is_pending(&self) -> bool {
        self.written < self.pending.len() || self.pipe.as_ref().is_some_and(|it| it.filled > 0)
    }

    /// Whether the source is to be read.
    pub(super) fn wants_source(&self) -> bool {
        !self.finished && !self.is_pending()
    }

    /// Nothing more is written: the sink is gone.
    pub(super) fn give_up(&mut self) {
        self.pending = Vec::new();
        self.written = 0;
        self.pipe = None;
        self.finished = true;
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, sink: &OwnedFd) -> Result<(), Broken> {
        while let Some(rest) = self.pending.get(self.written..).filter(|it| !it.is_empty()) {
            match write(sink, rest)? {
                0 => return Ok(()),
                count => self.written += count,
            }
        }
        self.pending.clear();
        self.written = 0;
        match &mut self.pipe {
            Some(pipe) => pipe.drain(sink),
            None => Ok(()),
        }
    }

    /// Moves what can be moved without waiting; passes the source's end on when all before it is written.
    pub(super) fn pump(
        &mut self,
        source: &OwnedFd,
        sink: &OwnedFd,
        scratch: &mut [u8],
    ) -> Result<(), Broken> {
        let before = self.bytes;
        for _ in 0..PIECES_PER_TURN {
            self.flush(sink)?;
            if self.is_pending() || self.finished {
                break;
            }
            // One large piece is all that waiting connections cost.
            self.pending.shrink_to(0);
            let came = match &mut self.pipe {
                Some(pipe) => pipe.fill(source)?,
                None => read(source, scratch)?,
            };
            match came {
                None => break,
                Some(0) => {
                    self.finished = true;
                    self.pipe = None;
                    // It fails only if the sink is gone, which its reader sees.
                    rustix::net::shutdown(sink, Shutdown::Write).ok();
                    return Ok(());
                }
                Some(count) => {
                    self.bytes += count as u64;
                    if self.pipe.is_none() {
                        let piece = scratch.get(..count).unwrap_or_default();
                        let taken = write(sink, piece)?;
                        self.push(piece.get(taken..).unwrap_or_default());
                        if count < scratch.len() {
                            // That was all there is: asking again would only be told so. What comes is reported.
                            break;
                        }
                    }
                }
            }
        }
        // Where pieces are small there are many connections: pipes for all would be too many.
        let is_bulk = self.bytes - before >= BULK_BYTES && scratch.len() >= PIECE_BYTES;
        if is_bulk && self.pipe.is_none() {
            self.pipe = Pipe::new().ok();
        }
        // The last piece of a turn does not wait for the next turn.
        self.flush(sink)
    }
}

impl Pipe {
    fn new() -> Result<Self, Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user with many pipes gets small ones.
        rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES).ok();
        Ok(Self {
            reader,
            writer,
            filled: 0,
        })
    }

    /// Takes what has come without waiting: `None` if there is nothing yet, 0 at the end. The pipe must be empty.
    fn fill(&mut self, source: &OwnedFd) -> Result<Option<usize>, Broken> {
        match splice(source, &self.writer, PIPE_BYTES) {
            Ok(count) => {
                self.filled += count;
                Ok(Some(count))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(_) => Err(Broken::Source),
        }
    }

    /// Gives to `sink` what it takes without waiting.
    fn drain(&mut self, sink: &OwnedFd) -> Result<(), Broken> {
        while self.filled > 0 {
            match splice(&self.reader, sink, self.filled) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(count) => self.filled -= count,
                Err(_) => return Err(Broken::Sink),
            }
        }
        Ok(())
    }
}

fn splice(from: &OwnedFd, to: &OwnedFd, length: usize) -> Result<usize, Errno> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match rustix::pipe::splice(from, None, to, None, length, flags) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Reads without waiting: `None` if there is nothing yet, 0 at the end.
pub(super) fn read(source: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, Broken> {
    loop {
        match rustix::net::recv(source, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _)) => return Ok(Some(count)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(_) => return Err(Broken::Source),
        }
    }
}

/// Writes without waiting: 0 if nothing can be written yet.
fn write(sink: &OwnedFd, bytes: &[u8]) -> Result<usize, Broken> {
    loop {
        match rustix::net::send(sink, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => return Ok(count),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(_) => return Err(Broken::Sink),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    /// A flow that waits for nothing and is not finished would never go on. It once was so when the end came with the
    /// last piece of a turn.
    #[test]
    fn whatever_is_sent_arrives_and_ends() {
        for length in 0..40 {
            let ((near, source), (sink, far)) = (pair(), pair());
            let sent = vec![7; length];
            assert_eq!(
                rustix::net::send(&near, &sent, SendFlags::empty()),
                Ok(length)
            );
            rustix::net::shutdown(&near, Shutdown::Write).unwrap();
            let mut flow = Flow::default();
            flow.push(b"greeting");
            let mut scratch = [0];
            while flow.wants_source() || flow.is_pending() {
                flow.pump(&source, &sink, &mut scratch).unwrap();
            }
            assert!(flow.finished, "{length}");
            let mut heard = [0; 100];
            assert_eq!(read(&far, &mut heard), Ok(Some(8 + length)));
            assert_eq!(read(&far, &mut heard), Ok(Some(0)));
            assert_eq!(flow.bytes, length as u64);
        }
    }

    #[test]
    fn a_full_sink_stops_the_reading() {
        let ((near, source), (sink, far)) = (pair(), pair());
        let piece = vec![7; PIECE_BYTES];
        let mut flow = Flow::default();
        let mut scratch = vec![0; PIECE_BYTES];
        let mut sent = 0;
        while let Ok(count) = rustix::net::send(&near, &piece, SendFlags::empty()) {
            sent += count;
            flow.pump(&source, &sink, &mut scratch).unwrap();
        }
        assert!(flow.is_pending() && !flow.wants_source());
        assert!(flow.pending.len() <= PIECE_BYTES);
        let mut heard = 0;
        while let Ok(Some(count)) = read(&far, &mut scratch) {
            heard += count;
            let mut other = vec![0; PIECE_BYTES];
            flow.pump(&source, &sink, &mut other).unwrap();
        }
        assert_eq!(heard, sent);
        drop(far);
        rustix::net::send(&near, &piece, SendFlags::empty()).ok();
        let broken = flow.pump(&source, &sink, &mut scratch);
        assert_eq!(broken, Err(Broken::Sink));
    }
}
