//! What a client tells the proxy before its connection begins: either of two protocols, told apart by the first byte.
//!
//! Readers look at all that has come so far, so where the stream is split makes no difference.

use sandbox_types::NetworkRoute;

use super::{http_connect, policy::Target, socks5};

/// A client that has not said what it wants after so many bytes never will.
pub(super) const HEAD_BYTES_MAX: usize = 8192;

/// How far a reader came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress<T> {
    /// More bytes are needed.
    More,
    /// It is complete, and takes so many bytes.
    Done(T, usize),
    /// It is wrong; this is the answer.
    Wrong(Vec<u8>),
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// `None` if it is no host.
    pub(super) target: Option<Target>,
    pub(super) port: u16,
    pub(super) via: NetworkRoute,
}

/// One step of what a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It wants this answer, and says more then.
    Greeting(Vec<u8>),
    /// It has said all.
    Request(Request),
}

/// Reads the next step. `greeted` is whether a greeting was answered before.
pub(super) fn read(bytes: &[u8], greeted: bool) -> Progress<Step> {
    let progress = match bytes.first() {
        None => Progress::More,
        Some(_) if greeted => socks5::request(bytes),
        Some(&socks5::VERSION) => socks5::greeting(bytes),
        Some(_) => http_connect::request(bytes),
    };
    match progress {
        Progress::More if bytes.len() >= HEAD_BYTES_MAX => Progress::Wrong(Vec::new()),
        Progress::More | Progress::Done(..) | Progress::Wrong(_) => progress,
    }
}

/// What the client of a proxy hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Connected,
    Denied,
    Unreachable,
}

/// Returns the answer to a request, as its protocol has it; what came directly hears nothing.
pub(super) fn reply(via: NetworkRoute, reply: Reply) -> &'static [u8] {
    match via {
        NetworkRoute::HttpConnect => http_connect::reply(reply),
        NetworkRoute::Socks5 => socks5::reply(reply),
        NetworkRoute::Direct | NetworkRoute::Dns | NetworkRoute::Datagram => &[],
    }
}

/// Reads a host as clients write it: an address, or a name. What only some programs take for an address is neither.
pub(super) fn host(text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(Target::Address(address.to_canonical()));
    }
    text.parse().ok().map(Target::Name)
}

#[cfg(test)]
mod tests;
