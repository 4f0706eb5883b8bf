//! SOCKS 5 (RFC 1928): `CONNECT` without a password, by name or by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sandbox_types::NetworkRoute;

use super::{
    handshake::{Progress, Reply, Request, Step, host},
    policy::Target,
};

pub(super) const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

const CONNECTED: &[u8] = &[VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const DENIED: &[u8] = &[VERSION, 2, 0, 1, 0, 0, 0, 0, 0, 0];
const UNREACHABLE: &[u8] = &[VERSION, 4, 0, 1, 0, 0, 0, 0, 0, 0];
const NO_SUCH_COMMAND: &[u8] = &[VERSION, 7, 0, 1, 0, 0, 0, 0, 0, 0];
const NO_SUCH_ADDRESS: &[u8] = &[VERSION, 8, 0, 1, 0, 0, 0, 0, 0, 0];

/// Reads which methods a client knows.
pub(super) fn greeting(bytes: &[u8]) -> Progress<Step> {
    let Some(count) = bytes.get(1) else {
        return Progress::More;
    };
    let end = 2 + usize::from(*count);
    let Some(methods) = bytes.get(2..end) else {
        return Progress::More;
    };
    if methods.contains(&NO_PASSWORD) {
        Progress::Done(Step::Greeting(vec![VERSION, NO_PASSWORD]), end)
    } else {
        Progress::Wrong(vec![VERSION, NO_METHOD])
    }
}

/// Reads what a greeted client wants.
pub(super) fn request(bytes: &[u8]) -> Progress<Step> {
    match bytes {
        [] => return Progress::More,
        [VERSION, ..] => {}
        _ => return Progress::Wrong(Vec::new()),
    }
    let &[_, command, _, kind, first, ..] = bytes else {
        return Progress::More;
    };
    if command != CONNECT {
        return Progress::Wrong(NO_SUCH_COMMAND.to_vec());
    }
    let (start, length) = match kind {
        1 => (4, 4),
        3 => (5, usize::from(first)),
        4 => (4, 16),
        _ => return Progress::Wrong(NO_SUCH_ADDRESS.to_vec()),
    };
    let end = start + length;
    let (Some(address), Some(&[high, low])) = (bytes.get(start..end), bytes.get(end..end + 2))
    else {
        return Progress::More;
    };
    let request = Request {
        target: target(address, kind),
        port: u16::from_be_bytes([high, low]),
        via: NetworkRoute::Socks5,
    };
    Progress::Done(Step::Request(request), end + 2)
}

fn target(address: &[u8], kind: u8) -> Option<Target> {
    let literal: IpAddr = match kind {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(),
        4 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
        _ => return host(std::str::from_utf8(address).ok()?),
    };
    Some(Target::Address(literal.to_canonical()))
}

pub(super) fn reply(reply: Reply) -> &'static [u8] {
    match reply {
        Reply::Connected => CONNECTED,
        Reply::Denied => DENIED,
        Reply::Unreachable => UNREACHABLE,
    }
}
