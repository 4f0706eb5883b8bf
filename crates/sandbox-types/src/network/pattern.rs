//! One pattern: which hosts, on which ports.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{HostName, PORTS_DEFAULT};

/// Hosts and ports that may be reached.
///
/// ```text
/// example.com            this name, ports 80 and 443
/// *.example.com          every name below it, not itself
/// *                      every name
/// example.com:8443       this port only
/// example.com:8000-8009  these ports
/// example.com:*          every port
/// 192.0.2.7  [::1]:80    an address
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
    Range { first: u16, last: u16 },
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
            Ports::Range { first, last } => (first..=last).contains(&port),
            Ports::Any => true,
        }
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let (defaults, range) = match self.ports {
            Ports::Default => (PORTS_DEFAULT.as_slice(), None),
            Ports::Range { first, last } => ([].as_slice(), Some(first..=last)),
            Ports::Any => ([].as_slice(), None),
        };
        defaults.iter().copied().chain(range.into_iter().flatten())
    }

    pub(super) fn has_any_port(&self) -> bool {
        self.ports == Ports::Any
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refuse = |reason: String| PatternError::new(text, reason);
        parse(text).map_err(|reason| match nearest(text) {
            Some(nearest) => refuse(format!("{reason}; write {nearest}")),
            None => refuse(reason),
        })
    }
}

fn parse(text: &str) -> Result<HostPattern, String> {
    if text.contains("://") {
        let reason = "it is a URL; only its host and port belong here, as in example.com:443";
        return Err(reason.to_owned());
    }
    let (hosts, port) = split(text)?;
    let ports = port.map_or(Ok(Ports::Default), parse_ports);
    Ok(HostPattern {
        hosts: parse_hosts(hosts)?,
        ports: ports?,
    })
}

/// Returns the pattern that was probably meant by `text`, which is none.
fn nearest(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text),
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    if rest == text && authority.parse::<IpAddr>().is_ok() {
        // A network with a mistake in its prefix.
        return None;
    }
    let host = authority.rsplit('@').next()?;
    let (host, port) = match host.rsplit_once(':') {
        // An IPv6 address, or nothing that has a port.
        Some((name, _)) if name.contains(':') && !name.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let port = match port
        .or(Some(scheme))
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("ssh" | "git+ssh" | "sftp") => ":22".to_owned(),
        Some("http" | "ws") if port.is_some() => ":80".to_owned(),
        Some("https" | "wss") if port.is_some() => ":443".to_owned(),
        Some("git") => ":9418".to_owned(),
        _ => port
            .filter(|it| parse_ports(it).is_ok())
            .map_or_else(String::new, |it| format!(":{it}")),
    };
    // `.example.com` and `*example.com` are how other programs say it.
    let below = host
        .strip_prefix("*.")
        .or_else(|| host.strip_prefix(['*', '.']));
    let host = match below {
        Some(name) if !name.is_empty() => format!("*.{name}"),
        Some(_) | None => host.to_owned(),
    };
    let pattern = parse(&format!("{host}{port}")).ok()?.to_string();
    (pattern != text).then_some(pattern)
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

fn parse_ports(text: &str) -> Result<Ports, &'static str> {
    if text == "*" {
        return Ok(Ports::Any);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<u16>().ok().filter(|it| *it > 0 && digits)
    };
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Ports::Range { first, last }),
        (Some(_), Some(_)) => Err("a range of ports starts with the lower one, as in 8000-8009"),
        (None, _) | (_, None) => {
            Err("a port is a number from 1 to 65535, a range as in 8000-8009, or * for all")
        }
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
                    (IpAddr::V6(_), Ports::Range { .. } | Ports::Any) => {
                        format!("[{address}{length}]")
                    }
                }
            }
        };
        match self.ports {
            Ports::Default => f.write_str(&hosts),
            Ports::Range { first, last } if first == last => write!(f, "{hosts}:{first}"),
            Ports::Range { first, last } => write!(f, "{hosts}:{first}-{last}"),
            Ports::Any => write!(f, "{hosts}:*"),
        }
    }
}
