//! What the guest's own kernel refuses because nobody listens there: a port that no pattern names, or a datagram. The
//! supervisor never sees those; it hears of them by the refusals, which are packets too.
//!
//! ```text
//! guest ──SYN to 8.8.8.8:8080──> lo ──> nobody listens ──RST──> the guest
//!                                                          └──> seen here
//! ```
//! Formats: RFC 9293 (TCP), RFC 792 and RFC 4443 (port unreachable, which repeats what it answers).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::io::Errno;

use crate::{seccomp_profile::Instruction, sys::packets};

/// As much of a packet as tells what was refused: an IPv4 header with all options, twice, and what follows.
pub(super) const PACKET_BYTES: usize = PASSED_BYTES as usize;
const PASSED_BYTES: u32 = 192;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
const RESET: u8 = 4;

/// How it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    Connection,
    Datagram,
}

/// Lets through: resets of connections that never were (their sequence number is 0), and "port unreachable".
/// Offsets in jumps count from the next instruction (`bpf(4)` of BSD, `Documentation/networking/filter.rst`).
const FILTER: [Instruction; 25] = {
    const fn load(code: u16, k: u32) -> Instruction {
        jump(code, k, 0, 0)
    }
    const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
        Instruction { code, jt, jf, k }
    }
    const BYTE: u16 = 0x30;
    const HALF: u16 = 0x28;
    const WORD: u16 = 0x20;
    const BYTE_AT_X: u16 = 0x50;
    const HALF_AT_X: u16 = 0x48;
    const WORD_AT_X: u16 = 0x40;
    /// X becomes the length of the IPv4 header.
    const X_HEADER: u16 = 0xb1;
    const AND: u16 = 0x54;
    const EQUAL: u16 = 0x15;
    const ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    [
        load(BYTE, 0),
        load(AND, 0xf0),
        jump(EQUAL, 0x40, 1, 0),
        jump(EQUAL, 0x60, 10, 20), // 14: IPv6; 24: drop
        // 4: IPv4.
        load(X_HEADER, 0),
        load(BYTE, 9),
        jump(EQUAL, ICMP as u32, 5, 0), // 12
        jump(EQUAL, TCP as u32, 0, 16), // 24
        load(WORD_AT_X, 4),
        jump(EQUAL, 0, 0, 14), // 24
        load(BYTE_AT_X, 13),
        jump(ANY_BIT, RESET as u32, 11, 12), // 23, 24
        load(HALF_AT_X, 0),
        jump(EQUAL, 0x0303, 9, 10), // 23, 24
        // 14: IPv6.
        load(BYTE, 6),
        jump(EQUAL, ICMP_V6 as u32, 5, 0), // 21
        jump(EQUAL, TCP as u32, 0, 7),     // 24
        load(WORD, 44),
        jump(EQUAL, 0, 0, 5), // 24
        load(BYTE, 53),
        jump(ANY_BIT, RESET as u32, 2, 3), // 23, 24
        load(HALF, 40),
        jump(EQUAL, 0x0104, 0, 1), // 23, 24
        load(RETURN, PASSED_BYTES),
        load(RETURN, 0),
    ]
};

/// Opens what sees refusals in this network namespace. A kernel may have no such sockets.
pub(super) fn watch() -> Result<OwnedFd, Errno> {
    packets::watch(&FILTER)
}

/// Reads what a packet that the filter let through refuses; `None` for the guest's own loopback, where its own
/// servers are.
pub(super) fn read(packet: &[u8]) -> Option<(Attempted, SocketAddr)> {
    let (protocol, source, rest) = open(packet)?;
    let (attempted, refused) = match protocol {
        // Who refuses is who was asked.
        TCP => (
            Attempted::Connection,
            SocketAddr::new(source, port(rest, 0)?),
        ),
        ICMP | ICMP_V6 => {
            let (protocol, asked, rest) = open_asked(rest.get(ICMP_HEADER..)?)?;
            (protocol == UDP).then_some(())?;
            (Attempted::Datagram, SocketAddr::new(asked, port(rest, 2)?))
        }
        _ => return None,
    };
    let is_own = refused.ip().is_loopback() || refused.ip().is_unspecified();
    (!is_own).then_some((attempted, refused))
}

/// Returns protocol, source and what follows the header.
fn open(packet: &[u8]) -> Option<(u8, IpAddr, &[u8])> {
    open_with(packet, 12, 8)
}

/// Returns protocol, destination and what follows the header.
fn open_asked(packet: &[u8]) -> Option<(u8, IpAddr, &[u8])> {
    open_with(packet, 16, 24)
}

/// `at_v4` and `at_v6` tell where the address is.
fn open_with(packet: &[u8], at_v4: usize, at_v6: usize) -> Option<(u8, IpAddr, &[u8])> {
    let first = packet.first()?;
    match first >> 4 {
        4 => {
            let address: [u8; 4] = packet.get(at_v4..at_v4 + 4)?.try_into().ok()?;
            let rest = packet.get(usize::from(first & 0xf) * 4..)?;
            Some((*packet.get(9)?, Ipv4Addr::from(address).into(), rest))
        }
        6 => {
            let address: [u8; 16] = packet.get(at_v6..at_v6 + 16)?.try_into().ok()?;
            let rest = packet.get(IPV6_HEADER..)?;
            Some((*packet.get(6)?, Ipv6Addr::from(address).into(), rest))
        }
        _ => None,
    }
}

