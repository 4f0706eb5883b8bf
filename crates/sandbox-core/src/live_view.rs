//! What the operations of all sandboxes use, look after look: the figures of `sandbox top`.

use std::{cmp::Ordering, collections::BTreeMap, time::Instant};

use jiff::{SignedDuration, Timestamp};
use sandbox_state::ReadError;
use sandbox_types::{OperationId, SandboxName};
use serde::{Deserialize, Serialize};

use crate::{
    core::SandboxCore,
    home::{self, Home, Overrides},
    registry::{FindError, SandboxRecord},
    suspend::RunningNow,
    usage_now::UsageNow,
};

/// Looks at what runs, again and again. Sandboxes stay open between looks, so a look is cheap.
#[derive(Debug)]
pub struct LiveView {
    home: Home,
    only: Option<SandboxName>,
    open: BTreeMap<SandboxName, Opened>,
    before: BTreeMap<(SandboxName, OperationId), Measured>,
}

/// A sandbox between two looks.
#[derive(Debug)]
struct Opened {
    core: SandboxCore,
    /// The newest record of the journal when `running` was read from it.
    newest: Option<u64>,
    running: Vec<RunningNow>,
}

/// The CPU time of an operation at one look.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    cpu_ms: f64,
}

/// What runs at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveLook {
    /// When it was looked.
    pub at: Timestamp,
    /// How many sandboxes there are.
    pub sandboxes: usize,
    /// Sandboxes whose configuration or journal cannot be read: what runs in them is not known.
    pub unreadable: Vec<SandboxName>,
    /// What runs, those with the most CPU time a second first.
    pub operations: Vec<LiveOperation>,
}

/// An operation that runs, and what it uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveOperation {
    /// Its sandbox.
    pub sandbox: SandboxName,
    /// The operation.
    #[serde(flatten)]
    pub operation: RunningNow,
    /// What it uses now; `None` while it has no process, as in [`RunningNow::usage`].
    pub usage: Option<UsageNow>,
    /// CPU time per time since the look before, at the first look since its start; 100 is one processor.
    pub cpu_percent: Option<f64>,
}

impl LiveView {
    /// Looks at all sandboxes of `home`, or at the one of that name only. Settles nothing in them.
    pub fn new(home: Home, only: Option<SandboxName>) -> Self {
        Self {
            home,
            only,
            open: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// Fails when the sandboxes cannot be listed, or there is none of that name.
    pub fn look(&mut self) -> Result<LiveLook, FindError> {
        let records = match &self.only {
            Some(name) => vec![self.home.find(name)?],
            None => self.home.list()?,
        };
        let sandboxes = records.len();
        let unreadable = self.open_those_of(records);
        let mut look = LiveLook {
            at: home::now(),
            sandboxes,
            unreadable,
            operations: Vec::new(),
        };
        let before = std::mem::take(&mut self.before);
        for (name, opened) in &mut self.open {
            if opened.read().is_err() {
                look.unreadable.push(name.clone());
                continue;
            }
            for operation in opened.running.iter().cloned() {
                let key = (name.clone(), operation.id.clone());
                let usage = operation.usage();
                let measured = usage.map(|usage| Measured {
                    at: Instant::now(),
                    cpu_ms: usage.cpu_ms,
                });
                look.operations.push(LiveOperation {
                    sandbox: name.clone(),
                    cpu_percent: measured.map(|now| {
                        now.percent(before.get(&key), look.at.duration_since(operation.since))
                    }),
                    usage,
                    operation,
                });
                if let Some(measured) = measured {
                    self.before.insert(key, measured);
                }
            }
        }
        look.operations.sort_by(LiveOperation::by_use);
        Ok(look)
    }

    /// Opens sandboxes that are new, closes those that are gone or were made again, and names those that cannot be opened.
    fn open_those_of(&mut self, records: Vec<SandboxRecord>) -> Vec<SandboxName> {
        self.open
            .retain(|_, opened| records.iter().any(|record| opened.is_of(record)));
        let mut unreadable = Vec::new();
        for record in records {
            let name = record.name.clone();
            if self.open.contains_key(&name) {
                continue;
            }
            match self.home.open_to_examine(record, &Overrides::default()) {
                Ok(core) => {
                    let opened = Opened {
                        core,
                        newest: None,
                        running: Vec::new(),
                    };
                    self.open.insert(name, opened);
                }
                Err(_said_by_every_other_command) => unreadable.push(name),
            }
        }
        unreadable
    }
}

impl Opened {
    /// Reads what runs, from the journal only if something was added to it.
    fn read(&mut self) -> Result<(), ReadError> {
        let newest = self.core.records(1)?.first().map(|record| record.sequence);
        if newest == self.newest {
            self.running.retain(|it| it.process.is_alive());
        } else {
            self.running = self.core.running()?;
            self.newest = newest;
        }
        Ok(())
    }

    /// Whether this is the sandbox of the record, and not one of that name that was destroyed since.
    fn is_of(&self, record: &SandboxRecord) -> bool {
        let own = self.core.record();
        (&own.name, own.created_at) == (&record.name, record.created_at)
    }
}

impl Measured {
    /// Returns the share of one processor since `before`, else since the start, `running` ago.
    fn percent(self, before: Option<&Self>, running: SignedDuration) -> f64 {
        let (cpu_ms, time) = match before {
            // Processes that ended take their time along.
            Some(before) => (
                (self.cpu_ms - before.cpu_ms).max(0.0),
                self.at.duration_since(before.at).as_secs_f64(),
            ),
            None => (self.cpu_ms, running.as_secs_f64()),
        };
        // A clock that was set back, or two looks at once.
        if time <= 0.0 {
            return 0.0;
        }
        cpu_ms / 10.0 / time
    }
}

impl LiveOperation {
    /// Most CPU time first, then most memory, then the oldest.
    fn by_use(&self, other: &Self) -> Ordering {
        let cpu = |it: &Self| it.cpu_percent.unwrap_or(0.0);
        let memory = |it: &Self| it.usage.map_or(0, |usage| usage.memory_bytes);
        cpu(other)
            .total_cmp(&cpu(self))
            .then(memory(other).cmp(&memory(self)))
            .then(self.operation.since.cmp(&other.operation.since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cpu_time_counts_since_the_look_before_else_since_the_start() {
        let at = Instant::now();
        let first = Measured { at, cpu_ms: 500.0 };
        let running = SignedDuration::from_secs(2);
        let near = |percent: f64, expected: f64| (percent - expected).abs() < 1e-9;
        assert!(near(first.percent(None, running), 25.0));
        let second = Measured {
            at: at + Duration::from_secs(1),
            cpu_ms: 2000.0,
        };
        assert!(near(second.percent(Some(&first), running), 150.0));
        let fewer = Measured {
            cpu_ms: 100.0,
            ..second
        };
        assert!(near(fewer.percent(Some(&first), running), 0.0));
        assert!(near(first.percent(None, SignedDuration::ZERO), 0.0));
    }
}
