//! What operations used: questions to the usage history.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sandbox_monitor::{HistoryReadError, Statistics, UsageRecord};
use sandbox_types::OperationId;

use crate::{core::SandboxCore, home::now};

impl SandboxCore {
    /// Returns what operations did and used in the last `span`.
    ///
    /// # Errors
    ///
    /// Fails when the usage history cannot be read.
    pub fn statistics(&self, span: Duration) -> Result<Statistics, HistoryReadError> {
        let now = now();
        let since = SignedDuration::try_from(span)
            .ok()
            .and_then(|span| now.checked_sub(span).ok());
        let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
        self.sandbox
            .tracker()
            .statistics(since.max(Timestamp::UNIX_EPOCH), now)
    }

    /// Returns what the usage history has of one operation: its samples, then its end.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::statistics`].
    pub fn usage_of(&self, id: &OperationId) -> Result<Vec<UsageRecord>, HistoryReadError> {
        self.sandbox.tracker().operation(id)
    }
}
