//! The place where tests stop the engine: each change on disk passes through [`step`] first.

use std::io;

/// Announces one change on disk. Outside of tests it does nothing.
///
/// # Errors
///
/// Fails in a test whose countdown has run out: from then on nothing may be written, as if the
/// process had been killed.
#[cfg(not(test))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the twin for tests fails when the countdown runs out"
)]
pub(crate) const fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use countdown::{step, with_steps};

#[cfg(test)]
mod countdown {
    use std::cell::Cell;

    use super::io;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Announces one change on disk; fails once the countdown of this thread has run out.
    pub(crate) fn step() -> io::Result<()> {
        LEFT.with(|left| match left.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the test stops the engine here")),
            Some(steps) => {
                left.set(Some(steps - 1));
                Ok(())
            }
        })
    }

    /// Runs `work` with `steps` changes allowed; returns its result and whether it ran out.
    pub(crate) fn with_steps<T>(steps: u64, work: impl FnOnce() -> T) -> (T, bool) {
        LEFT.with(|left| left.set(Some(steps)));
        let result = work();
        let ran_out = LEFT.with(|left| left.replace(None)) == Some(0);
        (result, ran_out)
    }
}
