//! Our own addresses: each stands for one name, so that a connection tells which name was meant.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sandbox_types::HostName;

/// The blocks for benchmarking (RFC 2544, RFC 5180): no public host has such an address.
const IPV4_FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const IPV4_BITS: u32 = 17;
const IPV6_FIRST: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0);
const IPV6_BITS: u32 = 80;
/// The number of the name server and proxy.
const GATEWAY: u32 = 1;
/// The first number of a name; those before are ours.
const FIRST: u32 = 256;
/// The most names of one operation: a star lets a guest make up as many as it likes.
const NAMES_MAX: usize = 16_384;

/// The address of the name server and of the proxy.
pub(crate) const GATEWAY_IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// What an address stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The name server and proxy.
    Gateway,
    /// This name.
    Name(HostName),
    /// It is one of ours and was never given out.
    Unused,
    /// Itself.
    Address(IpAddr),
}

/// The names that have addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: BTreeMap<HostName, u32>,
    names: Vec<HostName>,
}

impl Names {
    /// Returns the two addresses that stand for `name`; `None` if there are too many names already.
    pub(super) fn addresses(&mut self, name: &HostName) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None if self.names.len() >= NAMES_MAX => return None,
            None => {
                let number = FIRST + u32::try_from(self.names.len()).ok()?;
                self.numbers.insert(name.clone(), number);
                self.names.push(name.clone());
                number
            }
        };
        Some((
            Ipv4Addr::from_bits(IPV4_FIRST.to_bits() + number),
            Ipv6Addr::from_bits(IPV6_FIRST.to_bits() + u128::from(number)),
        ))
    }

    /// Returns what `address` stands for.
    pub(super) fn meaning(&self, address: IpAddr) -> Meaning {
        let address = address.to_canonical();
        let number = match address {
            IpAddr::V4(it) => {
                let number = it.to_bits() ^ IPV4_FIRST.to_bits();
                (number >> IPV4_BITS == 0).then_some(u128::from(number))
            }
            IpAddr::V6(it) => {
                let number = it.to_bits() ^ IPV6_FIRST.to_bits();
                (number >> IPV6_BITS == 0).then_some(number)
            }
        };
        let Some(number) = number else {
            return Meaning::Address(address);
        };
        if number == u128::from(GATEWAY) {
            return Meaning::Gateway;
        }
        let index = number.checked_sub(u128::from(FIRST));
        let name = index
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.names.get(index));
        name.map_or(Meaning::Unused, |name| Meaning::Name(name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_name() {
        let mut names = Names::default();
        let name = |text: &str| text.parse::<HostName>().unwrap();
        let (ipv4, ipv6) = names.addresses(&name("a.example")).unwrap();
        assert_eq!(ipv4, Ipv4Addr::new(198, 18, 1, 0));
        let (other, _) = names.addresses(&name("b.example")).unwrap();
        assert_eq!(names.addresses(&name("a.example")), Some((ipv4, ipv6)));
        assert_ne!(ipv4, other);
        for address in [ipv4.into(), ipv6.into(), ipv4.to_ipv6_mapped().into()] {
            assert_eq!(names.meaning(address), Meaning::Name(name("a.example")));
        }
        assert_eq!(names.meaning(GATEWAY_IPV4.into()), Meaning::Gateway);
        let meaning = |text: &str| names.meaning(text.parse().unwrap());
        assert_eq!(meaning("2001:2::1"), Meaning::Gateway);
        for unused in [
            "198.18.0.0",
            "198.18.0.2",
            "198.18.1.2",
            "198.19.255.255",
            "2001:2::ffff",
        ] {
            assert_eq!(meaning(unused), Meaning::Unused, "{unused}");
        }
        for foreign in ["198.17.255.255", "198.20.0.0", "2001:2:1::", "::1"] {
            assert!(matches!(meaning(foreign), Meaning::Address(_)), "{foreign}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        for number in 0..NAMES_MAX {
            let name = format!("n{number}.example").parse().unwrap();
            assert!(names.addresses(&name).is_some());
        }
        assert_eq!(names.addresses(&"more.example".parse().unwrap()), None);
        assert!(names.addresses(&"n7.example".parse().unwrap()).is_some());
        let last = names.meaning("198.18.64.255".parse().unwrap());
        assert_eq!(last, Meaning::Name("n16383.example".parse().unwrap()));
    }
}
