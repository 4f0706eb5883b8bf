//! One connection of the guest, from its acceptance to its end.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use super::{
    flow::{self, Broken, Flow},
    handshake::HEAD_BYTES_MAX,
    record::{Attempt, Fate},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll::EventFlags},
    io::Errno,
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, sockopt},
};

/// How long a client may take to say what it wants, and a refused one to take the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long one address may take to answer.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// The same while there is another one to try.
const DIAL_TIME_OF_MANY: Duration = Duration::from_secs(2);
/// How long looking a name up and dialling may take together.
pub(super) const REACH_TIME: Duration = Duration::from_secs(30);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The guest's.
    Client,
    /// The one outside.
    Server,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The guest asks for names.
    Dns,
    /// The guest tells the proxy what it wants.
    Head { greeted: bool },
    /// A name is looked up.
    LookUp,
    /// An address outside is dialled; these are left.
    Dial {
        left: VecDeque<IpAddr>,
        until: Instant,
    },
    /// Bytes go both ways.
    Relay,
    /// A last answer is written.
    Farewell,
}

/// A connection of the guest.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: OwnedFd,
    pub(super) server: Option<OwnedFd>,
    pub(super) stage: Stage,
    /// What was read before it was known where it belongs.
    pub(super) head: Vec<u8>,
    /// From the guest.
    pub(super) up: Flow,
    /// To the guest.
    pub(super) down: Flow,
    /// What is reported; `None` once it was, or if there is nothing to report.
    pub(super) attempt: Option<Attempt>,
    /// When it is given up.
    pub(super) deadline: Option<Instant>,
    /// What each side is watched for.
    pub(super) watched: [Option<EventFlags>; 2],
}

/// What is left to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait.
    Stay,
    /// It ended as it should.
    Close,
    /// The other side is to see that it broke.
    Reset,
}

/// What came of dialling an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialled {
    /// It has answered, or refused.
    Answered,
    Waiting,
}

impl Connection {
    pub(super) fn new(client: OwnedFd, stage: Stage) -> Self {
        Self {
            client,
            server: None,
            stage,
            head: Vec::new(),
            up: Flow::default(),
            down: Flow::default(),
            attempt: None,
            deadline: Some(Instant::now() + PATIENCE),
            watched: [None; 2],
        }
    }

    /// Returns what `side` is to be watched for.
    pub(super) fn wanted(&self, side: Side) -> EventFlags {
        let mut flags = EventFlags::empty();
        let (reads, writes) = match (&self.stage, side) {
            (Stage::Dns | Stage::Head { .. }, Side::Client) => {
                (!self.down.is_pending(), self.down.is_pending())
            }
            (Stage::Farewell, Side::Client) => (true, self.down.is_pending()),
            (Stage::Dial { .. }, Side::Server) => (false, true),
            (Stage::Relay, Side::Client) => (self.up.wants_source(), self.down.is_pending()),
            (Stage::Relay, Side::Server) => (self.down.wants_source(), self.up.is_pending()),
            (Stage::LookUp | Stage::Dial { .. }, Side::Client)
            | (Stage::Dns | Stage::Head { .. } | Stage::LookUp | Stage::Farewell, Side::Server) => {
                (false, false)
            }
        };
        flags.set(EventFlags::IN, reads);
        flags.set(EventFlags::OUT, writes);
        flags
    }

    /// Reads more of what the client says, when it has taken the answers before.
    pub(super) fn listen(&mut self, scratch: &mut [u8]) -> Next {
        if self.down.flush(&self.client).is_err() {
            return Next::Close;
        }
        let room = HEAD_BYTES_MAX
            .saturating_sub(self.head.len())
            .min(scratch.len());
        if self.down.is_pending() || room == 0 {
            return Next::Stay;
        }
        let scratch = scratch.get_mut(..room).unwrap_or_default();
        match flow::read(&self.client, scratch) {
            Ok(Some(0)) | Err(_) => Next::Close,
            Ok(Some(count)) => {
                let said = scratch.get(..count).unwrap_or_default();
                self.head.extend_from_slice(said);
                Next::Stay
            }
            Ok(None) => Next::Stay,
        }
    }

    /// Moves bytes after `side` was ready.
    pub(super) fn relay(&mut self, side: Side, flags: EventFlags, scratch: &mut [u8]) -> Next {
        let Some(server) = &self.server else {
            return Next::Close;
        };
        let broke = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let (reads, writes) = (
            broke || flags.contains(EventFlags::IN),
            broke || flags.contains(EventFlags::OUT),
        );
        let (up, down) = match side {
            Side::Client => (reads, writes),
            Side::Server => (writes, reads),
        };
        if down {
            match self.down.pump(server, &self.client, scratch) {
                Ok(()) => {}
                Err(Broken::Source | Broken::Sink) => return Next::Reset,
            }
        }
        if up {
            match self.up.pump(&self.client, server, scratch) {
                Ok(()) => {}
                Err(Broken::Source) => return Next::Reset,
                // A server may answer without reading all: the answer still counts.
                Err(Broken::Sink) => self.up.give_up(),
            }
        }
        if self.up.finished && self.down.finished {
            Next::Close
        } else {
            Next::Stay
        }
    }

