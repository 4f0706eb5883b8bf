//! Both protocols: what is asked for, whatever the splits; what is refused; and no panic for any bytes.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// Plays a client whose bytes arrive in `pieces`; returns what it wants and what is left.
fn play(pieces: &[&[u8]]) -> Result<(Request, Vec<u8>), Vec<u8>> {
    let (mut buffer, mut greeted) = (Vec::new(), false);
    for piece in pieces {
        buffer.extend_from_slice(piece);
    }
    let mut end = 0;
    let mut seen = Vec::new();
    for piece in pieces {
        end += piece.len();
        seen.extend_from_slice(piece);
        loop {
            match read(&seen, greeted) {
                Progress::More => break,
                Progress::Wrong(answer) => return Err(answer),
                Progress::Done(Step::Greeting(_), used) => {
                    seen.drain(..used);
                    greeted = true;
                }
                Progress::Done(Step::Request(request), used) => {
                    seen.drain(..used);
                    seen.extend_from_slice(&buffer[end..]);
                    return Ok((request, seen));
                }
            }
        }
    }
    Err(b"more".to_vec())
}

fn name(text: &str) -> Target {
    Target::Name(text.parse().unwrap())
}

fn address(text: &str) -> Target {
    Target::Address(text.parse::<IpAddr>().unwrap())
}

fn connect(authority: &str) -> Result<(Option<Target>, u16), String> {
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: other.example\r\n\r\nrest");
    match play(&[head.as_bytes()]) {
        Ok((request, rest)) => {
            assert_eq!(
                (rest.as_slice(), request.via),
                (b"rest".as_slice(), NetworkRoute::HttpConnect)
            );
            Ok((request.target, request.port))
        }
        Err(answer) => Err(String::from_utf8(answer).unwrap()),
    }
}

fn socks(kind: u8, host: &[u8], port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 2, 2, 0, 5, 1, 0, kind];
    if kind == 3 {
        bytes.push(u8::try_from(host.len()).unwrap());
    }
    bytes.extend(host);
    bytes.extend(port.to_be_bytes());
    bytes
}

fn socks_target(kind: u8, host: &[u8]) -> Option<Target> {
    let (request, rest) = play(&[&socks(kind, host, 443)]).unwrap();
    assert_eq!(
        (request.port, request.via, rest.len()),
        (443, NetworkRoute::Socks5, 0)
    );
    request.target
}

#[test]
fn connect_asks_for_its_own_host_not_for_the_header() {
    assert_eq!(
        connect("Example.com:443"),
        Ok((Some(name("example.com")), 443))
    );
    assert_eq!(
        connect("example.com.:443"),
        Ok((Some(name("example.com")), 443))
    );
    assert_eq!(connect("10.0.0.1:80"), Ok((Some(address("10.0.0.1")), 80)));
    assert_eq!(connect("[::1]:80"), Ok((Some(address("::1")), 80)));
    assert_eq!(
        connect("[::ffff:127.0.0.1]:80"),
        Ok((Some(address("127.0.0.1")), 80))
    );
    for no_host in [
        "allowed.example@evil.example:443",
        "a%00b:80",
        "127.1:80",
        "0x7f000001:80",
        "ex\u{e4}mple:80",
    ] {
        assert_eq!(connect(no_host).unwrap().0, None, "{no_host}");
    }
    for wrong in [
        "example.com",
        "example.com:",
        "example.com:0",
        "example.com:+80",
        "example.com:99999",
        "::1:80",
        "a b:80",
    ] {
        assert!(
            connect(wrong).unwrap_err().starts_with("HTTP/1.1 400 "),
            "{wrong}"
        );
    }
}

#[test]
fn other_requests_are_told_to_connect() {
    for head in [
        "GET http://example.com/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "connect example.com:443 HTTP/1.1\r\n\r\n",
    ] {
        let answer = String::from_utf8(play(&[head.as_bytes()]).unwrap_err()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    for head in [
        "\r\n\r\n",
        "CONNECT\r\n\r\n",
        "CONNECT a:1 HTTP/2\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let answer = String::from_utf8(play(&[head.as_bytes()]).unwrap_err()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 40"), "{head:?}: {answer}");
    }
    let endless = vec![b'A'; HEAD_BYTES_MAX];
    assert_eq!(play(&[&endless]), Err(Vec::new()));
}

#[test]
fn socks_asks_for_names_and_addresses() {
    assert_eq!(socks_target(3, b"Example.com"), Some(name("example.com")));
    assert_eq!(socks_target(1, &[10, 0, 0, 1]), Some(address("10.0.0.1")));
    let mapped = "::ffff:127.0.0.1".parse::<std::net::Ipv6Addr>().unwrap();
    assert_eq!(
        socks_target(4, &mapped.octets()),
        Some(address("127.0.0.1"))
    );
    assert_eq!(
        socks_target(3, b"169.254.169.254"),
        Some(address("169.254.169.254"))
    );
    for no_host in [
        b"evil.example\0.allowed.example".as_slice(),
        b"",
        b"\xff\xfe",
        b"127.1",
    ] {
        assert_eq!(socks_target(3, no_host), None);
    }
    // No method without a password; a request to listen; an unknown kind of address.
    assert_eq!(play(&[&[5, 1, 2]]), Err(vec![5, 0xff]));
    assert_eq!(
        play(&[&[5, 1, 0, 5, 2, 0, 1, 1, 1, 1, 1, 0, 80]]).unwrap_err()[1],
        7
    );
    assert_eq!(
        play(&[&[5, 1, 0, 5, 1, 0, 9, 1, 1, 1, 1, 0, 80]]).unwrap_err()[1],
        8
    );
    assert_eq!(play(&[&[5, 1, 0, 4, 1, 0]]), Err(Vec::new()));
}

proptest! {
    #[test]
    fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..300), greeted: bool) {
        let _progress = read(&bytes, greeted);
    }

    #[test]
    fn splits_make_no_difference(
        first in prop_oneof![Just(4_u8), Just(5), Just(b'C')],
        rest in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(0_usize..60, 0..4),
        which in 0_usize..4,
    ) {
        let mut stream = match which {
            0 => b"CONNECT a.example:443 HTTP/1.1\r\nA: b\r\n\r\n".to_vec(),
            1 => socks(3, b"a.example", 443),
            2 => socks(1, &[1, 2, 3, 4], 80),
            _ => vec![first],
        };
        stream.extend(rest);
        let whole = play(&[&stream]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(play(&pieces), whole.clone());
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(play(&bytes), whole);
    }
}
