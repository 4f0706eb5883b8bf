//! What a keeper and those who join say to each other: short messages over a socket that keeps them apart.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
    },
    process::Pid,
};

use super::layers::Identity;
use crate::{init::ORDER_DESCRIPTORS, sys::process::Accounted};

/// The socket's name in the sandbox's own directory.
pub(crate) const SOCKET_FILE: &str = "session.sock";
/// The longest request; a key is longer only with thousands of paths in it.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64;

/// What a keeper is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// For a confinement for this key.
    Join(&'a [u8]),
    /// To give way to a keeper for this key.
    GiveWay(&'a [u8]),
    /// To end.
    End,
    /// How it is.
    Status,
}

/// What a keeper says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The confinement, whose init this is; with it come init's order socket, its handle, and the lock of the layers
    /// that are mounted in it, whose upper one this is.
    Granted(Pid, Option<Identity>),
    /// There is none yet, and so many others wait for theirs.
    Queued(u32),
    /// There is none; another keeper would have to be started if `foreign`.
    Refused { foreign: bool },
    /// Init is dead and waited for.
    Reaped(i32, Accounted),
    /// How it is.
    Status(SessionStatus),
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// The process that keeps it.
    pub pid: u32,
    /// Whether a confinement is complete and waits.
    pub is_ready: bool,
    /// How many operations run that were started in it.
    pub operations: u32,
    /// How long nobody has used it.
    pub idle: Duration,
    /// When it ends if nobody uses it.
    pub idle_timeout: Duration,
}

impl<'a> Request<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (kind, key): (u8, &[u8]) = match self {
            Self::Join(key) => (1, key),
            Self::GiveWay(key) => (2, key),
            Self::End => (3, &[]),
            Self::Status => (4, &[]),
        };
        let mut message = Vec::with_capacity(1 + key.len());
        message.push(kind);
        message.extend_from_slice(key);
        message
    }

    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        match message.split_first()? {
            (1, key) => Some(Self::Join(key)),
            (2, key) => Some(Self::GiveWay(key)),
            (3, []) => Some(Self::End),
            (4, []) => Some(Self::Status),
            _ => None,
        }
    }
}

impl Answer {
    fn encode(self) -> [u8; ANSWER_BYTES_MAX] {
        let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let numbers = match self {
            Self::Granted(init, upper) => {
                let (is_there, device, inode) =
                    upper.map_or((0, 0, 0), |upper| (1, upper.device, upper.inode));
                [1, u64::from(number(init)), is_there, device, inode, 0]
            }
            Self::Queued(ahead) => [5, u64::from(ahead), 0, 0, 0, 0],
            Self::Refused { foreign } => [2, u64::from(foreign), 0, 0, 0, 0],
            Self::Reaped(status, used) => [
                3,
                u64::from(status.cast_unsigned()),
                u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX),
                used.memory_largest_bytes,
                used.io_read_bytes,
                used.io_write_bytes,
            ],
            Self::Status(status) => [
                4,
                u64::from(status.pid),
                u64::from(status.is_ready),
                u64::from(status.operations),
                milliseconds(status.idle),
                milliseconds(status.idle_timeout),
            ],
        };
        let mut message = [0; ANSWER_BYTES_MAX];
        for (place, number) in message.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        message
    }

    fn decode(message: &[u8; ANSWER_BYTES_MAX]) -> Option<Self> {
        let mut numbers = [0; 6];
        for (number, bytes) in numbers.iter_mut().zip(message.chunks_exact(8)) {
            *number = bytes.try_into().map_or(0, u64::from_le_bytes);
        }
        let [kind, first, second, third, fourth, fifth] = numbers;
        let small = |number: u64| u32::try_from(number).ok();
        match kind {
            1 => {
                let init = Pid::from_raw(small(first)?.cast_signed())?;
                let upper = Identity {
                    device: third,
                    inode: fourth,
                };
                Some(Self::Granted(init, (second != 0).then_some(upper)))
            }
            2 => Some(Self::Refused {
                foreign: first != 0,
            }),
            3 => Some(Self::Reaped(
                small(first)?.cast_signed(),
                Accounted {
                    cpu: Duration::from_micros(second),
                    memory_largest_bytes: third,
                    io_read_bytes: fourth,
                    io_write_bytes: fifth,
                },
            )),
            4 => Some(Self::Status(SessionStatus {
                pid: small(first)?,
                is_ready: second != 0,
                operations: small(third)?,
                idle: Duration::from_millis(fourth),
                idle_timeout: Duration::from_millis(fifth),
            })),
            5 => Some(Self::Queued(small(first)?)),
            _ => None,
        }
    }
}

