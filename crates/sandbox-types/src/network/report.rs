//! What became of each attempt to reach something.

use serde::{Deserialize, Serialize};

/// What an operation with a list of allowed hosts did over the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// The connections and refused look-ups, in the order of their beginning.
    pub connections: Vec<NetworkConnection>,
    /// Whether there were more than are listed.
    pub truncated: bool,
}

/// One connection, or one look-up that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConnection {
    /// The name that was asked for; none if the guest used an address.
    pub name: Option<String>,
    /// The address that was dialled, or that the guest asked for.
    pub address: Option<String>,
    /// The port; 53 for a look-up.
    pub port: u16,
    /// How the guest asked.
    pub via: NetworkRoute,
    /// What became of it.
    pub decision: NetworkDecision,
    /// Why not, or what failed.
    pub reason: Option<String>,
    /// Bytes that the guest received.
    pub bytes_in: u64,
    /// Bytes that the guest sent.
    pub bytes_out: u64,
    /// When it began, in milliseconds after the guest was started.
    pub at_ms: f64,
    /// How long it lasted, in milliseconds.
    pub duration_ms: f64,
}

/// How a guest asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkRoute {
    /// It connected.
    Direct,
    /// It looked a name up.
    Dns,
    /// It sent a datagram.
    Datagram,
    /// It asked the proxy with `CONNECT`.
    HttpConnect,
    /// It asked the proxy by SOCKS 5.
    Socks5,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkDecision {
    /// The list allows it.
    Allowed,
    /// The list does not allow it.
    Denied,
    /// The list allows it, and it could not be reached.
    Failed,
}

impl NetworkReport {
    /// Returns the bytes that the guest received and sent, as far as they are listed.
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |of: fn(&NetworkConnection) -> u64| self.connections.iter().map(of).sum();
        (sum(|it| it.bytes_in), sum(|it| it.bytes_out))
    }
}
