//! The front door to measured figures: the usage history of a sandbox.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sandbox_types::OperationId;

use crate::{
    history::{
        History, HistoryFile, HistoryReadError, HistoryWriteError, UsageRecord, operation_mark,
    },
    host_stats::{HostError, HostUsage},
    stats::{self, Statistics},
};

/// Tracks the state of what runs in one sandbox: what its operations use, sample by sample, kept in a
/// file that any process may append to.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// use sandbox_monitor::{StateTracker, UsageRecord};
///
/// // The directory is the caller's, and nobody else's.
/// let tracker = StateTracker::open(directory.path());
/// tracker.append(&UsageRecord { at_ms: 60_000, cpu_us: 1500, samples: 1, ..UsageRecord::default() })?;
/// let statistics = tracker.statistics("1970-01-01T00:00:00Z".parse()?, "1970-01-01T01:00:00Z".parse()?)?;
/// assert_eq!(statistics.cpu_used_ms, 1.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StateTracker {
    file: HistoryFile,
}

impl StateTracker {
    /// Returns the history that is kept in `directory`. Nothing is read or created yet.
    pub fn open(directory: &Path) -> Self {
        Self {
            file: HistoryFile::new(directory),
        }
    }

    /// Returns where the file lies.
    pub fn path(&self) -> PathBuf {
        self.file.path()
    }

    /// Adds a record. It survives the end of this process, and a power cut as soon as the system has
    /// written it. Takes microseconds, but for one call in 4,096, which also shortens the file.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened, written or shortened.
    pub fn append(&self, record: &UsageRecord) -> Result<(), HistoryWriteError> {
        self.file.append(record)
    }

    /// Returns everything that is kept.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read. No file, and damaged records, are no error.
    pub fn history(&self) -> Result<History, HistoryReadError> {
        self.file.read()
    }

    /// Returns what is kept of one operation, oldest first: its samples and its end, as long as it is
    /// not summed up with others.
    ///
    /// # Errors
    ///
    /// As [`StateTracker::history`].
    pub fn operation(&self, id: &OperationId) -> Result<Vec<UsageRecord>, HistoryReadError> {
        let mark = operation_mark(id);
        let mut records = self.history()?.records;
        records.retain(|record| record.operation == mark);
        Ok(records)
    }

    /// Returns what operations did and used since `since`.
    ///
    /// # Errors
    ///
    /// As [`StateTracker::history`].
    pub fn statistics(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Statistics, HistoryReadError> {
        Ok(stats::of(&self.history()?, since, until))
    }

    /// Returns the sum of all that was ever recorded.
    ///
    /// # Errors
    ///
    /// As [`StateTracker::history`].
    pub fn total(&self) -> Result<UsageRecord, HistoryReadError> {
        let history = self.history()?;
        Ok(stats::sum_of(&history.records.iter().collect::<Vec<_>>()))
    }

    /// Returns the figures of the host now.
    ///
    /// # Errors
    ///
    /// As [`HostUsage::now`].
    pub fn host() -> Result<HostUsage, HostError> {
        HostUsage::now()
    }
}
