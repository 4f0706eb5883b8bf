//! How far a long work with snapshots is, for whoever watches it from another thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was done so far; it only grows.
#[derive(Debug, Default)]
pub struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
}

impl Progress {
    /// Returns how many files were looked at.
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Returns how much of their content, or of what is kept, is done.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Returns how much there is to do; 0 as long as that is not known.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Relaxed)
    }

    pub(crate) fn add_entry(&self, bytes: u64) {
        self.entries.fetch_add(1, Relaxed);
        self.add(bytes);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Relaxed);
    }
}
