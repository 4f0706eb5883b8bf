//! The decision: may this be reached?

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sandbox_types::{AllowList, HostName};

use super::address;

/// What a guest wants to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A name; resolved by us.
    Name(HostName),
    /// An address that the guest has from somewhere else.
    Address(IpAddr),
}

/// Why something may not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// No pattern has this name.
    Name,
    /// Patterns have the name, with other ports.
    Port,
    /// No pattern has this address.
    Address,
    /// The address is special, and only wider patterns hold it.
    Special(&'static str),
    /// The name leads to special addresses only.
    LeadsToSpecial(IpAddr, &'static str),
    /// One of our own addresses that stands for nothing.
    Unused,
    /// Asked the proxy for something that is no host.
    NoHost,
    /// No connection.
    Datagram,
    /// More names than one operation may look up.
    TooManyNames,
    /// More ports than one operation may reach by patterns for all ports.
    TooManyPorts,
}

/// Returns whether `target` may be reached on `port`, as far as that is known before a look-up.
pub(super) fn check(list: &AllowList, target: &Target, port: u16) -> Result<(), Denial> {
    match target {
        Target::Name(name) if list.allows_name(name, port) => Ok(()),
        Target::Name(name) if list.knows(name) => Err(Denial::Port),
        Target::Name(_) => Err(Denial::Name),
        Target::Address(address) if is_named_loopback(list, *address, port) => Ok(()),
        Target::Address(address) => check_address(list, *address, port),
    }
}

fn check_address(list: &AllowList, address: IpAddr, port: u16) -> Result<(), Denial> {
    let address = address.to_canonical();
    let block = address::special(address);
    match (list.network_prefix(address, port), block) {
        (Some(_), None) => Ok(()),
        // 0.0.0.0/0 is not a wish to reach 127.0.0.1.
        (Some(prefix), Some(block)) if prefix >= block.prefix => Ok(()),
        (Some(_), Some(block)) => Err(Denial::Special(block.name)),
        (None, _) => Err(Denial::Address),
    }
}

/// Returns whether `address`, which `name` leads to, may be dialled: the name was checked before.
pub(super) fn check_resolved(
    list: &AllowList,
    name: &HostName,
    address: IpAddr,
    port: u16,
) -> Result<(), Denial> {
    let Some(block) = address::special(address) else {
        return Ok(());
    };
    if name.as_str() == LOCALHOST && is_named_loopback(list, address, port) {
        return Ok(());
    }
    check_address(list, address, port)
        .map_err(|_not_listed| Denial::LeadsToSpecial(address, block.name))
}

const LOCALHOST: &str = "localhost";

/// Programs look `localhost` up by themselves: whoever writes it in the list means the loopback addresses.
fn is_named_loopback(list: &AllowList, address: IpAddr, port: u16) -> bool {
    address.to_canonical().is_loopback()
        && LOCALHOST
            .parse()
            .is_ok_and(|localhost| list.names(&localhost, port))
}

/// Returns what to dial for an address that is allowed. Where the list names `localhost`, a program may try the
/// loopback address of the family in which nobody listens, and it cannot see that: its connection is made before ours.
pub(super) fn to_dial(list: &AllowList, address: IpAddr, port: u16) -> VecDeque<IpAddr> {
    let mut all = VecDeque::from([address]);
    if is_named_loopback(list, address, port) {
        all.extend(
            [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                .into_iter()
                .filter(|other: &IpAddr| other.is_ipv4() != address.is_ipv4()),
        );
    }
    all
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name is not in the list of allowed hosts"),
            Self::Port => f.write_str("the name is allowed on other ports only"),
            Self::Address => f.write_str("the address is not in the list of allowed hosts"),
            Self::Special(block) => {
                write!(f, "it is {block}, which only a pattern of its own allows")
            }
            Self::LeadsToSpecial(address, block) => write!(
                f,
                "the name leads to {address}, {block}, which only a pattern of its own allows"
            ),
            Self::Unused => f.write_str("no name was looked up that has this address"),
            Self::NoHost => f.write_str("what the proxy was asked for is no host"),
            Self::Datagram => f.write_str("only connections leave"),
            Self::TooManyNames => f.write_str("too many names were looked up"),
            Self::TooManyPorts => {
                f.write_str("too many different ports were reached; patterns can name some of them")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> AllowList {
        AllowList::parse(patterns).unwrap()
    }

    #[test]
    fn localhost_is_dialled_in_both_families() {
        let dialled = |pattern: &str, address: &str| {
            let all = to_dial(&list(&[pattern]), address.parse().unwrap(), 80);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(dialled("localhost:80", "::1"), ["::1", "127.0.0.1"]);
        assert_eq!(dialled("localhost:80", "127.0.0.1"), ["127.0.0.1", "::1"]);
        assert_eq!(dialled("[::1]:80", "::1"), ["::1"]);
        assert_eq!(dialled("localhost:81", "127.0.0.1"), ["127.0.0.1"]);
    }

    #[test]
    fn a_name_never_leads_inside_unless_the_address_is_listed_too() {
        let name: HostName = "a.example".parse().unwrap();
        let check = |patterns: &[&str], address: &str| {
            check_resolved(&list(patterns), &name, address.parse().unwrap(), 80).is_ok()
        };
        assert!(check(&["a.example"], "93.184.216.34"));
        for inside in [
            "127.0.0.1",
            "::1",
            "::ffff:10.0.0.1",
            "169.254.169.254",
            "64:ff9b::a00:1",
        ] {
            assert!(!check(&["a.example"], inside), "{inside}");
            assert!(
                !check(&["a.example", "*", "0.0.0.0/0", "::/0"], inside),
                "{inside}"
            );
        }
        assert!(check(&["a.example", "10.0.0.0/8"], "10.1.2.3"));
        assert!(check(&["a.example", "10.0.0.0/8"], "::ffff:10.1.2.3"));
        assert!(!check(&["a.example", "10.0.0.0/8:81"], "10.1.2.3"));
        assert!(!check(&["a.example", "localhost"], "127.0.0.1"));
        assert!(check(&["a.example", "127.0.0.1"], "127.0.0.1"));
    }

    #[test]
    fn literal_addresses_are_listed_as_such() {
        let check = |patterns: &[&str], address: &str, port| {
            let target = Target::Address(address.parse().unwrap());
            check(&list(patterns), &target, port)
        };
        assert_eq!(check(&["*"], "1.1.1.1", 443), Err(Denial::Address));
        assert_eq!(check(&["1.1.1.1"], "1.1.1.1", 443), Ok(()));
        assert_eq!(check(&["1.1.1.1"], "1.1.1.1", 25), Err(Denial::Address));
        assert_eq!(check(&["0.0.0.0/0:*"], "1.1.1.1", 25), Ok(()));
        let wide = check(&["0.0.0.0/0"], "169.254.169.254", 80);
        assert!(matches!(wide, Err(Denial::Special(_))));
        assert_eq!(check(&["169.254.169.254"], "169.254.169.254", 80), Ok(()));
        assert_eq!(check(&["localhost:8080"], "127.0.0.1", 8080), Ok(()));
        assert_eq!(check(&["localhost:8080"], "::1", 8080), Ok(()));
        assert_eq!(check(&["*:8080"], "127.0.0.1", 8080), Err(Denial::Address));
        assert_eq!(check(&[], "1.1.1.1", 443), Err(Denial::Address));
    }
}
