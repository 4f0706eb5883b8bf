//! The end of an operation that another process asks for.
//!
//! Who kills an operation leaves an order in a file, and the process that carries the operation out finds
//! it there within a quarter of a second: `<sandbox>/orders/<operation>.json`. So no signal is ever sent to
//! a process by a number that may be another one's by now, a program that carries out many operations
//! loses none of the others, and nothing inside can give orders: our directories are in no guest's view.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandbox_types::{ExitReason, OperationId};
use serde::{Deserialize, Serialize};

use crate::{approvals::Who, private, sandbox::Sandbox};

/// Below the sandbox's directory.
const DIRECTORY: &str = "orders";
/// The version of an order's form.
const FORMAT: u32 = 1;

/// A signal that asks a command to end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KillSignal {
    /// SIGHUP.
    Hup,
    /// SIGINT, as Ctrl-C.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    #[default]
    Term,
    /// SIGKILL, which no command can refuse.
    Kill,
}

impl KillSignal {
    /// Returns its number, which is the same on every Linux.
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Term => 15,
        }
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Kill => "SIGKILL",
            Self::Term => "SIGTERM",
        }
    }
}

/// How an operation is to end.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// What every process of it gets first.
    pub signal: KillSignal,
    /// How long they have, until those that are left are killed.
    pub grace: Duration,
}

impl Default for Kill {
    /// SIGTERM, and five seconds.
    fn default() -> Self {
        Self {
            signal: KillSignal::default(),
            grace: Duration::from_secs(5),
        }
    }
}

/// Somebody has asked for the end of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KillRequested {
    /// Which one.
    pub operation: OperationId,
    /// The first signal.
    pub signal: KillSignal,
    /// How long until SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// Who.
    pub by: Who,
}

/// An order, as it lies in its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KillOrder {
    format: u32,
    at: Timestamp,
    #[serde(flatten)]
    requested: KillRequested,
}

impl KillOrder {
    pub(crate) fn new(requested: KillRequested, at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            at,
            requested,
        }
    }

    /// Returns how an operation ended that was ordered to: by the signal, whatever code its command then
    /// ended with. What ended it for another reason stays.
    pub(crate) fn exit(&self, exit: ExitReason) -> ExitReason {
        match exit {
            ExitReason::Exited(_) => ExitReason::Signaled(self.requested.signal.number()),
            ExitReason::Signaled(_)
            | ExitReason::TimedOut
            | ExitReason::LimitExceeded(_)
            | ExitReason::Cancelled
            | ExitReason::NotFound
            | ExitReason::NotExecutable => exit,
        }
    }
}

impl fmt::Display for KillOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KillRequested { signal, by, .. } = &self.requested;
        write!(
            f,
            "it was killed with {} by user {} ({}",
            signal.name(),
            by.uid,
            by.via
        )?;
        match &by.tty {
            Some(tty) => write!(f, " {tty})"),
            None => f.write_str(")"),
        }
    }
}

/// Looks for orders to one operation, which this process carries out.
#[derive(Debug)]
pub(crate) struct Orders {
    file: PathBuf,
    heard: Option<KillOrder>,
    /// When SIGKILL follows.
    kill_at: Option<Instant>,
}

impl Orders {
    pub(crate) fn of(sandbox: &Sandbox, operation: &OperationId) -> Self {
        Self {
            file: sandbox.order_file(operation),
            heard: None,
            kill_at: None,
        }
    }

    /// Returns the signal that is due now.
    pub(crate) fn signal(&mut self) -> Option<i32> {
        if let Some(order) = take(&self.file) {
            let KillRequested {
                signal, grace_ms, ..
            } = order.requested;
            self.kill_at = Instant::now().checked_add(Duration::from_millis(grace_ms));
            self.heard = Some(order);
            return Some(signal.number());
        }
        self.kill_at.take_if(|at| *at <= Instant::now())?;
        Some(KillSignal::Kill.number())
    }

    /// Ends the look-out; returns the order that was carried out.
    pub(crate) fn end(self) -> Option<KillOrder> {
        // One that came too late is for nobody.
        let _mostly_not_there = fs::remove_file(&self.file);
        self.heard
    }
}

/// Takes an order, so that it is carried out once. One that cannot be understood is from a later version,
/// whose process tells that nobody obeys.
fn take(file: &Path) -> Option<KillOrder> {
    let text = fs::read(file).ok()?;
    let order: KillOrder = serde_json::from_slice(&text).ok()?;
    fs::remove_file(file).ok()?;
    (order.format == FORMAT).then_some(order)
}

impl Sandbox {
    fn order_file(&self, operation: &OperationId) -> PathBuf {
        self.directory()
            .join(DIRECTORY)
            .join(format!("{operation}.json"))
    }

    /// Leaves an order for who carries the operation out.
    pub(crate) fn order(&self, order: &KillOrder) -> Result<(), (PathBuf, io::Error)> {
        let file = self.order_file(&order.requested.operation);
        let directory = self.directory().join(DIRECTORY);
        let write = || {
            private::make(&directory)?;
            let text = serde_json::to_string(order).map_err(io::Error::from)?;
            private::replace(&file, &text)
        };
        write().map_err(|error| (file.clone(), error))
    }

    /// Takes back what nobody has found.
    pub(crate) fn take_order_back(&self, operation: &OperationId) {
        let _mostly_not_there = fs::remove_file(self.order_file(operation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(signal: KillSignal, grace_ms: u64) -> KillOrder {
        let requested = KillRequested {
            operation: "op-1".parse().unwrap(),
            signal,
            grace_ms,
            by: Who::api(),
        };
        KillOrder::new(requested, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_order_is_obeyed_once_and_then_insisted_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("op-1.json");
        let mut orders = Orders {
            file: file.clone(),
            heard: None,
            kill_at: None,
        };
        assert_eq!(orders.signal(), None);
        let write = |order: &KillOrder| {
            private::replace(&file, &serde_json::to_string(order).unwrap()).unwrap();
        };
        write(&order(KillSignal::Term, 0));
        assert_eq!(orders.signal(), Some(15));
        assert!(!file.exists());
        assert_eq!(orders.signal(), Some(9));
        assert_eq!(orders.signal(), None);
        // Half written, or of another version: not obeyed.
        fs::write(&file, "{\"format\": 2").unwrap();
        assert_eq!(orders.signal(), None);
        let heard = orders.end().unwrap();
        assert!(!file.exists());
        assert_eq!(heard.exit(ExitReason::Exited(0)), ExitReason::Signaled(15));
        assert_eq!(heard.exit(ExitReason::Signaled(9)), ExitReason::Signaled(9));
        assert_eq!(heard.exit(ExitReason::TimedOut), ExitReason::TimedOut);
        assert!(heard.to_string().starts_with("it was killed with SIGTERM"));
    }
}
