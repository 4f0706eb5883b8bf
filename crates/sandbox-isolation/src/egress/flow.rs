//! One direction of a connection: what comes from one side goes to the other, and no more is read than can be written.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown},
};

/// How much is read at once. What the other side does not take is kept, and nothing more is read.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// Pieces of one connection before the others have their turn.
const PIECES_PER_TURN: usize = 8;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pending: Vec<u8>,
    written: usize,
    /// The side that is read from has ended.
    ended: bool,
    /// The other side was told so.
    pub(super) finished: bool,
    /// How much was read.
    pub(super) bytes: u64,
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
        self.written < self.pending.len()
    }

    /// Whether the source is to be read.
    pub(super) fn wants_source(&self) -> bool {
        !self.ended && !self.is_pending()
    }

    /// Nothing more is written: the sink is gone.
    pub(super) fn give_up(&mut self) {
        self.pending = Vec::new();
        self.written = 0;
        self.ended = true;
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
        Ok(())
    }

    /// Moves what can be moved without waiting; passes the source's end on when all before it is written.
    pub(super) fn pump(
        &mut self,
        source: &OwnedFd,
        sink: &OwnedFd,
        scratch: &mut [u8],
    ) -> Result<(), Broken> {
        for _ in 0..PIECES_PER_TURN {
            self.flush(sink)?;
            if self.is_pending() || self.finished {
                return Ok(());
            }
            // One large piece is all that waiting connections cost.
            self.pending.shrink_to(0);
            if self.ended {
                self.finished = true;
                // It fails only if the sink is gone, which its reader sees.
                rustix::net::shutdown(sink, Shutdown::Write).ok();
                return Ok(());
            }
            let Some(count) = read(source, scratch)? else {
                return Ok(());
            };
            self.ended = count == 0;
            self.bytes += count as u64;
            let piece = scratch.get(..count).unwrap_or_default();
            let taken = if piece.is_empty() {
                0
            } else {
                write(sink, piece)?
            };
            self.push(piece.get(taken..).unwrap_or_default());
        }
        Ok(())
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
