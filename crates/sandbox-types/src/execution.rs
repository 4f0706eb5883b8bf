//! How a confined command ended, what it used and what it printed.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Enforcement, LimitKind, NetworkReport, Violation};

/// How the command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It ended by itself with this code.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// The wall-time limit ended it.
    TimedOut,
    /// Another limit ended it.
    LimitExceeded(LimitKind),
    /// The caller ended it.
    Cancelled,
    /// There is no such program in the guest's view.
    NotFound,
    /// The program exists and may not be executed.
    NotExecutable,
}

impl ExitReason {
    /// Returns whether the command ended by itself with code 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the tree of processes used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// CPU time, user and system, in milliseconds.
    pub cpu_ms: f64,
    /// Highest memory use in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes read from storage.
    pub io_read_bytes: u64,
    /// Bytes written to storage.
    pub io_write_bytes: u64,
    /// Most processes alive at once.
    pub processes_peak: u64,
    /// Bytes that the transaction holds.
    pub disk_written_bytes: u64,
    /// Bytes received from the network.
    pub net_rx_bytes: u64,
    /// Bytes sent to the network.
    pub net_tx_bytes: u64,
}

/// What `wait4(2)` accounts to the ended tree of processes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProcessUsage {
    /// CPU time, user and system, of every process of the tree.
    pub cpu: Duration,
    /// Resident memory of the largest single process.
    pub memory_largest_bytes: u64,
    /// Bytes read from storage.
    pub io_read_bytes: u64,
    /// Bytes written to storage.
    pub io_write_bytes: u64,
}

/// One output stream, captured up to the limit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CapturedOutput {
    /// The first bytes, up to the limit.
    pub data: Vec<u8>,
    /// How many bytes were printed in all.
    pub bytes: u64,
}

impl CapturedOutput {
    /// Returns whether more was printed than kept.
    pub fn truncated(&self) -> bool {
        self.bytes > self.data.len() as u64
    }
}

#[derive(Serialize, Deserialize)]
struct CapturedOutputDocument {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    truncated: bool,
    bytes: u64,
}

impl Serialize for CapturedOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8(self.data.clone()).ok();
        let base64 = text.is_none().then(|| BASE64_STANDARD.encode(&self.data));
        CapturedOutputDocument {
            text,
            base64,
            truncated: self.truncated(),
            bytes: self.bytes,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CapturedOutput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = CapturedOutputDocument::deserialize(deserializer)?;
        let data = match (document.text, document.base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD
                .decode(base64)
                .map_err(serde::de::Error::custom)?,
            (None, None) => Vec::new(),
        };
        Ok(Self {
            data,
            bytes: document.bytes,
        })
    }
}

/// The end of a confined command, as the launcher saw it.
#[derive(Clone, Debug)]
pub struct Execution {
    /// How it ended.
    pub exit: ExitReason,
    /// What it used.
    pub usage: Usage,
    /// The limits that it reached, whether or not they ended it.
    pub limits_reached: Vec<LimitKind>,
    /// What it reached over the network, if it had a list of allowed hosts.
    pub network: Option<NetworkReport>,
    /// What it ran into, as far as that can be seen.
    pub violations: Vec<Violation>,
    /// Which mechanisms held.
    pub enforcement: Enforcement,
    /// What it printed on standard output.
    pub stdout: CapturedOutput,
    /// What it printed on standard error.
    pub stderr: CapturedOutput,
}
