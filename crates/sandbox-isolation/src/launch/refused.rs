//! System calls that no honest program makes: the guest's filter refuses them, and tells.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use sandbox_types::{Violation, ViolationKind};

use crate::{seccomp_profile::name_of_call, sys::notify};

/// After so many nobody listens any more: a guest that makes them in a loop is not to use the caller's time. They fail
/// with `ENOSYS` from then on (`seccomp(2)`).
const HEARD_MAX: u32 = 256;

/// What was refused and told.
#[derive(Debug, Default)]
pub(super) struct Refused {
    listener: Option<OwnedFd>,
    /// How often, by the call's number.
    calls: BTreeMap<i32, u32>,
    heard: u32,
}

impl Refused {
    pub(super) fn listen(&mut self, listener: OwnedFd) {
        self.listener = Some(listener);
    }

    /// Returns what becomes readable, or is hung up, when there is something to hear.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(OwnedFd::as_fd)
    }

    /// Hears of one call, after something happened to [`Self::waits_for`], and refuses it.
    pub(super) fn hear(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        if !is_readable(listener) {
            // Nobody is left who could be refused anything, and kernels before 6.11 would wait for that.
            self.listener = None;
            return;
        }
        match notify::receive(listener.as_fd()) {
            Ok(call) => {
                // It fails only if its process is dead.
                notify::refuse(listener.as_fd(), call).ok();
                *self.calls.entry(call.number).or_default() += 1;
                self.heard += 1;
            }
            // Its process has died before it was read.
            Err(Errno::NOENT | Errno::INTR) => {}
            Err(_) => self.listener = None,
        }
        if self.heard >= HEARD_MAX {
            self.listener = None;
        }
    }

    /// Returns what is to be said of them.
    pub(super) fn violations(&self) -> impl Iterator<Item = Violation> {
        let more = if self.heard >= HEARD_MAX {
            ", and perhaps more that were not counted"
        } else {
            ""
        };
        self.calls.iter().map(move |(number, count)| {
            let name = name_of_call(*number).map_or_else(|| number.to_string(), str::to_owned);
            let times = match count {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            };
            Violation {
                kind: ViolationKind::Syscall,
                detail: format!("{name}: refused {times}{more}"),
            }
        })
    }
}

fn is_readable(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    let polled = rustix::event::poll(&mut fds, Some(&now));
    polled.is_ok() && fds[0].revents().contains(PollFlags::IN)
}