fn port(bytes: &[u8], at: usize) -> Option<u16> {
    let port = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's interpreter does with the few instructions that are used here.
    fn passes(packet: &[u8]) -> bool {
        let (mut a, mut x, mut at) = (0_u32, 0, 0);
        let number = |from: usize, length: usize| {
            packet.get(from..from + length).map(|it| {
                it.iter()
                    .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
            })
        };
        loop {
            let Instruction { code, jt, jf, k } = FILTER[at];
            let offset = usize::try_from(k).unwrap();
            at += 1;
            let loaded = match code {
                0x30 => number(offset, 1),
                0x28 => number(offset, 2),
                0x20 => number(offset, 4),
                0x50 => number(x + offset, 1),
                0x48 => number(x + offset, 2),
                0x40 => number(x + offset, 4),
                0x54 => Some(a & k),
                0xb1 => {
                    x = usize::from(packet[offset] & 0xf) * 4;
                    Some(a)
                }
                0x15 | 0x45 => {
                    let holds = if code == 0x15 { a == k } else { a & k != 0 };
                    at += usize::from(if holds { jt } else { jf });
                    Some(a)
                }
                0x06 => return k > 0,
                other => panic!("{other:#x}"),
            };
            // A load behind the end drops the packet.
            let Some(loaded) = loaded else { return false };
            a = loaded;
        }
    }

    fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend(from.into_iter().chain(to));
        packet.extend(rest);
        packet
    }

    fn ipv6(protocol: u8, from: &str, to: &str, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        for address in [from, to] {
            packet.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        packet.extend(rest);
        packet
    }

    /// From port 8080, with a sequence number and flags.
    fn tcp(sequence: u8, flags: u8) -> Vec<u8> {
        vec![
            0x1f, 0x90, 0x90, 0, 0, 0, 0, sequence, 0, 0, 0, 9, 0x50, flags, 0, 0, 0, 0, 0, 0,
        ]
    }

    const GUEST: [u8; 4] = [10, 0, 0, 1];
    const ASKED: [u8; 4] = [8, 8, 8, 8];
    /// To port 123.
    const DATAGRAM: [u8; 8] = [0x90, 0, 0, 123, 0, 8, 0, 0];

    #[test]
    fn what_is_refused_is_read_from_the_refusal() {
        let reset = ipv4(TCP, ASKED, GUEST, &tcp(0, 0x14));
        let tcp6 = ipv6(TCP, "2001:db8::7", "2001:db8::1", &tcp(0, 0x14));
        let unreachable = |code: &[u8], asked: Vec<u8>| [code, &[0; 6], &asked].concat();
        let asked = ipv4(UDP, GUEST, ASKED, &DATAGRAM);
        let udp = ipv4(ICMP, ASKED, GUEST, &unreachable(&[3, 3], asked));
        let asked = ipv6(UDP, "2001:db8::1", "2001:db8::7", &DATAGRAM);
        let udp6 = ipv6(
            ICMP_V6,
            "2001:db8::7",
            "2001:db8::1",
            &unreachable(&[1, 4], asked),
        );
        for (packet, attempted, refused) in [
            (&reset, Attempted::Connection, "8.8.8.8:8080"),
            (&tcp6, Attempted::Connection, "[2001:db8::7]:8080"),
            (&udp, Attempted::Datagram, "8.8.8.8:123"),
            (&udp6, Attempted::Datagram, "[2001:db8::7]:123"),
        ] {
            assert!(passes(packet), "{refused}");
            let expected = (attempted, refused.parse().unwrap());
            assert_eq!(read(packet), Some(expected));
            for cut in 0..packet.len() {
                let cut = &packet[..cut];
                assert!(read(cut).is_none_or(|it| it == expected));
                let _does_not_panic = passes(cut);
            }
        }
    }

    #[test]
    fn all_else_stays_in_the_kernel() {
        let from = |flags: u8, sequence: u8| ipv4(TCP, ASKED, GUEST, &tcp(sequence, flags));
        for (what, packet) in [
            ("a connection begins", from(2, 0)),
            ("it is accepted", from(0x12, 7)),
            ("it is reset later", from(0x14, 7)),
            ("data", from(0x18, 9)),
            ("a datagram", ipv4(UDP, ASKED, GUEST, &DATAGRAM)),
            ("an echo", ipv4(ICMP, ASKED, GUEST, &[0; 16])),
            (
                "a neighbour",
                ipv6(ICMP_V6, "fe80::1", "ff02::1", &[135, 0, 0, 0]),
            ),
            ("nothing", Vec::new()),
        ] {
            assert!(!passes(&packet), "{what}");
        }
        let own = ipv4(TCP, [127, 0, 0, 1], [127, 0, 0, 1], &tcp(0, 0x14));
        assert_eq!(read(&own), None, "the guest's own loopback");
    }
}
