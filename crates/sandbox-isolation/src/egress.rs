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
    net::{AddressFamily, SocketFlags, SocketType},
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
    /// The children's end of the channel, until they have it.
    theirs: Option<OwnedFd>,
    ports: Vec<u16>,
    spare: usize,
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

impl Egress {
    /// Starts the supervisor that `network` needs, if any.
    pub(crate) fn of(network: &NetworkAccess) -> Result<Option<Self>, LaunchError> {
        match network {
            NetworkAccess::Allow(list) => Self::start(list.clone()).map(Some).map_err(|error| {
                LaunchError::new("let the guest's network lead to the allowed hosts", error)
            }),
            NetworkAccess::None | NetworkAccess::Host => Ok(None),
        }
    }

    /// Starts the supervisor. It waits for the sockets that the children hand out.
    fn start(list: AllowList) -> io::Result<Self> {
        let spare = if list.has_any_port() { SPARE_PORTS } else { 0 };
        let mut ports = list.ports();
        ports.extend(PORTS_ALWAYS);
        ports.sort_unstable();
        ports.dedup();
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = Arc::new(Stop {
            at_once: AtomicBool::new(false),
            wake: rustix::event::eventfd(0, flags)?,
        });
        let told = Arc::clone(&stop);
        let doors = Ports {
            open: ports.clone(),
            spare,
        };
        let thread = thread::Builder::new()
            .name("sandbox-egress".to_owned())
            .spawn(move || supervisor::run(list, doors, ours, &told))?;
        Ok(Self {
            thread: Some(thread),
            stop,
            theirs: Some(theirs),
            ports,
            spare,
        })
    }

    /// Returns what the children need. It holds until [`Self::close_their_end`].
    pub(crate) fn doors(&self) -> Doors {
        Doors {
            ports: self.ports.clone(),
            spare: self.spare,
            channel: self.theirs.as_ref().map_or(-1, OwnedFd::as_raw_fd),
        }
    }

    /// Closes the children's end here: it is theirs alone from now on.
    pub(crate) fn close_their_end(&mut self) {
        self.theirs = None;
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
