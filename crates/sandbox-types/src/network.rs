//! The hosts that an operation may reach: patterns, parsed once, and what became of each attempt.
//!
//! # Terminology
//!
//! - **host name**: labels of letters, digits and hyphens, lower case, without the trailing dot.
//! - **pattern**: hosts and ports that may be reached, as in `*.example.com:443`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

mod pattern;
mod report;
#[cfg(test)]
mod tests;

pub use pattern::{HostPattern, PatternError};
pub use report::{NetworkConnection, NetworkDecision, NetworkReport, NetworkRoute};

/// The most patterns of one list.
pub const PATTERNS_MAX: usize = 1000;
/// The most different ports of one list: each is a socket of its own.
pub const PORTS_MAX: usize = 100;
/// The ports of a pattern that names none: HTTP and HTTPS.
pub const PORTS_DEFAULT: [u16; 2] = [80, 443];

/// The longest name in DNS, as text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The name of a host: labels of letters, digits and hyphens (international ones as `xn--…`), lower case, without a
/// trailing dot. Never something that a program would read as an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// Text that is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostNameError(&'static str);

impl HostName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this name lies below `parent`: has its labels and at least one more.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(parent.as_str())
            .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostNameError("a host name has at least one letter"));
        }
        if !name.is_ascii() {
            let why =
                "international names are written in their ASCII form, as in xn--bcher-kva.example";
            return Err(HostNameError(why));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(HostNameError("a host name has at most 253 characters"));
        }
        for label in name.split('.') {
            check_label(label)?;
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        if looks_like_number(last) {
            return Err(HostNameError(
                "it ends in a number, so it would be read as an address",
            ));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

fn check_label(label: &str) -> Result<(), HostNameError> {
    let why = if label.is_empty() {
        "there is nothing between two dots"
    } else if label.len() > LABEL_BYTES_MAX {
        "a part between dots has at most 63 characters"
    } else if !label
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || it == b'-')
    {
        "a host name has letters, digits, hyphens and dots only"
    } else if label.starts_with('-') || label.ends_with('-') {
        "a part between dots neither starts nor ends with a hyphen"
    } else {
        return Ok(());
    };
    Err(HostNameError(why))
}

/// As the URL standard has it: `127.1`, `0x7f.1` and `2130706433` are addresses for many programs.
fn looks_like_number(label: &str) -> bool {
    let digits = label.bytes().all(|it| it.is_ascii_digit());
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_hexdigit()));
    digits || hexadecimal
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The patterns of what may be reached. An empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct AllowList(Vec<HostPattern>);

impl AllowList {
    /// Returns the list that allows nothing.
    pub const fn nothing() -> Self {
        Self(Vec::new())
    }

    /// Reads one pattern from each text.
    ///
    /// # Errors
    ///
    /// Fails at the first text that is no pattern, and if there are more than [`PATTERNS_MAX`] patterns or
    /// [`PORTS_MAX`] ports.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, PatternError> {
        let patterns = texts
            .into_iter()
            .map(|text| text.as_ref().parse())
            .collect::<Result<_, _>>()?;
        Self::of(patterns)
    }

    /// Returns a list of these patterns.
    ///
    /// # Errors
    ///
    /// Fails if there are more than [`PATTERNS_MAX`] patterns or [`PORTS_MAX`] ports.
    pub fn of(patterns: Vec<HostPattern>) -> Result<Self, PatternError> {
        let list = Self(patterns);
        let too_many = if list.0.len() > PATTERNS_MAX {
            format!("a list has at most {PATTERNS_MAX} patterns")
        } else if list.ports().len() > PORTS_MAX {
            format!(
                "a list has at most {PORTS_MAX} different ports; `host:*` stands for all of them"
            )
        } else {
            return Ok(list);
        };
        let last = list.0.last().map(ToString::to_string);
        Err(PatternError::new(&last.unwrap_or_default(), too_many))
    }

    /// Returns the patterns.
    pub fn patterns(&self) -> &[HostPattern] {
        &self.0
    }

    /// Returns the ports that patterns name, and the default ones where they name none; in order, each once.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.0.iter().flat_map(HostPattern::ports).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns whether a pattern allows every port.
    pub fn has_any_port(&self) -> bool {
        self.0.iter().any(HostPattern::has_any_port)
    }

    /// Returns whether `name` may be reached on some port.
    pub fn knows(&self, name: &HostName) -> bool {
        self.0.iter().any(|pattern| pattern.matches_name(name))
    }

    /// Returns whether `name` may be reached on `port`.
    pub fn allows_name(&self, name: &HostName, port: u16) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| pattern.matches_name(name) && pattern.matches_port(port))
    }

    /// Returns whether `name` is written out in the list, for `port`: no star stands for it.
    pub fn names(&self, name: &HostName, port: u16) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| pattern.is_name(name) && pattern.matches_port(port))
    }

    /// Returns the longest prefix of a network in the list that holds `address`, for `port`.
    pub fn network_prefix(&self, address: IpAddr, port: u16) -> Option<u8> {
        self.0
            .iter()
            .filter(|pattern| pattern.matches_port(port))
            .filter_map(|pattern| pattern.prefix_holding(address))
            .max()
    }
}

impl TryFrom<Vec<String>> for AllowList {
    type Error = PatternError;

    fn try_from(texts: Vec<String>) -> Result<Self, PatternError> {
        Self::parse(texts)
    }
}

impl From<AllowList> for Vec<String> {
    fn from(list: AllowList) -> Self {
        list.0.iter().map(ToString::to_string).collect()
    }
}
