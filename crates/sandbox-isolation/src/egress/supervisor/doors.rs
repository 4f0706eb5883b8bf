//! The ports that the guest can knock on. Those that the list names are open from the beginning. A pattern for all
//! ports opens others when the guest is about to connect to one.
//!
//! ```text
//! guest ──connect to port 8123──> the kernel asks us ──> a spare socket listens on 8123 ──> the kernel goes on
//! ```
//! What the guest's memory says decides which port is opened and nothing else: who connects is checked as on every
//! other port. So it does not matter that the guest can change its memory between our look and the kernel's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    time::Instant,
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::RecvFlags,
};
use sandbox_types::NetworkRoute;

use super::{LISTENERS, QUESTIONS, REFUSALS, Supervisor, receive};
use crate::{
    egress::{
        Ports,
        names::Meaning,
        netns,
        policy::{self, Denial, Target},
        record::{Attempt, Fate},
    },
    sys::notify::{self, Call},
};

/// As much of an address as tells host and port: `sockaddr_in6` up to its scope.
const ADDRESS_BYTES: usize = 24;

pub(super) struct Doors {
    pub(super) datagrams: OwnedFd,
    /// Sees what the guest's own kernel refuses; not every kernel has it.
    pub(super) refusals: Option<OwnedFd>,
    pub(super) listeners: Vec<OwnedFd>,
    /// Ports that are listened on.
    open: BTreeSet<u16>,
    spare: Vec<OwnedFd>,
    questions: Questions,
}

enum Questions {
    /// None is asked.
    None,
    /// The guest has yet to tell where it asks.
    Announced(OwnedFd),
    Asked(OwnedFd),
}

impl Doors {
    /// Takes the sockets in the order in which they are handed out.
    pub(super) fn new(
        mut sockets: Vec<OwnedFd>,
        ports: Ports,
        channel: OwnedFd,
    ) -> Result<Self, Errno> {
        // A caller without descriptors left gets fewer of them.
        let needed = 1 + ports.open.len() + ports.spare;
        if sockets.len() < needed {
            return Err(Errno::MFILE);
        }
        let refusals = sockets.split_off(needed).pop();
        let spare = sockets.split_off(1 + ports.open.len());
        let datagrams = sockets.remove(0);
        Ok(Self {
            datagrams,
            refusals,
            listeners: sockets,
            open: ports.open.into_iter().collect(),
            questions: if spare.is_empty() {
                Questions::None
            } else {
                Questions::Announced(channel)
            },
            spare,
        })
    }

    pub(super) fn watch_refusals(&self, epoll: &OwnedFd) -> Result<(), Errno> {
        let Some(refusals) = &self.refusals else {
            return Ok(());
        };
        epoll::add(
            epoll,
            refusals,
            EventData::new_u64(REFUSALS),
            EventFlags::IN,
        )
    }

    pub(super) fn watch_questions(&self, epoll: &OwnedFd) -> Result<(), Errno> {
        let (Questions::Announced(source) | Questions::Asked(source)) = &self.questions else {
            return Ok(());
        };
        epoll::add(epoll, source, EventData::new_u64(QUESTIONS), EventFlags::IN)
    }
}

impl Supervisor {
    /// Opens the port that a process of the guest is about to connect to, if it may be reached.
    pub(super) fn answer_question(&mut self, flags: EventFlags) -> Result<(), Errno> {
        match &self.doors.questions {
            Questions::None => Ok(()),
            Questions::Announced(channel) => {
                let handed_out = receive(channel, RecvFlags::DONTWAIT)?.unwrap_or_default();
                epoll::delete(&self.epoll, channel)?;
                self.doors.questions = handed_out
                    .into_iter()
                    .next()
                    .map_or(Questions::None, Questions::Asked);
                self.doors.watch_questions(&self.epoll)
            }
            // Nobody is left who could ask.
            Questions::Asked(questions) if !flags.contains(EventFlags::IN) => {
                epoll::delete(&self.epoll, questions)
            }
            Questions::Asked(questions) => {
                let call = match notify::receive(questions.as_fd()) {
                    Ok(call) => call,
                    // That process was killed.
                    Err(Errno::NOENT | Errno::INTR) => return Ok(()),
                    Err(errno) => return Err(errno),
                };
                let opened = destination(call).map_or(Ok(()), |to| self.open_door(to));
                if let Questions::Asked(questions) = &self.doors.questions {
                    // It fails if that process was killed meanwhile.
                    notify::let_go_on(questions.as_fd(), call).ok();
                }
                opened
            }
        }
    }

