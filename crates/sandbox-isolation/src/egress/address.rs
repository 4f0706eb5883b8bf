//! Which addresses are special: none of them is dialled unless the list has it written out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses that do not lead to a public host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What it is for.
    pub(super) name: &'static str,
    /// The length of its prefix: a pattern that is at least as long is about this block.
    pub(super) prefix: u8,
}

/// The IANA registry of special IPv4 addresses, and one public address that clouds use for machine metadata.
const IPV4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "an address of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "a provider's shared address",
    ),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (
        Ipv4Addr::new(169, 254, 0, 0),
        16,
        "a link-local address (cloud metadata)",
    ),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "a protocol's own address"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a relay address"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (
        Ipv4Addr::new(198, 51, 100, 0),
        24,
        "a documentation address",
    ),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
    (
        Ipv4Addr::new(168, 63, 129, 16),
        32,
        "a cloud's metadata address",
    ),
];

/// What lies inside the public IPv6 range and is not public.
const IPV6: &[(Ipv6Addr, u8, &str)] = &[
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "a protocol's own address",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0),
        16,
        "a 6to4 address",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "a private address",
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "a link-local address",
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        "a multicast address",
    ),
    (Ipv6Addr::LOCALHOST, 128, "a loopback address"),
];

/// What a translator makes of IPv4 addresses (RFC 6052).
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// Returns the special block that `address` lies in; `None` if it is public. Addresses that stand for IPv4 ones are
/// judged as these.
pub(super) fn special(address: IpAddr) -> Option<Block> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_ipv4(address),
        IpAddr::V6(address) => special_ipv6(address),
    }
}

fn special_ipv4(address: Ipv4Addr) -> Option<Block> {
    let (_, prefix, name) = IPV4.iter().find(|(first, prefix, _)| {
        (address.to_bits() ^ first.to_bits()) >> (32 - u32::from(*prefix)) == 0
    })?;
    Some(Block {
        name,
        prefix: *prefix,
    })
}

fn special_ipv6(address: Ipv6Addr) -> Option<Block> {
    let bits = address.to_bits();
    let within =
        |first: Ipv6Addr, prefix: u8| (bits ^ first.to_bits()) >> (128 - u32::from(prefix)) == 0;
    if let Some((_, prefix, name)) = IPV6
        .iter()
        .find(|(first, prefix, _)| within(*first, *prefix))
    {
        return Some(Block {
            name,
            prefix: *prefix,
        });
    }
    if within(NAT64, 96) {
        let [.., a, b, c, d] = address.octets();
        // A pattern of IPv4 networks never holds it, and one of this length is about it alone.
        return special_ipv4(Ipv4Addr::new(a, b, c, d)).map(|block| Block {
            prefix: 96 + block.prefix,
            ..block
        });
    }
    // All public addresses start with these three bits.
    (!within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)).then_some(Block {
        name: "a reserved address",
        prefix: 128,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_are_seen_through() {
        for (address, name) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("0.0.0.0", "this network"),
            ("10.255.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.127.0.1", "shared"),
            ("169.254.169.254", "metadata"),
            ("168.63.129.16", "metadata"),
            ("198.19.255.255", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "reserved"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::127.0.0.1", "reserved"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "metadata"),
            ("64:ff9b:1::1", "reserved"),
            ("2002:7f00:1::", "6to4"),
            ("2001:0:4136:e378::", "protocol"),
            ("2001:2::1", "protocol"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "reserved"),
            ("ff02::1", "multicast"),
            ("100::1", "reserved"),
        ] {
            let found = special(address.parse().unwrap()).map(|it| it.name);
            assert!(
                found.is_some_and(|it| it.contains(name)),
                "{address}: {found:?}"
            );
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }
}
