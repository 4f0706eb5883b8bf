//! A terminal of the guest's own.
//!
//! ```text
//! caller's terminal (raw) <──> caller <──> our side | guest's side: its 0, 1, 2 and /dev/tty
//! ```
//! Both sides are of the guest's own devpts. Its process opens the pair just before it executes its program, makes
//! the guest's side its controlling terminal and sends ours out. No descriptor of the caller's terminal is ever
//! inside, so there is nothing to type on, to reprogram or to steal there.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    },
    pty::OpenptFlags,
    termios::{InputModes, OptionalActions, SpecialCodeIndex, Termios, Winsize},
};

use crate::sys::signals::{self, SignalSet};

/// What the end of the typed input is to a program: the code of `VEOF`.
pub(super) const END_OF_INPUT: u8 = 4;

/// What the guest's terminal has of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    size: Winsize,
    /// The keys of [`KEYS`].
    codes: [u8; KEYS.len()],
    /// Whether erasing takes whole characters.
    utf8: bool,
}

/// The keys that erase, interrupt and so on (`termios(3)`).
const KEYS: [SpecialCodeIndex; 17] = [
    SpecialCodeIndex::VINTR,
    SpecialCodeIndex::VQUIT,
    SpecialCodeIndex::VERASE,
    SpecialCodeIndex::VKILL,
    SpecialCodeIndex::VEOF,
    SpecialCodeIndex::VTIME,
    SpecialCodeIndex::VMIN,
    SpecialCodeIndex::VSWTC,
    SpecialCodeIndex::VSTART,
    SpecialCodeIndex::VSTOP,
    SpecialCodeIndex::VSUSP,
    SpecialCodeIndex::VEOL,
    SpecialCodeIndex::VREPRINT,
    SpecialCodeIndex::VDISCARD,
    SpecialCodeIndex::VWERASE,
    SpecialCodeIndex::VLNEXT,
    SpecialCodeIndex::VEOL2,
];
/// How many words an order has for a shape: what it is, the size, the keys.
pub(crate) const SHAPE_WORDS: usize = 5;
const IS_THERE: u64 = 1;
const IS_UTF8: u64 = 2;

impl Shape {
    pub(crate) fn of(terminal: &OwnedFd) -> Result<Self, Errno> {
        let modes = rustix::termios::tcgetattr(terminal)?;
        Ok(Self {
            size: rustix::termios::tcgetwinsize(terminal)?,
            utf8: modes.input_modes.contains(InputModes::IUTF8),
            codes: KEYS.map(|key| modes.special_codes[key]),
        })
    }

    /// Returns it for an order.
    pub(crate) fn words(&self) -> [u64; SHAPE_WORDS] {
        let flags = IS_THERE | if self.utf8 { IS_UTF8 } else { 0 };
        let Winsize {
            ws_row,
            ws_col,
            ws_xpixel,
            ws_ypixel,
        } = self.size;
        let sizes = [ws_row, ws_col, ws_xpixel, ws_ypixel];
        let size = sizes
            .iter()
            .rev()
            .fold(0, |all, one| all << 16 | u64::from(*one));
        let mut words = [flags, size, 0, 0, 0];
        for (word, codes) in words.iter_mut().skip(2).zip(self.codes.chunks(8)) {
            *word = codes
                .iter()
                .rev()
                .fold(0, |all, one| all << 8 | u64::from(*one));
        }
        words
    }

    /// Reads it from an order; `None` if it says that there is none.
    pub(crate) fn of_words(words: &[u64; SHAPE_WORDS]) -> Option<Self> {
        let [flags, size, codes @ ..] = words;
        // In the order in which they were put in.
        let mut parts = size.to_le_bytes().into_iter();
        let mut part = || u16::from_le_bytes([0; 2].map(|_: u8| parts.next().unwrap_or_default()));
        let mut keys = [0; KEYS.len()];
        for (keys, word) in keys.chunks_mut(8).zip(codes) {
            for (key, byte) in keys.iter_mut().zip(word.to_le_bytes()) {
                *key = byte;
            }
        }
        (flags & IS_THERE != 0).then_some(Self {
            size: Winsize {
                ws_row: part(),
                ws_col: part(),
                ws_xpixel: part(),
                ws_ypixel: part(),
            },
            codes: keys,
            utf8: flags & IS_UTF8 != 0,
        })
    }
}

/// The caller's side of a terminal that the guest is to have.
pub(crate) struct Typed {
    /// The terminal where somebody types.
    source: Arc<OwnedFd>,
    /// Where our side of the pair arrives.
    channel: OwnedFd,
}

