//! Sockets: of every family, to everywhere.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream},
    },
    time::Duration,
};

use super::{tell, tell_call, tell_result};
use crate::raw::call;

/// Long enough for a loopback, short enough for a test.
const PATIENCE: Duration = Duration::from_secs(3);

/// Families that no guest needs: name, family, type, protocol.
const FAMILIES: [(&str, usize, usize, usize); 22] = [
    ("AF_VSOCK", 40, 1, 0),
    ("AF_ALG", 38, 5, 0),
    ("AF_PACKET", 17, 3, 0x0300),
    ("AF_PACKET datagram", 17, 2, 0x0300),
    ("AF_XDP", 44, 3, 0),
    ("AF_NETLINK netfilter", 16, 3, 12),
    ("AF_NETLINK audit", 16, 3, 9),
    ("AF_NETLINK generic", 16, 3, 16),
    ("AF_NETLINK kobject events", 16, 3, 15),
    ("AF_NETLINK xfrm", 16, 3, 6),
    ("AF_NETLINK socket diagnosis", 16, 3, 4),
    ("AF_BLUETOOTH", 31, 3, 1),
    ("AF_CAN", 29, 3, 1),
    ("AF_TIPC", 30, 1, 0),
    ("AF_KEY", 15, 3, 2),
    ("AF_SMC", 43, 1, 0),
    ("AF_RDS", 21, 5, 0),
    ("AF_X25", 9, 5, 0),
    ("AF_PPPOX", 24, 1, 0),
    ("raw ICMP", 2, 3, 1),
    ("MPTCP", 2, 1, 262),
    ("SMC over IP", 2, 1, 256),
];

/// Makes sockets of all families.
pub(super) fn families() {
    for (name, family, kind, protocol) in FAMILIES {
        tell_call(name, || call(libc::SYS_socket, &[family, kind, protocol]));
    }
    let mut pair = [0_i32; 2];
    let pair = pair.as_mut_ptr().addr();
    for (name, family) in [("socketpair AF_TIPC", 30), ("socketpair AF_RDS", 21)] {
        tell_call(name, || call(libc::SYS_socketpair, &[family, 1, 0, pair]));
    }
}

/// Connects by TCP, and says a word.
pub(super) fn connect(addresses: &[&str]) {
    for address in addresses {
        let to: SocketAddr = address.parse().expect("an address");
        let connected =
            TcpStream::connect_timeout(&to, PATIENCE).and_then(|mut it| it.write_all(b"escape"));
        tell_result(&format!("connect to {address}"), connected);
    }
}

/// Sends datagrams. Whether they arrive is seen there.
pub(super) fn datagrams(addresses: &[&str]) {
    for address in addresses {
        let to: SocketAddr = address.parse().expect("an address");
        let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sent = UdpSocket::bind(own).and_then(|socket| socket.send_to(b"escape", to));
        tell_result(&format!("datagram to {address}"), sent);
    }
}

/// Connects to sockets of the host: `@NAME` or a path.
pub(super) fn unix(names: &[&str]) {
    for name in names {
        let connected = match name.strip_prefix('@') {
            Some(name) => {
                UnixAddress::from_abstract_name(name).and_then(|it| UnixStream::connect_addr(&it))
            }
            None => UnixStream::connect(name),
        };
        tell_result(
            &format!("connect to {name}"),
            connected.and_then(|mut it| it.write_all(b"escape")),
        );
        let sent = UnixDatagram::unbound().and_then(|it| match name.strip_prefix('@') {
            Some(name) => it.send_to_addr(b"escape", &UnixAddress::from_abstract_name(name)?),
            None => it.send_to(b"escape", name),
        });
        // A stream refuses datagrams in its own way: then the name was reached.
        let reached = match sent {
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(0),
            other => other,
        };
        tell_result(&format!("datagram to {name}"), reached);
    }
}

/// Sends bytes and prints what comes back, in hexadecimal digits: `ADDRESS HEX…`.
pub(super) fn exchange(arguments: &[&str]) {
    let to: SocketAddr = arguments[0].parse().expect("an address");
    for (index, text) in arguments[1..].iter().enumerate() {
        let answer = TcpStream::connect_timeout(&to, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&bytes(text))?;
            let mut heard = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                heard.extend_from_slice(&piece[..length]);
                if heard.len() > 4096 || heard.windows(6).any(|it| it == b"canary") {
                    break;
                }
            }
            Ok(heard)
        });
        let heard = answer.unwrap_or_default();
        let is_reached = heard.windows(6).any(|it| it == b"canary");
        let first = String::from_utf8_lossy(&heard);
        let first = first
            .lines()
            .next()
            .unwrap_or("nothing")
            .replace(|c: char| c.is_control(), "?");
        tell(
            &format!("request {index}"),
            if is_reached { "through" } else { &first },
        );
    }
}

/// Opens connections, says half a word on each, and keeps them: `ADDRESS COUNT`. Then asks whether anybody answers.
pub(super) fn hold(arguments: &[&str]) {
    let to: SocketAddr = arguments[0].parse().expect("an address");
    let mut held = Vec::new();
    for _ in 0..super::number(arguments, 1) {
        match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(mut stream) => {
                if stream.write_all(b"CONNECT ").is_ok() {
                    held.push(stream);
                }
            }
            Err(_full) => break,
        }
    }
    println!("made {}", held.len());
    let huge = vec![b'a'; 1 << 20];
    if let Ok(mut stream) = TcpStream::connect_timeout(&to, PATIENCE) {
        let sent = stream
            .write_all(b"CONNECT a HTTP/1.1\r\nX: ")
            .and_then(|()| stream.write_all(&huge));
        println!("huge header: {}", sent.is_ok());
    }
}

/// Offers a descriptor of the host at a socket: `PATH FILE`. The helper outside.
pub(super) fn offer(arguments: &[&str]) {
    let _stale = std::fs::remove_file(arguments[0]);
    let listener = UnixListener::bind(arguments[0]).unwrap();
    let file = std::fs::read(arguments[1]).unwrap();
    println!("offered");
    while let Ok((mut stream, _)) = listener.accept() {
        // What a passed descriptor would give: the file's content.
        let _gone = stream.write_all(&file);
    }
}

/// Takes what is offered.
pub(super) fn take(arguments: &[&str]) {
    let taken = UnixStream::connect(arguments[0]).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        print!("{text}");
        Ok(())
    });
    tell_result("take what is offered", taken);
}

/// Reads hexadecimal digits.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let pairs = digits
        .chunks(2)
        .map(|it| std::str::from_utf8(it).expect("digits"));
    pairs
        .map(|it| u8::from_str_radix(it, 16).expect("digits"))
        .collect()
}
