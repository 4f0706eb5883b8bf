//! Raw system calls that `rustix` lacks, each behind a small safe function. The only `unsafe` code of the project.
//!
//! Everything here may be called between `clone` and `execve`: no allocation, no lock, no panic.

pub(crate) mod clone;
pub(crate) mod datagram;
pub(crate) mod exec;
pub(crate) mod landlock;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod notify;
pub(crate) mod packets;
pub(crate) mod process;
mod raw;
pub(crate) mod seccomp;
pub(crate) mod signals;

use rustix::io::Errno;

/// Turns the answer of `libc::syscall` and friends into a result.
pub(crate) fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer >= 0 {
        return Ok(answer);
    }
    // `from_io_error` reads the number back without allocating.
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