impl Typed {
    /// Returns the caller's side, and the channel that the guest's process answers on.
    pub(super) fn of(source: Arc<OwnedFd>) -> io::Result<(Self, OwnedFd)> {
        let (channel, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { source, channel }, theirs))
    }

    pub(super) fn source(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.source)
    }

    /// Returns our side of the pair: it was sent before the guest started.
    pub(super) fn receive(&self) -> io::Result<OwnedFd> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        rustix::net::recvmsg(
            &self.channel,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            flags,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut rights) = message
                && let Some(side) = rights.next()
            {
                return Ok(side);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Makes a terminal the controlling one of this process, which leads a session without any, and its three standard
/// streams; sends the other side to `channel`. For the guest's process, as the guest's user.
pub(crate) fn take(channel: BorrowedFd<'_>, shape: &Shape) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ours = rustix::fs::open(c"/dev/pts/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&ours)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let peer = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    // Above the numbers that it is copied to: a copy to its own number would close by itself at the `execve`.
    let theirs = rustix::io::fcntl_dupfd_cloexec(&peer, 3)?;
    drop(peer);
    let mut modes = rustix::termios::tcgetattr(&theirs)?;
    for (key, code) in KEYS.into_iter().zip(shape.codes) {
        modes.special_codes[key] = code;
    }
    modes.input_modes.set(InputModes::IUTF8, shape.utf8);
    rustix::termios::tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    rustix::termios::tcsetwinsize(&theirs, shape.size)?;
    send(channel, ours.as_fd())?;
    drop(ours);
    rustix::process::ioctl_tiocsctty(&theirs)?;
    rustix::stdio::dup2_stdin(&theirs)?;
    rustix::stdio::dup2_stdout(&theirs)?;
    rustix::stdio::dup2_stderr(&theirs)
}

fn send(channel: BorrowedFd<'_>, side: BorrowedFd<'_>) -> Result<(), Errno> {
    let rights = [side];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = [IoSlice::new(&[0])];
    rustix::net::sendmsg(channel, &bytes, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// The caller's terminal while every key that is typed goes to the guest. Dropping it gives it back as it was.
pub(crate) struct Raw {
    terminal: Arc<OwnedFd>,
    before: Termios,
    /// Readable when the window has another size, and when this process goes on after it was stopped.
    pub(crate) changes: OwnedFd,
    blocked_before: SignalSet,
}

impl Raw {
    pub(super) fn enter(terminal: Arc<OwnedFd>) -> Result<Self, Errno> {
        let before = rustix::termios::tcgetattr(&terminal)?;
        let (changes, blocked_before) = signals::take_terminal_changes()?;
        let raw = Self {
            terminal,
            before,
            changes,
            blocked_before,
        };
        raw.apply()?;
        Ok(raw)
    }

    fn apply(&self) -> Result<(), Errno> {
        let mut modes = self.before.clone();
        modes.make_raw();
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &modes)
    }

    /// Lets the guest's terminal have the size of the caller's.
    pub(crate) fn follow(&self, ours: impl AsFd) {
        while let Some(signal) = signals::next(&self.changes) {
            if signal == libc::SIGCONT {
                // Whoever had the terminal meanwhile has set it as they liked.
                self.apply().ok();
            }
        }
        // It fails only if the terminal is gone; then nobody sees the size.
        if let Ok(size) = rustix::termios::tcgetwinsize(&self.terminal) {
            rustix::termios::tcsetwinsize(ours, size).ok();
        }
    }

    /// Whether the terminal is somebody else's by now: then it is theirs to set.
    fn is_in_background(&self) -> bool {
        rustix::termios::tcgetpgrp(&self.terminal)
            .is_ok_and(|foreground| foreground != rustix::process::getpgrp())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if !self.is_in_background() {
            // It fails only if the terminal is gone.
            rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
        }
        signals::set_mask(self.blocked_before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_what_was_sent() {
        let mut codes = [0; KEYS.len()];
        for (code, number) in codes.iter_mut().zip(200..) {
            *code = number;
        }
        let shape = Shape {
            size: Winsize {
                ws_row: 24,
                ws_col: 0x8001,
                ws_xpixel: 3,
                ws_ypixel: 0xffff,
            },
            codes,
            utf8: true,
        };
        assert_eq!(Shape::of_words(&shape.words()), Some(shape));
        assert_eq!(Shape::of_words(&[0; SHAPE_WORDS]), None);
    }
}
