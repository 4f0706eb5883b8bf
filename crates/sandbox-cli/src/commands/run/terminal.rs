//! The caller of an operation that was typed: passes output on, gives input, has approved or not.

use std::{
    io::{self, IsTerminal as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sandbox_core::{Caller, Cancellation};
use sandbox_types::{Stream, Verdict};

use crate::ui::{self, Ui};

/// What the user said to a question of the judge, or would say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Approval {
    Given,
    /// A person was asked, and said no.
    Refused,
    /// There was nobody to ask, or nothing to ask about.
    Missing,
}

/// Whether our standard output was closed while the command ran.
#[derive(Clone, Debug, Default)]
pub(super) struct ReaderGone(Arc<AtomicBool>);

impl ReaderGone {
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Terminal {
    pub(super) ui: Ui,
    pub(super) approval: Approval,
    pub(super) cancel: Cancellation,
    pub(super) reader: ReaderGone,
}

impl Caller for Terminal {
    fn approve(&mut self, _: &Verdict) -> bool {
        self.approval == Approval::Given
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // With --json the output is in the report, and nothing else may be on standard output.
        if self.ui.is_json() || self.reader.is_gone() {
            return;
        }
        if ui::pass_on(stream, bytes).is_err() && stream == Stream::Stdout {
            // As `yes | head` ends `yes`: nobody reads, so it need not go on.
            self.reader.0.store(true, Ordering::Relaxed);
            self.cancel.cancel();
        }
    }

    fn stdin(&mut self) -> Option<OwnedFd> {
        let stdin = io::stdin();
        // A terminal stays ours: the command must not type into it.
        if stdin.is_terminal() {
            return None;
        }
        stdin.as_fd().try_clone_to_owned().ok()
    }
}
