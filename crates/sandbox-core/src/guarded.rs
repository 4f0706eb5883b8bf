//! A caller whose panic ends its operation, and goes on when that is settled and recorded.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use sandbox_isolation::Cancellation;
use sandbox_types::{Stream, Verdict};

use crate::{
    approvals::Who,
    caller::{Answer, Caller, Event},
};

/// A caller between whose methods and the pipeline no panic passes.
pub(crate) struct Guarded<'a> {
    caller: &'a mut dyn Caller,
    cancel: &'a Cancellation,
    panic: Panic,
}

/// What a caller panicked with.
#[derive(Default)]
struct Panic(Cell<Option<Box<dyn Any + Send>>>);

impl Panic {
    fn catch<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(returned) => Some(returned),
            Err(payload) => {
                self.0.set(Some(payload));
                None
            }
        }
    }
}

impl<'a> Guarded<'a> {
    pub(crate) fn new(caller: &'a mut dyn Caller, cancel: &'a Cancellation) -> Self {
        Self {
            caller,
            cancel,
            panic: Panic::default(),
        }
    }

    /// Goes on with the caller's panic, if there was one.
    pub(crate) fn go_on(self) {
        if let Some(payload) = self.panic.0.into_inner() {
            resume_unwind(payload);
        }
    }

    /// Returns what the caller returns; `None` from its panic on, which cancels the operation.
    fn call<T>(&mut self, call: impl FnOnce(&mut dyn Caller) -> T) -> Option<T> {
        if let Some(payload) = self.panic.0.take() {
            self.panic.0.set(Some(payload));
            return None;
        }
        let returned = self.panic.catch(|| call(&mut *self.caller));
        if returned.is_none() {
            self.cancel.cancel();
        }
        returned
    }
}

impl fmt::Debug for Guarded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl Caller for Guarded<'_> {
    fn approve(&mut self, verdict: &Verdict) -> Answer {
        self.call(|caller| caller.approve(verdict))
            .unwrap_or(Answer::No)
    }

    fn who(&self) -> Who {
        self.panic
            .catch(|| self.caller.who())
            .unwrap_or_else(Who::api)
    }

    fn takes_output(&mut self) -> bool {
        // Who does not listen any more must not keep the guest waiting.
        self.call(|caller| caller.takes_output()).unwrap_or(true)
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let _lost = self.call(|caller| caller.output(stream, bytes));
    }

    fn stdin(&mut self) -> Option<OwnedFd> {
        self.call(|caller| caller.stdin()).flatten()
    }

    fn terminal(&mut self) -> Option<OwnedFd> {
        self.call(|caller| caller.terminal()).flatten()
    }

    fn hear(&mut self, event: Event<'_>) {
        let _lost = self.call(|caller| caller.hear(event));
    }
}
