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

/// Returns a descriptor that is readable while a child's death waits to be noticed.
pub(crate) fn child_deaths() -> Result<OwnedFd, Errno> {
    let set = SignalSet::only(libc::SIGCHLD);
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
