//! The network of a guest with a list of allowed hosts: every connection is checked, made outside, and reported.
//!
//! ```text
//!        inside                            │ outside: a thread of the caller
//! guest ──any address, a listened port──> lo ──> accepted ──checked──dialled──> the host that was allowed
//! guest ──any name server, port 53──────> lo ──> answered: allowed names only, with addresses of our own
//! ```
//! Needs no helper program, no privilege and no setting of the guest's programs. `docs/guide/network.md` describes
//! it to its users, `docs/decisions/0015-egress.md` says why it is built this way.

mod address;
mod connection;
mod dns;
mod flow;
mod handshake;
mod http_connect;
mod lookup;
mod names;
pub(crate) mod netns;
mod policy;
mod record;
mod refusals;
mod resolver;
mod socks5;
mod supervisor;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::{
    event::EventfdFlags,
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType},
};
use sandbox_types::{AllowList, NetworkAccess, NetworkReport, Violation};

use crate::launch::LaunchError;

pub(crate) use lookup::look_names_up_without_plugins;
pub(crate) use names::GATEWAY_IPV4;

/// Where the proxy listens, on the address of the name server.
pub(crate) const PROXY_PORT: u16 = 1080;
/// Listened on whatever the list says, so that refusals are seen.
const PORTS_ALWAYS: [u16; 4] = [53, 80, 443, PROXY_PORT];
/// Ports that no pattern names and that one guest may reach all the same, if a pattern is for all ports. Together with
/// those that patterns name they are fewer than [`netns::SOCKETS_MAX`].
const SPARE_PORTS: usize = 128;

/// What the children need: which ports to listen on, and where to hand the sockets out.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) ports: Vec<u16>,
    /// Sockets for ports that are not known before the guest asks for them.
    pub(crate) spare: usize,
    pub(crate) channel: RawFd,
}

impl Doors {
    /// Whether the supervisor is asked before each `connect`.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.spare > 0
    }
}

/// What a guest did over the network.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) report: NetworkReport,
    pub(crate) violations: Vec<Violation>,
    /// Bytes that the guest received and sent.
    pub(crate) bytes: (u64, u64),
    /// Why refusals by the guest's own kernel were not seen, if they were not.
    pub(crate) unseen: Option<io::Error>,
    /// Why the supervisor ended before the guest, if it did.
    pub(crate) failure: Option<io::Error>,
}

/// The supervisor of one guest's network. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Egress {
    thread: Option<thread::JoinHandle<Activity>>,
    stop: Arc<Stop>,
}

/// Where the children hand their sockets out.
#[derive(Debug)]
pub(crate) struct Hall {
    ports: Ports,
    ours: OwnedFd,
    /// Until the children have it.
    theirs: OwnedFd,
}

/// What the supervisor gets sockets for.
#[derive(Debug)]
struct Ports {
    open: Vec<u16>,
    /// Sockets without a port.
    spare: usize,
}

/// How the supervisor is told to end.
#[derive(Debug)]
struct Stop {
    /// Whether what the guest has sent is still delivered.
    at_once: AtomicBool,
    wake: OwnedFd,
}

impl Stop {
    fn tell(&self) {
        // It fails only if the counter is full: then it is readable already.
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).ok();
    }

    fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Acquire)
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Ports {
    fn of(list: &AllowList) -> Self {
        let mut open = list.ports();
        open.extend(PORTS_ALWAYS);
        open.sort_unstable();
        open.dedup();
        let spare = if list.has_any_port() { SPARE_PORTS } else { 0 };
        Self { open, spare }
    }
}

impl Hall {
    /// Returns what a guest of `network` needs, if its network leads anywhere.
    pub(crate) fn of(network: &NetworkAccess) -> Result<Option<Self>, LaunchError> {
        let NetworkAccess::Allow(list) = network else {
            return Ok(None);
        };
        let (ours, theirs) = channel().map_err(no_network)?;
        Ok(Some(Self {
            ports: Ports::of(list),
            ours,
            theirs,
        }))
    }

    /// Returns what the children need. It holds as long as this does.
    pub(crate) fn doors(&self) -> Doors {
        Doors {
            ports: self.ports.open.clone(),
            spare: self.ports.spare,
            channel: self.theirs.as_raw_fd(),
        }
    }

    /// Closes the children's end here: it is theirs alone from now on. Returns ours.
    pub(crate) fn close_their_end(self) -> OwnedFd {
        self.ours
    }
}

fn channel() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn no_network(error: impl Into<io::Error>) -> LaunchError {
    LaunchError::new("let the guest's network lead to the allowed hosts", error)
}

/// Takes the sockets that are there to be taken, if there is where to take them.
pub(crate) fn take_sockets(channel: Option<OwnedFd>) -> Result<Vec<OwnedFd>, Errno> {
    let sent = channel.map(|channel| take_next(&channel));
    Ok(sent.transpose()?.flatten().unwrap_or_default())
}

/// Takes what the next message hands out; `None` after the last one. Does not wait.
pub(crate) fn take_next(channel: &OwnedFd) -> Result<Option<Vec<OwnedFd>>, Errno> {
    supervisor::receive(channel, RecvFlags::DONTWAIT)
}

/// Whether this is the socket that sees refusals.
pub(crate) fn is_watch(socket: &OwnedFd) -> bool {
    let family = rustix::net::sockopt::socket_domain(socket);
    family.is_ok_and(|family| family == AddressFamily::PACKET)
}

/// Returns a channel where somebody else finds these sockets, if there are any.
pub(crate) fn pass_on(sockets: &[OwnedFd]) -> Result<Option<OwnedFd>, Errno> {
    if sockets.is_empty() {
        return Ok(None);
    }
    let (ours, theirs) = channel()?;
    netns::send_all(ours.as_fd(), sockets.iter().map(OwnedFd::as_fd))?;
    Ok(Some(theirs))
}

impl Egress {
    /// Starts the supervisor that `network` needs, if any. It waits for the sockets that come through `channel`.
    pub(crate) fn start(
        network: &NetworkAccess,
        channel: Option<OwnedFd>,
    ) -> Result<Option<Self>, LaunchError> {
        match (network, channel) {
            (NetworkAccess::Allow(list), Some(channel)) => {
                let started = Self::supervise(list.clone(), channel);
                started.map(Some).map_err(no_network)
            }
            (NetworkAccess::Allow(_), None) => Err(no_network(Errno::NOTCONN)),
            (NetworkAccess::None | NetworkAccess::Host, _) => Ok(None),
        }
    }

    fn supervise(list: AllowList, channel: OwnedFd) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = Arc::new(Stop {
            at_once: AtomicBool::new(false),
            wake: rustix::event::eventfd(0, flags)?,
        });
        let told = Arc::clone(&stop);
        let ports = Ports::of(&list);
        let thread = thread::Builder::new()
            .name("sandbox-egress".to_owned())
            .spawn(move || supervisor::run(list, ports, channel, &told))?;
        Ok(Self {
            thread: Some(thread),
            stop,
        })
    }

    /// Ends the supervisor when the guest is dead, after what the guest has sent was delivered; returns what the guest
    /// did.
    pub(crate) fn finish(&mut self) -> Activity {
        self.stop.tell();
        self.join()
    }

    fn join(&mut self) -> Activity {
        let Some(thread) = self.thread.take() else {
            return Activity::default();
        };
        thread.join().unwrap_or_else(|_panic| Activity {
            failure: Some(io::Error::other("the network's supervisor panicked")),
            ..Activity::default()
        })
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.stop.at_once.store(true, Ordering::Release);
        self.stop.tell();
        self.join();
    }
}