    fn open_door(&mut self, to: SocketAddr) -> Result<(), Errno> {
        if self.doors.open.contains(&to.port()) {
            return Ok(());
        }
        let target = match self.names.meaning(to.ip()) {
            Meaning::Name(name) => Target::Name(name),
            Meaning::Address(address) => Target::Address(address),
            Meaning::Gateway | Meaning::Unused => return Ok(()),
        };
        // The kernel refuses what nobody listens on.
        if policy::check(&self.list, &target, to.port()).is_err() {
            return Ok(());
        }
        let Some(socket) = self.doors.spare.pop() else {
            let attempt = Attempt::new(
                Some(&target),
                to.port(),
                NetworkRoute::Direct,
                Instant::now(),
            );
            self.record.add(attempt, Fate::Denied(Denial::TooManyPorts));
            return Ok(());
        };
        if netns::listen_on(&socket, to.port()).is_err() {
            // A server of the guest's own is there.
            self.doors.spare.push(socket);
            return Ok(());
        }
        if self.is_accepting {
            let number = LISTENERS + self.doors.listeners.len() as u64;
            let data = EventData::new_u64(number);
            epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
        }
        self.doors.listeners.push(socket);
        self.doors.open.insert(to.port());
        Ok(())
    }
}

/// Returns where `call` is about to connect to; `None` if that is no host, or cannot be read.
fn destination(call: Call) -> Option<SocketAddr> {
    let mut bytes = [0; ADDRESS_BYTES];
    let length = usize::try_from(call.length).ok()?.min(ADDRESS_BYTES);
    let read = notify::read_memory(call, call.address, bytes.get_mut(..length)?).ok()?;
    socket_address(bytes.get(..read)?)
}

/// Reads `sockaddr_in` or `sockaddr_in6`.
fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let &[f0, f1, p0, p1, ref rest @ ..] = bytes else {
        return None;
    };
    let host: IpAddr = match i32::from(u16::from_ne_bytes([f0, f1])) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(rest.get(..4)?).ok()?).into(),
        // The flow's number comes first.
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(rest.get(4..20)?).ok()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes([p0, p1]);
    (port != 0).then_some(SocketAddr::new(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_has_them() {
        let family = |family: i32| u16::try_from(family).unwrap().to_ne_bytes();
        let mut ipv4 = family(libc::AF_INET).to_vec();
        ipv4.extend([0x1f, 0x90, 192, 0, 2, 7]);
        assert_eq!(socket_address(&ipv4), "192.0.2.7:8080".parse().ok());
        let mut ipv6 = family(libc::AF_INET6).to_vec();
        ipv6.extend([0x1f, 0x90, 0, 0, 0, 0]);
        ipv6.extend("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(socket_address(&ipv6), "[2001:db8::7]:8080".parse().ok());
        for cut in 0..ipv4.len() {
            assert_eq!(socket_address(&ipv4[..cut]), None);
        }
        for cut in 0..ipv6.len() {
            assert_eq!(socket_address(&ipv6[..cut]), None);
        }
        ipv4[2..4].fill(0);
        assert_eq!(socket_address(&ipv4), None, "port 0 is none");
        let unix = [family(libc::AF_UNIX).as_slice(), b"/run/x"].concat();
        assert_eq!(socket_address(&unix), None);
    }
}
