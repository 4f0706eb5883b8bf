//! Installing a system call filter (`seccomp(2)`).
#![expect(unsafe_code, reason = "seccomp(2) takes a raw program")]

use rustix::io::Errno;

use super::check;
use crate::seccomp_profile::Instruction;

/// `struct sock_fprog`.
#[repr(C)]
pub(super) struct Program {
    length: u16,
    filter: *const Instruction,
}

impl Program {
    /// Returns the kernel's view of `filter`, which must outlive it.
    pub(super) fn new(filter: &[Instruction]) -> Result<Self, Errno> {
        Ok(Self {
            length: u16::try_from(filter.len()).map_err(|_too_long| Errno::INVAL)?,
            filter: filter.as_ptr(),
        })
    }
}

/// Filters the system calls of this thread from now on; needs `no_new_privs`.
pub(crate) fn install(filter: &[Instruction]) -> Result<(), Errno> {
    let program = Program::new(filter)?;
    // SAFETY: `program` has the layout of `sock_fprog`, `Instruction` that of `sock_filter`; both live
    // through the call, and the kernel copies them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_u32,
            &raw const program,
        )
    };
    check(answer).map(drop)
}
