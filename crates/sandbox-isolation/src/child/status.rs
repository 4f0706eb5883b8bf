//! What the children tell the caller: fixed-size messages over a pipe.

use std::{os::fd::BorrowedFd, time::Duration};

use rustix::{io::Errno, process::Pid};

use crate::sys::process::Accounted;

/// Bytes of one message: less than `PIPE_BUF`, so each is written at once.
pub(crate) const MESSAGE_BYTES: usize = 64;

/// An act that can fail between the first clone and the guest's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Builder,
    Descriptors,
    Namespaces,
    IdMap,
    Identity,
    Build(u16),
    Inner(u16),
    /// Of the steps that wait for the operation.
    Late(u16),
    TakeOver,
    NotDumpable,
    HostName,
    Loopback,
    Start,
    Overlay,
    OldRoot,
    Watch,
    Ruleset,
    GuestClone,
    Session,
    Stdio,
    ResourceLimits,
    Capabilities,
    NoNewPrivileges,
    Directory,
    Landlock,
    Seccomp,
    Execute,
    Egress,
}

/// The acts without a number, in the order of their codes.
const PLAIN: [Act; 25] = [
    Act::Builder,
    Act::Descriptors,
    Act::Namespaces,
    Act::IdMap,
    Act::Identity,
    Act::TakeOver,
    Act::NotDumpable,
    Act::HostName,
    Act::Loopback,
    Act::Start,
    Act::OldRoot,
    Act::Watch,
    Act::Ruleset,
    Act::GuestClone,
    Act::Session,
    Act::Stdio,
    Act::ResourceLimits,
    Act::Capabilities,
    Act::NoNewPrivileges,
    Act::Directory,
    Act::Landlock,
    Act::Seccomp,
    Act::Execute,
    Act::Egress,
    Act::Overlay,
];
const CODE_BUILD: u8 = 100;
const CODE_INNER: u8 = 101;
const CODE_LATE: u8 = 102;

impl Act {
    /// Returns the failure of this act.
    pub(crate) const fn failed(self, errno: Errno) -> Failure {
        Failure { act: self, errno }
    }

    fn encode(self) -> (u8, u16) {
        match self {
            Self::Build(index) => (CODE_BUILD, index),
            Self::Inner(index) => (CODE_INNER, index),
            Self::Late(index) => (CODE_LATE, index),
            Self::Builder
            | Self::Descriptors
            | Self::Namespaces
            | Self::IdMap
            | Self::Identity
            | Self::TakeOver
            | Self::NotDumpable
            | Self::HostName
            | Self::Loopback
            | Self::Start
            | Self::Overlay
            | Self::OldRoot
            | Self::Watch
            | Self::Ruleset
            | Self::GuestClone
            | Self::Session
            | Self::Stdio
            | Self::ResourceLimits
            | Self::Capabilities
            | Self::NoNewPrivileges
            | Self::Directory
            | Self::Landlock
            | Self::Seccomp
            | Self::Execute
            | Self::Egress => {
                let code = (0_u8..).zip(PLAIN).find(|(_, act)| *act == self);
                (code.map_or(0, |(code, _)| code), 0)
            }
        }
    }

    fn decode(code: u8, index: u16) -> Option<Self> {
        match code {
            CODE_BUILD => Some(Self::Build(index)),
            CODE_INNER => Some(Self::Inner(index)),
            CODE_LATE => Some(Self::Late(index)),
            plain => PLAIN.get(usize::from(plain)).copied(),
        }
    }
}

/// An act that failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) act: Act,
    pub(crate) errno: Errno,
}

/// Attempts to reach addresses that no route leads to, by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unroutable {
    pub(crate) ipv4: u64,
    pub(crate) ipv6: u64,
}

/// The end of the guest and of everything that it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct End {
    /// Wait status of the guest itself.
    pub(crate) status: i32,
    pub(crate) used: Accounted,
    pub(crate) unroutable: Unroutable,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Message {
    /// The builder has started init.
    Born(Pid),
    /// Everything is built that does not belong to the operation, which is awaited.
    Ready,
    /// The guest executes its program.
    Started { without_proc: bool },
    /// It could not be started.
    Failed(Failure),
    /// Every process but init is dead.
    Ended(End),
}