    /// Whether all that a dead guest has sent was delivered.
    pub(super) fn is_delivered(&self) -> bool {
        match self.stage {
            Stage::Relay => self.up.finished,
            Stage::LookUp | Stage::Dial { .. } => false,
            Stage::Dns | Stage::Head { .. } | Stage::Farewell => true,
        }
    }

    /// Writes the last answer, and takes what the client still says: closing before would take the answer back.
    pub(super) fn farewell(&mut self, scratch: &mut [u8]) -> Next {
        if self.down.flush(&self.client).is_err() {
            return Next::Close;
        }
        if !self.down.is_pending() && !self.down.finished {
            self.down.finished = true;
            rustix::net::shutdown(&self.client, Shutdown::Write).ok();
        }
        loop {
            match flow::read(&self.client, scratch) {
                Ok(Some(0)) | Err(_) => return Next::Close,
                Ok(Some(_)) => {}
                Ok(None) => return Next::Stay,
            }
        }
    }

    /// Dials the next address; `Err` says why there is none left.
    pub(super) fn dial(&mut self, mut last: String) -> Result<Dialled, String> {
        let port = self.attempt.as_ref().map_or(0, |attempt| attempt.port);
        self.server = None;
        self.watched[1] = None;
        let Stage::Dial { left, until } = &mut self.stage else {
            return Ok(Dialled::Waiting);
        };
        while let Some(address) = left.pop_front() {
            let now = Instant::now();
            if now >= *until {
                break;
            }
            if let Some(attempt) = &mut self.attempt {
                attempt.address = Some(address.to_string());
            }
            match connect(SocketAddr::new(address, port)) {
                Ok(server) => {
                    let dialled = has_answered(&server);
                    self.server = Some(server);
                    let time = if left.is_empty() {
                        DIAL_TIME
                    } else {
                        DIAL_TIME_OF_MANY
                    };
                    self.deadline = Some((now + time).min(*until));
                    return Ok(dialled);
                }
                Err(errno) => last = why(errno),
            }
        }
        Err(last)
    }

    /// Returns whether the address that is dialled has answered, or why it does not.
    pub(super) fn dialled(&self) -> Result<(), String> {
        let Some(server) = &self.server else {
            return Err("it was given up".to_owned());
        };
        match sockopt::socket_error(server) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(errno)) | Err(errno) => Err(why(errno)),
        }
    }

    /// Lets bytes go both ways.
    pub(super) fn start_relay(&mut self, greeting: &[u8]) {
        self.stage = Stage::Relay;
        self.deadline = None;
        self.down.push(greeting);
        let head = std::mem::take(&mut self.head);
        self.up.push_read(&head);
        if let Some(server) = &self.server {
            // It only costs time. The guest's side has it from the socket that it was accepted on.
            sockopt::set_tcp_nodelay(server, true).ok();
        }
    }

    /// Returns what there is to report of a connection that was allowed.
    pub(super) fn fate(&self) -> Fate {
        Fate::Allowed {
            received: self.down.bytes,
            sent: self.up.bytes,
        }
    }

    /// Makes both sides see a broken connection when it is closed.
    pub(super) fn break_off(&self) {
        for side in [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            sockopt::set_socket_linger(side, Some(Duration::ZERO)).ok();
        }
    }
}

/// Starts to connect, without waiting.
fn connect(to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// On this machine and near it the answer is there at once.
fn has_answered(socket: &OwnedFd) -> Dialled {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
        Ok(1..) => Dialled::Answered,
        Ok(0) | Err(_) => Dialled::Waiting,
    }
}

fn why(errno: Errno) -> String {
    format!("it cannot be reached: {}", std::io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use sandbox_types::NetworkRoute;

    use super::*;

    /// Dials until an address answers well; returns that address, or why there is none.
    fn dial(addresses: &[Ipv4Addr], port: u16) -> Result<Option<String>, String> {
        let flags = SocketFlags::CLOEXEC;
        let (client, _guest) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let left = addresses.iter().copied().map(IpAddr::V4).collect();
        let until = Instant::now() + REACH_TIME;
        let mut connection = Connection::new(client, Stage::Dial { left, until });
        let now = Instant::now();
        connection.attempt = Some(Attempt::new(None, port, NetworkRoute::Direct, now));
        let mut last = "the name has no address".to_owned();
        loop {
            connection.dial(last)?;
            let server = connection.server.as_ref().unwrap();
            let mut fds = [PollFd::new(server, PollFlags::OUT)];
            rustix::event::poll(&mut fds, None).unwrap();
            match connection.dialled() {
                Ok(()) => return Ok(connection.attempt.and_then(|it| it.address)),
                Err(why) => last = why,
            }
        }
    }

    #[test]
    fn the_next_address_is_tried_when_one_refuses() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let dead = Ipv4Addr::new(127, 0, 0, 2);
        let found = dial(&[dead, dead, Ipv4Addr::LOCALHOST, dead], port);
        assert_eq!(found, Ok(Some("127.0.0.1".to_owned())));
        assert!(dial(&[dead, dead], port).unwrap_err().contains("refused"));
        assert!(dial(&[], port).unwrap_err().contains("no address"));
    }
}
