//! HTTP `CONNECT` (RFC 9110, section 9.3.6). Other requests are not proxied: they need no proxy here.

use sandbox_types::NetworkRoute;

use super::handshake::{Progress, Reply, Request, Step, host};

const HEAD_END: &[u8] = b"\r\n\r\n";
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const DENIED: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 37\r\nConnection: close\r\n\r\nnot in the list of allowed hosts here\n";
const UNREACHABLE: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const MALFORMED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NOT_PROXIED: &[u8] = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 57\r\nConnection: close\r\n\r\n\
    only CONNECT is proxied; without a proxy setting it works\n";

/// Reads a request up to the end of its head. Only the target decides: no header is looked at.
pub(super) fn request(bytes: &[u8]) -> Progress<Step> {
    let Some(end) = bytes.windows(HEAD_END.len()).position(|at| at == HEAD_END) else {
        return Progress::More;
    };
    let malformed = || Progress::Wrong(MALFORMED.to_vec());
    let head = bytes.get(..end).unwrap_or_default();
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else {
        return malformed();
    };
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (method, target, version, words.next())
    else {
        return malformed();
    };
    if method != "CONNECT" {
        return Progress::Wrong(NOT_PROXIED.to_vec());
    }
    let Some((name, port)) = authority(target) else {
        return malformed();
    };
    let request = Request {
        target: host(name),
        port,
        via: NetworkRoute::HttpConnect,
    };
    Progress::Done(Step::Request(request), end + HEAD_END.len())
}

/// Splits `host:port`; IPv6 addresses stand in brackets.
fn authority(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| *port != 0 && is_number)?;
    let inside = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inside {
        Some(address) => address.contains(':').then_some((address, port)),
        None => (!name.contains(':') && !name.is_empty()).then_some((name, port)),
    }
}

pub(super) fn reply(reply: Reply) -> &'static [u8] {
    match reply {
        Reply::Connected => CONNECTED,
        Reply::Denied => DENIED,
        Reply::Unreachable => UNREACHABLE,
    }
}
