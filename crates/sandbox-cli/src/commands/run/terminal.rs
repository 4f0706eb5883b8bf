//! The caller of an operation that was typed: passes output on, gives input, has approved or not.

use std::{
    fs,
    io::{self, IsTerminal as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sandbox_core::{Answer, Caller, Cancellation, Who};
use sandbox_types::{Stream, Verdict};

use crate::ui::{self, Ui};

/// What the user said to a question of the judge, or would say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Approval {
    Given,
    /// For this time and from now on.
    Remembered,
    /// A person was asked, and said no.
    Refused,
    /// There was nobody to ask, or nothing to ask about.
    Missing,
}

/// Returns who types, for the journal.
pub(crate) fn who() -> Who {
    let is_terminal = io::stdin().is_terminal();
    let tty = is_terminal.then(|| fs::read_link("/proc/self/fd/0").ok());
    Who {
        tty: tty.flatten().map(|it| it.to_string_lossy().into_owned()),
        ..Who::through(if is_terminal {
            "terminal"
        } else {
            "command-line"
        })
    }
}

/// Whether our standard output was closed while the command ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReaderGone(Arc<AtomicBool>);

impl ReaderGone {
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Terminal {
    pub(crate) ui: Ui,
    pub(crate) approval: Approval,
    pub(crate) cancel: Cancellation,
    pub(crate) reader: ReaderGone,
}

impl Terminal {
    pub(crate) fn new(ui: Ui, approval: Approval) -> Self {
        Self {
            ui,
            approval,
            cancel: Cancellation::new(),
            reader: ReaderGone::default(),
        }
    }
}

impl Caller for Terminal {
    fn approve(&mut self, _: &Verdict) -> Answer {
        match self.approval {
            Approval::Given => Answer::Yes,
            Approval::Remembered => Answer::Always,
            Approval::Refused => Answer::No,
            Approval::Missing => Answer::Later,
        }
    }

    fn who(&self) -> Who {
        who()
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
