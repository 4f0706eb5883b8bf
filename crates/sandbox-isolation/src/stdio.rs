//! The guest's standard streams: pipes or a terminal, pumped by the caller's thread.

pub(crate) mod terminal;

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

use rustix::{
    fs::OFlags,
    io::Errno,
    pipe::PipeFlags,
    process::{Gid, Uid},
};

use self::terminal::{END_OF_INPUT, Raw, Typed};
use crate::plan::StdinSource;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The guest's ends, by number.
pub(crate) struct GuestEnds {
    /// `None`: `/dev/null`.
    pub(crate) input: Option<RawFd>,
    /// If the guest gets a terminal, that is all three, and its other side is sent to this one.
    pub(crate) output: RawFd,
    pub(crate) error: RawFd,
}

/// The three streams before the launch: both ends of each.
pub(crate) struct Streams {
    pub(crate) input: Option<Input>,
    /// Our ends of what the guest prints. A terminal has one for both, and that comes with the guest's start.
    pub(crate) output: Option<File>,
    pub(crate) error: Option<File>,
    guest: [Option<OwnedFd>; 3],
    terminal: Option<Typed>,
}

/// The writing end of the guest's standard input, and what is to be written.
#[derive(Debug)]
pub(crate) struct Input {
    pipe: File,
    pending: Vec<u8>,
    written: usize,
    source: Option<Arc<OwnedFd>>,
    /// Whether the end of the input is typed, for the other side stays open.
    types_end: bool,
}

impl Streams {
    /// Returns the pipes. `owner` is who the guest is on the host: it may then open `/dev/stdout` too.
    pub(crate) fn open(stdin: StdinSource, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let given = match stdin {
            StdinSource::Empty => None,
            StdinSource::Bytes(bytes) => Some((bytes, None)),
            StdinSource::Forward(source) => Some((Vec::new(), Some(source))),
            StdinSource::Preceded(bytes, source) => Some((bytes, Some(source))),
            StdinSource::Terminal(source) => return Self::of_terminal(source),
        };
        let (input, guest_input) = match given {
            None => (None, None),
            Some((bytes, source)) => {
                let (read, write) = pipe(owner)?;
                let input = Input::new(write, bytes, source)?;
                (Some(input), Some(read))
            }
        };
        let (output, guest_output) = pipe(owner)?;
        let (error, guest_error) = pipe(owner)?;
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&error, OFlags::NONBLOCK)?;
        Ok(Self {
            input,
            output: Some(output.into()),
            error: Some(error.into()),
            guest: [guest_input, Some(guest_output), Some(guest_error)],
            terminal: None,
        })
    }

    fn of_terminal(source: Arc<OwnedFd>) -> io::Result<Self> {
        let (typed, channel) = Typed::of(source)?;
        Ok(Self {
            input: None,
            output: None,
            error: None,
            guest: [None, Some(channel), None],
            terminal: Some(typed),
        })
    }

    /// Takes our side of the guest's terminal, if it has one. It was sent before the guest started.
    pub(crate) fn take_terminal(&mut self) -> io::Result<()> {
        let Some(typed) = &self.terminal else {
            return Ok(());
        };
        let ours = typed.receive()?;
        rustix::fs::fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
        let mut input = Input::new(ours.try_clone()?, Vec::new(), Some(typed.source()))?;
        input.types_end = true;
        self.input = Some(input);
        self.output = Some(ours.into());
        Ok(())
    }

    /// Lets every key that is typed on the caller's terminal reach the guest, until the value is dropped.
    pub(crate) fn enter_raw(&self) -> io::Result<Option<Raw>> {
        let typed = self.terminal.as_ref().map(Typed::source);
        Ok(typed.map(Raw::enter).transpose()?)
    }

    /// Returns the numbers of the guest's ends.
    pub(crate) fn guest_ends(&self) -> GuestEnds {
        let [input, output, error] = self
            .guest
            .each_ref()
            .map(|end| end.as_ref().map(OwnedFd::as_raw_fd));
        let output = output.unwrap_or(-1);
        GuestEnds {
            input,
            output,
            error: error.unwrap_or(output),
        }
    }

    /// Closes the guest's ends in this process: they are the guest's alone from now on.
    pub(crate) fn close_guest_ends(&mut self) {
        self.guest = [None, None, None];
    }
}

fn pipe(owner: Option<(Uid, Gid)>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&read, Some(uid), Some(gid))?;
    }
    Ok((read, write))
}

/// What became of one step of pumping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// There may be more later.
    Open,
    /// There will be no more.
    Done,
}

impl Input {
    fn new(pipe: OwnedFd, pending: Vec<u8>, source: Option<Arc<OwnedFd>>) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Self {
            pipe: pipe.into(),
            pending,
            written: 0,
            source,
            types_end: false,
        })
    }

    /// Returns the descriptor to wait for, and whether to write to it.
    pub(crate) fn waits_for(&self) -> (BorrowedFd<'_>, bool) {
        match &self.source {
            Some(source) if self.written == self.pending.len() => (source.as_fd(), false),
            Some(_) | None => (self.pipe.as_fd(), true),
        }
    }

    /// Moves what can be moved without waiting, after [`Self::waits_for`] was ready.
    pub(crate) fn pump(&mut self) -> Pumped {
        if self.written == self.pending.len() {
            let Some(source) = &self.source else {
                return Pumped::Done;
            };
            self.pending.clear();
            self.pending.reserve_exact(CHUNK_BYTES);
            self.written = 0;
            // Not zeroed before, as in `drain`.
            match rustix::io::read(source, rustix::buffer::spare_capacity(&mut self.pending)) {
                Ok(0) if self.types_end => {
                    self.pending.push(END_OF_INPUT);
                    self.source = None;
                }
                Ok(0) => return Pumped::Done,
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Pumped::Open,
                Err(_) => return Pumped::Done,
            }
        }
        match self
            .pipe
            .write(self.pending.get(self.written..).unwrap_or_default())
        {
            Ok(count) => self.written += count,
            Err(error) if is_passing(&error) => {}
            // The guest closed its end: nobody will read the rest.
            Err(_) => return Pumped::Done,
        }
        if self.source.is_none() && self.written == self.pending.len() {
            return Pumped::Done;
        }
        Pumped::Open
    }
}

/// Whether it may work the next time.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Reads everything that is there, without waiting, in pieces given to `take`; at most `rounds` pieces.
pub(crate) fn drain(
    stream: &mut File,
    buffer: &mut Vec<u8>,
    rounds: usize,
    mut take: impl FnMut(&[u8]),
) -> Pumped {
    buffer.reserve_exact(CHUNK_BYTES);
    for _ in 0..rounds {
        buffer.clear();
        // Not zeroed before: most commands print little, and untouched pages cost nothing.
        match rustix::io::read(&*stream, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => return Pumped::Done,
            Ok(_) => take(buffer),
            Err(Errno::AGAIN) => return Pumped::Open,
            Err(Errno::INTR) => {}
            Err(_) => return Pumped::Done,
        }
    }
    Pumped::Open
}
