//! What is remembered of each attempt, with bounds: a guest may make millions.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sandbox_types::{
    NetworkConnection, NetworkDecision, NetworkReport, NetworkRoute, Violation, ViolationKind,
};

use super::{
    Activity,
    policy::{Denial, Target},
};

/// Entries of a report.
const ENTRIES_MAX: usize = 1000;
/// Violations, each of another kind of refusal.
const VIOLATIONS_MAX: usize = 100;

/// One attempt that is going on.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) name: Option<String>,
    pub(super) address: Option<String>,
    pub(super) port: u16,
    pub(super) via: NetworkRoute,
    pub(super) since: Instant,
}

impl Attempt {
    /// Returns the attempt to reach `target`, if that is known to be a host.
    pub(super) fn new(
        target: Option<&Target>,
        port: u16,
        via: NetworkRoute,
        since: Instant,
    ) -> Self {
        let (name, address) = match target {
            Some(Target::Name(name)) => (Some(name.to_string()), None),
            Some(Target::Address(address)) => (None, Some(address.to_string())),
            None => (None, None),
        };
        Self {
            name,
            address,
            port,
            via,
            since,
        }
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Allowed { received: u64, sent: u64 },
    Denied(Denial),
    Failed(String),
}

/// The record of one guest.
#[derive(Debug)]
pub(super) struct Record {
    began: Instant,
    activity: Activity,
    /// What was told of as a violation, and which look-ups are in the report: programs ask again and again.
    told: BTreeSet<String>,
    untold: u64,
}

impl Record {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            activity: Activity::default(),
            told: BTreeSet::new(),
            untold: 0,
        }
    }

    /// Adds an attempt that is over.
    pub(super) fn add(&mut self, attempt: Attempt, fate: Fate) {
        let (received, sent) = match fate {
            Fate::Allowed { received, sent } => (received, sent),
            Fate::Denied(_) | Fate::Failed(_) => (0, 0),
        };
        self.activity.bytes.0 += received;
        self.activity.bytes.1 += sent;
        let (decision, reason) = match &fate {
            Fate::Allowed { .. } => (NetworkDecision::Allowed, None),
            Fate::Denied(why) => (NetworkDecision::Denied, Some(why.to_string())),
            Fate::Failed(why) => (NetworkDecision::Failed, Some(why.clone())),
        };
        if let Fate::Denied(why) = &fate
            && !self.tell(&attempt, why)
            && [NetworkRoute::Dns, NetworkRoute::Datagram].contains(&attempt.via)
        {
            return;
        }
        let connections = &mut self.activity.report.connections;
        if connections.len() >= ENTRIES_MAX {
            self.activity.report.truncated = true;
            return;
        }
        connections.push(NetworkConnection {
            at_ms: milliseconds(attempt.since.saturating_duration_since(self.began)),
            duration_ms: milliseconds(attempt.since.elapsed()),
            name: attempt.name,
            address: attempt.address,
            port: attempt.port,
            via: attempt.via,
            decision,
            reason,
            bytes_in: received,
            bytes_out: sent,
        });
    }

    /// Adds a violation; returns whether it is one that was not told before.
    fn tell(&mut self, attempt: &Attempt, why: &Denial) -> bool {
        let host = match (&attempt.name, &attempt.address) {
            (Some(name), _) => name.as_str(),
            (None, Some(address)) => address.as_str(),
            (None, None) => "what was asked for",
        };
        let what = match attempt.via {
            NetworkRoute::Datagram => "datagram",
            NetworkRoute::Dns
            | NetworkRoute::Direct
            | NetworkRoute::HttpConnect
            | NetworkRoute::Socks5 => "connection",
        };
        let detail = if attempt.via == NetworkRoute::Dns {
            format!("look-up of {host}: {why}")
        } else if host.contains(':') {
            format!("{what} to [{host}]:{}: {why}", attempt.port)
        } else {
            format!("{what} to {host}:{}: {why}", attempt.port)
        };
        if self.told.contains(&detail) {
            return false;
        }
        if self.told.len() >= VIOLATIONS_MAX {
            self.untold += 1;
            return true;
        }
        self.told.insert(detail.clone());
        self.activity.violations.push(Violation {
            kind: ViolationKind::Network,
            detail,
        });
        true
    }

    /// Returns all of it, in the order of the beginnings.
    pub(super) fn finish(mut self) -> Activity {
        if self.untold > 0 {
            self.activity.violations.push(Violation {
                kind: ViolationKind::Network,
                detail: format!("{} more refused attempts", self.untold),
            });
        }
        let NetworkReport { connections, .. } = &mut self.activity.report;
        connections.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        self.activity
    }
}

fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
