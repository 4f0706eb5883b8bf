//! When cgroups are attached that are attached late.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// How long a guest runs before built-in limits are attached on version 1, if it has a processor.
const LATE_AFTER: Duration = Duration::from_millis(10);
/// The same, however many there are.
const LATE_AFTER_MAX: Duration = Duration::from_millis(100);
/// Guests of this process for which cgroups will be made late.
static YOUNG: AtomicUsize = AtomicUsize::new(0);

/// One of them.
#[derive(Debug)]
pub(super) struct Young(());

impl Young {
    pub(super) fn new() -> Self {
        YOUNG.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Young {
    fn drop(&mut self) {
        YOUNG.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long after its start a guest gets cgroups: as long as it takes to get [`LATE_AFTER`] of a processor beside the
/// others that are as young. Making cgroups for each of many short operations would take longer than these.
pub(crate) fn late_after() -> Duration {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let young = YOUNG.load(Ordering::Relaxed).div_ceil(processors).max(1);
    LATE_AFTER
        .saturating_mul(u32::try_from(young).unwrap_or(u32::MAX))
        .min(LATE_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_young_guests_wait_longer_but_not_for_ever() {
        let guests: Vec<Young> = (0..10_000).map(|_| Young::new()).collect();
        assert_eq!(late_after(), LATE_AFTER_MAX);
        drop(guests);
        assert!(late_after() >= LATE_AFTER);
    }
}
