//! Waits for the library's futures. Only commands that need it start a runtime.

use sandbox_core::Cancellation;
use tokio::runtime::{Builder, Runtime};

use crate::failure::{Failure, Kind};

/// Returns a runtime on this thread, which also hears signals.
pub(crate) fn runtime_with_signals() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_io())
}

/// Returns a runtime that can also wait for a time, and hears signals.
pub(crate) fn runtime_with_all() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_all())
}

/// Returns a runtime that can also wait for a time.
pub(crate) fn runtime_with_clock() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_time())
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.build().map_err(|error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing("cannot start the runtime")
            .hint("the system may be out of file descriptors: see `ulimit -n`")
    })
}

/// Waits for `future`, without a descriptor that is written to wake this thread: if that write fails, nobody wakes it.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(built(&mut Builder::new_current_thread())?.block_on(future))
}

/// As [`wait_for`], for what changes the workspace step by step: from here on, Ctrl-C and its like end nothing half-way.
pub(crate) fn to_the_end<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let _signals = Cancellation::on_signals().map_err(|error| {
        Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
    })?;
    wait_for(future)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use tokio::signal::unix::{SignalKind, signal};

    use super::*;

    #[test]
    fn only_who_hears_signals_is_woken_by_a_descriptor() {
        let hears = async || signal(SignalKind::user_defined2()).is_ok();
        let heard = runtime_with_signals().unwrap().block_on(hears());
        assert!(heard);
        for runtime in [runtime_with_clock, || {
            built(&mut Builder::new_current_thread())
        }] {
            let runtime = runtime().unwrap();
            let heard = catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(hears())));
            assert!(heard.is_err(), "it has a descriptor");
        }
        let done = wait_for(async { tokio::task::spawn_blocking(|| 1).await.unwrap() });
        assert_eq!(done.unwrap(), 1);
    }
}
