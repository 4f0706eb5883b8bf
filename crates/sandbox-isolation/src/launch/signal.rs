//! Signals to every process of a guest, and to no other one.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::meter::descendants;

/// Sends `signal` to all processes below `init`, and lets those go on that were stopped.
///
/// A number may belong to another process by the time it is used. So each process is held first, and then only
/// those get the signal whose number is, still or again, one of the guest's: a held process keeps its number.
pub(super) fn send_to_guest(init: Pid, signal: Signal) {
    let held: Vec<(Pid, OwnedFd)> = descendants(init)
        .into_iter()
        .filter(|pid| *pid != init)
        .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
        .collect();
    let guests = descendants(init);
    for (_, handle) in held.iter().filter(|(pid, _)| guests.contains(pid)) {
        for signal in [signal, Signal::CONT] {
            // It fails only if the process is dead.
            pidfd_send_signal(handle, signal).ok();
        }
    }
}