pub(crate) fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// One end of a conversation. Never waits but where it says so.
#[derive(Debug)]
pub(crate) struct Connection(OwnedFd);

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Connection {
    /// Connects to the keeper whose socket is in `directory`; fails if it is not this user's.
    pub(crate) fn to(directory: &Path) -> io::Result<Self> {
        let socket = socket()?;
        let (_parent, address) = address_in(directory)?;
        rustix::net::connect(&socket, &address)?;
        Self::of(socket)
    }

    /// Takes over a socket that is connected; fails if the other end is not this user's.
    pub(crate) fn of(socket: OwnedFd) -> io::Result<Self> {
        let peer = sockopt::socket_peercred(&socket)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(Errno::ACCESS.into());
        }
        Ok(Self(socket))
    }

    /// Returns the process at the other end: a keeper, as it was when it began to listen.
    pub(crate) fn peer(&self) -> Result<Pid, Errno> {
        sockopt::socket_peercred(&self.0).map(|peer| peer.pid)
    }

    pub(crate) fn ask(&self, request: Request<'_>) -> Result<(), Errno> {
        send(self.0.as_fd(), &request.encode(), &[])
    }

    pub(crate) fn answer(
        &self,
        answer: Answer,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        send(self.0.as_fd(), &answer.encode(), descriptors)
    }

    /// Reads a request that is there; nothing at the end, and of one that is too long.
    pub(crate) fn receive(&self) -> Result<Vec<u8>, Errno> {
        // Its length first: pages that are not needed are not touched, for the next child of the keeper copies them.
        let peek = RecvFlags::DONTWAIT | RecvFlags::PEEK | RecvFlags::TRUNC;
        let (_, length) = rustix::net::recv(&self.0, &mut [0; 1][..], peek)?;
        let mut request = vec![0; length.min(REQUEST_BYTES_MAX)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, whole) = rustix::net::recv(&self.0, &mut request[..], flags)?;
        request.truncate(if whole > request.len() { 0 } else { whole });
        Ok(request)
    }

    /// Waits for an answer, at most until `deadline`; `None` if there is none, or will be none.
    pub(crate) fn await_answer(&self, deadline: Option<Instant>) -> Option<(Answer, Vec<OwnedFd>)> {
        if !is_readable_until(self.0.as_fd(), deadline) {
            return None;
        }
        let mut message = [0; ANSWER_BYTES_MAX];
        let mut parts = [IoSliceMut::new(&mut message)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ORDER_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags).ok()?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        let is_whole = received.bytes == ANSWER_BYTES_MAX;
        let answer = is_whole.then(|| Answer::decode(&message)).flatten()?;
        Some((answer, descriptors))
    }

    /// Returns whether the other end is there and has said nothing that was not heard.
    pub(crate) fn is_silent(&self) -> bool {
        !is_readable_until(self.0.as_fd(), Some(Instant::now()))
    }

    /// Waits until the keeper tells that init is waited for; `None` if it does not until `deadline`.
    pub(crate) fn await_end(&self, deadline: Instant) -> Option<(i32, Accounted)> {
        loop {
            if let (Answer::Reaped(status, used), _) = self.await_answer(Some(deadline))? {
                return Some((status, used));
            }
        }
    }
}

/// Sends one message with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ORDER_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut control, flags).map(drop)
}

/// Waits until `descriptor` is readable or at its end; returns whether it is before `deadline`.
pub(crate) fn is_readable_until(descriptor: BorrowedFd<'_>, deadline: Option<Instant>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Returns a socket that keeps messages apart.
pub(crate) fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Returns the socket's address in `directory`, and what must stay open while it is used: an address has no room for
/// a long path, so it leads through a descriptor.
pub(crate) fn address_in(directory: &Path) -> io::Result<(Option<OwnedFd>, SocketAddrUnix)> {
    if let Ok(address) = SocketAddrUnix::new(directory.join(SOCKET_FILE)) {
        return Ok((None, address));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", parent.as_raw_fd());
    Ok((Some(parent), SocketAddrUnix::new(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_was_said() {
        for request in [
            Request::Join(b"key"),
            Request::GiveWay(b""),
            Request::End,
            Request::Status,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        assert_eq!(Request::decode(b""), None);
        assert_eq!(Request::decode(&[3, 1]), None);
        let used = Accounted {
            cpu: Duration::from_micros(5),
            memory_largest_bytes: 1 << 40,
            io_read_bytes: 3,
            io_write_bytes: 4,
        };
        let status = SessionStatus {
            pid: 17,
            is_ready: true,
            operations: 2,
            idle: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
        };
        for answer in [
            Answer::Granted(Pid::INIT, None),
            Answer::Granted(
                Pid::INIT,
                Some(Identity {
                    device: 1 << 40,
                    inode: u64::MAX,
                }),
            ),
            Answer::Queued(17),
            Answer::Refused { foreign: true },
            Answer::Reaped(-9, used),
            Answer::Status(status),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Answer::decode(&[9; ANSWER_BYTES_MAX]), None);
    }

    #[test]
    fn a_long_directory_has_an_address_too() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("x".repeat(200));
        std::fs::create_dir(&long).unwrap();
        let (parent, address) = address_in(&long).unwrap();
        assert!(parent.is_some());
        rustix::net::bind(socket().unwrap(), &address).unwrap();
        assert!(long.join(SOCKET_FILE).exists());
    }
}
