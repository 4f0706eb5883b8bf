//! Signal masks and dispositions by the kernel's own interface: libc's hides the signals that it uses itself.
#![expect(
    unsafe_code,
    reason = "rt_sigprocmask(2) and rt_sigaction(2) take raw pointers"
)]

use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::check;

/// A set of signals as the kernel has it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy)]
pub(crate) struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub(crate) const EMPTY: Self = Self(0);
    const ALL: Self = Self(!0);

    const fn only(signal: libc::c_int) -> Self {
        Self(1 << (signal - 1))
    }

    /// Returns the set with the signals of `other` too.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The signals that ask a program to end.
const ENDING: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Takes the signals that ask this program to end away from their default action: they are blocked in this thread
/// and in those that it starts, and read from the descriptor instead. Those that whoever started us has ignored, as
/// nohup(1) does, stay ignored. Returns what was blocked before, too.
pub(crate) fn take_endings() -> Result<(OwnedFd, SignalSet), Errno> {
    let heard = ENDING.into_iter().filter(|&signal| !is_ignored(signal));
    let set = heard.fold(SignalSet::EMPTY, |set, signal| {
        set.with(SignalSet::only(signal))
    });
    let descriptor = descriptor_of(set)?;
    let before = block_all();
    set_mask(before.with(set));
    Ok((descriptor, before))
}

/// Lets this thread hear, by the descriptor, that the window of its terminal has another size, and that this process
/// goes on after it was stopped. Returns what was blocked before, too.
pub(crate) fn take_terminal_changes() -> Result<(OwnedFd, SignalSet), Errno> {
    let set = SignalSet::only(libc::SIGWINCH).with(SignalSet::only(libc::SIGCONT));
    let descriptor = descriptor_of(set)?;
    let before = block_all();
    set_mask(before.with(set));
    Ok((descriptor, before))
}

/// Returns the number of the next signal that waits in such a descriptor.
pub(crate) fn next(descriptor: &OwnedFd) -> Option<i32> {
    // The kernel's `struct signalfd_siginfo` begins with the number.
    let mut record = [0; 128];
    match rustix::io::read(descriptor, &mut record) {
        Ok(128) => record
            .first_chunk()
            .map(|number| i32::from_ne_bytes(*number)),
        Ok(_) | Err(_) => None,
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // The kernel's `struct sigaction` is not larger, and begins with the handler.
    let mut action = [0_u64; 4];
    // SAFETY: nothing is set, and `action` is at least as large as what the kernel writes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<u64>(),
            action.as_mut_ptr(),
            size_of::<u64>(),
        )
    };
    answer == 0 && usize::try_from(action[0]) == Ok(libc::SIG_IGN)
}

/// Blocks every signal in this thread and returns what was blocked before.
pub(crate) fn block_all() -> SignalSet {
    exchange(SignalSet::ALL)
}

/// Blocks exactly `mask` in this thread.
pub(crate) fn set_mask(mask: SignalSet) {
    exchange(mask);
}

fn exchange(mask: SignalSet) -> SignalSet {
    let mut before = SignalSet::EMPTY;
    // SAFETY: both pointers are to sets of the size that is given; the call cannot fail with them.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut before.0,
            size_of::<u64>(),
        )
    };
    before
}

/// Gives every signal its default action: `execve(2)` resets handlers, but keeps what is ignored.
pub(crate) fn reset_dispositions() {
    // The kernel's `struct sigaction` (handler, flags, restorer, mask) is not larger; zeros are `SIG_DFL`.
    let default = [0_u64; 4];
    for signal in 1..=64_i32 {
        // SAFETY: `default` is at least as large as the kernel reads; SIGKILL and SIGSTOP answer EINVAL.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            );
        }
    }
}

/// What asks a keeper to end its guest, and the number of it.
pub(crate) const ASKING: rustix::process::Signal = rustix::process::Signal::TERM;
/// See [`ASKING`].
pub(crate) const REQUEST: libc::c_int = libc::SIGTERM;

/// Returns a descriptor that is readable while a child's death waits to be noticed, or [`ASKING`].
pub(crate) fn deaths_and_request() -> Result<OwnedFd, Errno> {
    descriptor_of(SignalSet::only(libc::SIGCHLD).with(SignalSet::only(REQUEST)))
}

/// Returns a descriptor that is readable while a child's death waits to be noticed.
pub(crate) fn child_deaths() -> Result<OwnedFd, Errno> {
    descriptor_of(SignalSet::only(libc::SIGCHLD))
}

/// Returns a descriptor that is readable while one of these signals waits.
fn descriptor_of(set: SignalSet) -> Result<OwnedFd, Errno> {
    // SAFETY: the pointer is to a set of the size that is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const set.0,
            size_of::<u64>(),
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    let fd = i32::try_from(check(fd)?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
