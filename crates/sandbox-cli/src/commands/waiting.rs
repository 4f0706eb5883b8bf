//! Waits for the library's futures. Only commands that need it start a runtime.

use tokio::runtime::{Builder, Runtime};

use crate::failure::{Failure, Kind};

/// Returns a runtime on this thread, which also hears signals.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_io())
}

/// Returns a runtime that can also wait for a time.
pub(crate) fn runtime_with_clock() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_all())
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.build().map_err(|error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing("cannot start the runtime")
            .hint("the system may be out of file descriptors: see `ulimit -n`")
    })
}

/// Waits for `future`.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(future))
}