impl Message {
    /// Sends the message; if nobody listens any more, nobody misses it.
    pub(crate) fn send(&self, to: BorrowedFd<'_>) {
        self.try_send(to).ok();
    }

    /// Sends the message.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written: nobody will get it.
    pub(crate) fn try_send(&self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::io::write(to, &self.encode()).map(drop)
    }

    fn encode(&self) -> [u8; MESSAGE_BYTES] {
        let (head, numbers) = match *self {
            Self::Born(init) => {
                let [a, b, c, d] = init.as_raw_nonzero().get().to_le_bytes();
                ([4, 0, 0, 0, a, b, c, d], [0; 7])
            }
            Self::Ready => ([5, 0, 0, 0, 0, 0, 0, 0], [0; 7]),
            Self::Started { without_proc } => {
                ([1, u8::from(without_proc), 0, 0, 0, 0, 0, 0], [0; 7])
            }
            Self::Failed(Failure { act, errno }) => {
                let (code, index) = act.encode();
                let [low, high] = index.to_le_bytes();
                let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
                ([2, code, low, high, a, b, c, d], [0; 7])
            }
            Self::Ended(End {
                status,
                used,
                unroutable,
            }) => {
                let [a, b, c, d] = status.to_le_bytes();
                let cpu = u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX);
                let numbers = [
                    cpu,
                    used.memory_largest_bytes,
                    used.io_read_bytes,
                    used.io_write_bytes,
                    unroutable.ipv4,
                    unroutable.ipv6,
                    0,
                ];
                ([3, 0, 0, 0, a, b, c, d], numbers)
            }
        };
        let mut bytes = [0; MESSAGE_BYTES];
        let (first, rest) = bytes.split_at_mut(8);
        first.copy_from_slice(&head);
        for (place, number) in rest.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads a message back; `None` if it is none of ours.
    pub(crate) fn decode(bytes: &[u8; MESSAGE_BYTES]) -> Option<Self> {
        let number = |index: usize| {
            let bytes = bytes.get(8 + 8 * index..16 + 8 * index);
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        let [kind, code, low, high, a, b, c, d, ..] = *bytes;
        let value = i32::from_le_bytes([a, b, c, d]);
        match kind {
            1 => Some(Self::Started {
                without_proc: code != 0,
            }),
            2 => Some(Self::Failed(Failure {
                act: Act::decode(code, u16::from_le_bytes([low, high]))?,
                errno: Errno::from_raw_os_error(value),
            })),
            3 => Some(Self::Ended(End {
                status: value,
                used: Accounted {
                    cpu: Duration::from_micros(number(0)),
                    memory_largest_bytes: number(1),
                    io_read_bytes: number(2),
                    io_write_bytes: number(3),
                },
                unroutable: Unroutable {
                    ipv4: number(4),
                    ipv6: number(5),
                },
            })),
            4 => Pid::from_raw(value).map(Self::Born),
            5 => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn who_cannot_send_is_told() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let born = Message::Born(Pid::INIT);
        assert_eq!(born.try_send(writer.as_fd()), Ok(()));
        assert_eq!(born.try_send(reader.as_fd()), Err(Errno::BADF));
    }

    #[test]
    fn messages_survive_the_pipe() {
        let end = End {
            status: -7,
            used: Accounted {
                cpu: Duration::from_micros(17),
                memory_largest_bytes: 1 << 40,
                io_read_bytes: 2,
                io_write_bytes: 3,
            },
            unroutable: Unroutable { ipv4: 4, ipv6: 5 },
        };
        let acts = [
            Act::Build(513),
            Act::Inner(2),
            Act::Late(3),
            Act::Execute,
            Act::Overlay,
        ];
        let failures = acts.map(|act| Message::Failed(act.failed(Errno::NOENT)));
        let others = [
            Message::Ended(end),
            Message::Started { without_proc: true },
            Message::Born(Pid::INIT),
            Message::Ready,
        ];
        for message in failures.into_iter().chain(others) {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[9; MESSAGE_BYTES]), None);
    }
}
