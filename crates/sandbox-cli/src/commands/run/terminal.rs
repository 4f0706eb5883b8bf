//! The caller of an operation that was typed: passes output on, gives input, has approved or not.

use std::{
    fs,
    io::{self, IsTerminal as _},
    os::fd::{AsFd as _, OwnedFd},
};

use sandbox_core::{Answer, Caller, Cancellation, Who};
use sandbox_types::{Stream, Verdict};
use serde::{Deserialize, Serialize};

use super::outlet::{Outlet, Readers};
use crate::ui::Ui;

/// What the user said to a question of the judge, or would say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
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

pub(crate) struct Terminal {
    pub(crate) ui: Ui,
    pub(crate) approval: Approval,
    outlet: Outlet,
    /// Whether the command gets a terminal of its own.
    tty: bool,
}

impl Terminal {
    pub(crate) fn new(ui: Ui, approval: Approval, cancel: &Cancellation) -> Self {
        Self {
            ui,
            approval,
            outlet: Outlet::new(cancel),
            tty: false,
        }
    }

    /// Gives the command a terminal of its own.
    #[must_use]
    pub(crate) fn with_tty(mut self, tty: bool) -> Self {
        self.tty = tty;
        self
    }

    /// Returns what is known of who reads our standard output, also when this is gone.
    pub(crate) fn readers(&self) -> Readers {
        self.outlet.readers()
    }
}

impl Approval {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Given => Answer::Yes,
            Self::Remembered => Answer::Always,
            Self::Refused => Answer::No,
            Self::Missing => Answer::Later,
        }
    }
}

impl Caller for Terminal {
    fn approve(&mut self, _: &Verdict) -> Answer {
        self.approval.answer()
    }

    fn who(&self) -> Who {
        who()
    }

    fn takes_output(&mut self) -> bool {
        self.outlet.takes()
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // With --json the output is in the report, and nothing else may be on standard output.
        if !self.ui.is_json() {
            self.outlet.pass(stream, bytes);
        }
    }

    fn terminal(&mut self) -> Option<OwnedFd> {
        let stdin = io::stdin();
        self.tty
            .then(|| stdin.as_fd().try_clone_to_owned().ok())
            .flatten()
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
