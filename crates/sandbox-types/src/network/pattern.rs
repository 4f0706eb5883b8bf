//! One pattern: which hosts, on which ports.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{HostName, PORTS_DEFAULT};

/// Hosts and ports that may be reached.
///
/// ```text
/// example.com          this name, ports 80 and 443
/// *.example.com        every name below it, not itself
/// *                    every name
/// example.com:8443     this port only
/// example.com:*        every port
/// 192.0.2.7  [::1]:80  an address
/// 10.0.0.0/8  [fd00::/8]:443   a network
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    hosts: Hosts,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(HostName),
    Below(HostName),
    AnyName,
    Network { address: IpAddr, prefix: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Default,
    One(u16),
    Any,
}

/// Text that is no pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the host pattern '{pattern}': {reason}")]
pub struct PatternError {
    /// The text, short and on one line.
    pub pattern: String,
    /// Why not, and what can be used.
    pub reason: String,
}

impl PatternError {
    pub(super) fn new(text: &str, reason: impl Into<String>) -> Self {
        let short: String = text.chars().take(80).collect();
        Self {
            pattern: short.escape_debug().to_string(),
            reason: reason.into(),
        }
    }
}

impl HostPattern {
    /// Returns whether `name` is among the hosts.
    pub fn matches_name(&self, name: &HostName) -> bool {
        match &self.hosts {
            Hosts::Name(own) => own == name,
            Hosts::Below(parent) => name.is_below(parent),
            Hosts::AnyName => true,
            Hosts::Network { .. } => false,
        }
    }

    /// Returns whether the pattern is this name, written out.
    pub fn is_name(&self, name: &HostName) -> bool {
        matches!(&self.hosts, Hosts::Name(own) if own == name)
    }

    /// Returns the length of the network's prefix if `address` is in it.
    pub fn prefix_holding(&self, address: IpAddr) -> Option<u8> {
        match self.hosts {
            Hosts::Network {
                address: network,
                prefix,
            } => (masked(address, prefix)? == network).then_some(prefix),
            Hosts::Name(_) | Hosts::Below(_) | Hosts::AnyName => None,
        }
    }

    /// Returns whether `port` is among the ports.
    pub fn matches_port(&self, port: u16) -> bool {
        match self.ports {
            Ports::Default => PORTS_DEFAULT.contains(&port),
            Ports::One(own) => own == port,
            Ports::Any => true,
        }
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let (defaults, one) = match self.ports {
            Ports::Default => (PORTS_DEFAULT.as_slice(), None),
            Ports::One(port) => ([].as_slice(), Some(port)),
            Ports::Any => ([].as_slice(), None),
        };
        defaults.iter().copied().chain(one)
    }

    pub(super) fn has_any_port(&self) -> bool {
        self.ports == Ports::Any
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refuse = |reason: String| PatternError::new(text, reason);
        if text.contains("://") {
            let reason = "it is a URL; only its host and port belong here, as in example.com:443";
            return Err(refuse(reason.to_owned()));
        }
        let (hosts, port) = split(text).map_err(|reason| refuse(reason.to_owned()))?;
        let ports = port.map_or(Ok(Ports::Default), parse_port);
        Ok(Self {
            hosts: parse_hosts(hosts).map_err(refuse)?,
            ports: ports.map_err(|reason| refuse(reason.to_owned()))?,
        })
    }
}

/// Splits a pattern into its hosts and its port. Brackets are for IPv6, as in URLs.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, behind) = rest
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        if !inside.contains(':') {
            return Err("brackets are for IPv6 addresses, as in [::1]:80");
        }
        return match behind.strip_prefix(':') {
            Some(port) => Ok((inside, Some(port))),
            None if behind.is_empty() => Ok((inside, None)),
            None => Err("only a port can follow the bracket, as in [::1]:80 or [fd00::/8]:443"),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        // A bare IPv6 address has no port.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((hosts, port)) => Ok((hosts, Some(port))),
    }
}

fn parse_port(text: &str) -> Result<Ports, &'static str> {
    if text == "*" {
        return Ok(Ports::Any);
    }
    let digits = text.bytes().all(|it| it.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if port > 0 && digits => Ok(Ports::One(port)),
        Ok(_) | Err(_) => Err("a port is a number from 1 to 65535, or * for all"),
    }
}

fn parse_hosts(text: &str) -> Result<Hosts, String> {
    if let Some((address, prefix)) = text.split_once('/') {
        return parse_network(address, prefix);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return network(address, if address.is_ipv4() { 32 } else { 128 });
    }
    if text.contains(':') {
        return Err("this is no IPv6 address; with a port it is written as in [::1]:80".to_owned());
    }
    if text == "*" {
        return Ok(Hosts::AnyName);
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err(
            "a star stands for whole labels in front of a name, as in *.example.com".to_owned(),
        );
    }
    let name: HostName = name
        .parse()
        .map_err(|error: super::HostNameError| error.to_string())?;
    Ok(if below {
        Hosts::Below(name)
    } else {
        Hosts::Name(name)
    })
}

fn parse_network(address: &str, prefix: &str) -> Result<Hosts, String> {
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(
            "what stands before the slash is no address; a network is written as in 10.0.0.0/8"
                .to_owned(),
        );
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = prefix.bytes().all(|it| it.is_ascii_digit());
    match prefix.parse::<u8>() {
        Ok(prefix) if prefix <= longest && digits => network(address, prefix),
        Ok(_) | Err(_) => Err(format!(
            "the length of its prefix is a number from 0 to {longest}"
        )),
    }
}

fn network(address: IpAddr, prefix: u8) -> Result<Hosts, String> {
    if address.to_canonical() != address {
        let address = address.to_canonical();
        return Err(format!(
            "it is an IPv4 address in IPv6 form; write {address}"
        ));
    }
    match masked(address, prefix) {
        Some(first) if first == address => Ok(Hosts::Network { address, prefix }),
        Some(first) => Err(format!(
            "the address has bits behind its prefix; the network is {first}/{prefix}"
        )),
        None => Err("the prefix is too long".to_owned()),
    }
}

/// Returns the first address of the network of `address`; `None` if the prefix is too long.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    Some(match address {
        IpAddr::V4(it) => {
            let kept = u32::MAX
                .checked_shl(32_u32.checked_sub(prefix)?)
                .unwrap_or(0);
            IpAddr::V4((it.to_bits() & kept).into())
        }
        IpAddr::V6(it) => {
            let kept = u128::MAX
                .checked_shl(128_u32.checked_sub(prefix)?)
                .unwrap_or(0);
            IpAddr::V6((it.to_bits() & kept).into())
        }
    })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = match &self.hosts {
            Hosts::Name(name) => name.to_string(),
            Hosts::Below(name) => format!("*.{name}"),
            Hosts::AnyName => "*".to_owned(),
            Hosts::Network { address, prefix } => {
                let single = if address.is_ipv4() { 32 } else { 128 };
                let length = if *prefix == single {
                    String::new()
                } else {
                    format!("/{prefix}")
                };
                match (address, self.ports) {
                    (IpAddr::V4(_), _) | (IpAddr::V6(_), Ports::Default) => {
                        format!("{address}{length}")
                    }
                    (IpAddr::V6(_), Ports::One(_) | Ports::Any) => format!("[{address}{length}]"),
                }
            }
        };
        match self.ports {
            Ports::Default => f.write_str(&hosts),
            Ports::One(port) => write!(f, "{hosts}:{port}"),
            Ports::Any => write!(f, "{hosts}:*"),
        }
    }
}
