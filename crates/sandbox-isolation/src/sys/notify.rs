//! System calls that another process is asked about before the kernel goes on (`seccomp_unotify(2)`).
#![expect(
    unsafe_code,
    reason = "seccomp(2), ioctl(2) and process_vm_readv(2) have no safe form"
)]

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::{check, seccomp::Program};
use crate::seccomp_profile::Instruction;

/// More than any kernel writes: the structure may grow.
const NOTIFICATION_WORDS: usize = 64;

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    id: u64,
    pid: libc::pid_t,
    pub(crate) number: i32,
    /// Its second argument and its third: for `connect`, where the address is and how long.
    pub(crate) address: u64,
    pub(crate) length: u64,
}

/// Filters the calls of this thread by `filter`, and returns where calls that it asks about are read; needs
/// `no_new_privs`.
pub(crate) fn install(filter: &[Instruction]) -> Result<OwnedFd, Errno> {
    // A call that was read is not broken off by signals: programs that send themselves many would never get on.
    let patient = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match try_install(filter, patient) {
        // Linux 5.19 has it.
        Err(Errno::INVAL) => try_install(filter, 0),
        other => other,
    }
}

fn try_install(filter: &[Instruction], flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let program = Program::new(filter)?;
    // SAFETY: `program` has the layout of `sock_fprog`, and the kernel copies what it points to.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | flags,
            &raw const program,
        )
    };
    let listener = i32::try_from(check(answer)?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Reads the next call. Waits, unless `listener` was readable and no call was read since.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Call, Errno> {
    let mut words = [0_u64; NOTIFICATION_WORDS];
    // SAFETY: the kernel writes a `seccomp_notif`, for which there is room; it wants zeros there.
    let answer = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            words.as_mut_ptr(),
        )
    };
    check(answer.into())?;
    // id(8) pid(4) flags(4), then `seccomp_data`: number(4) architecture(4) pointer(8) arguments(6 × 8).
    let [id, pid_and_flags, number, _, _, address, length, ..] = words;
    let [p0, p1, p2, p3, ..] = pid_and_flags.to_ne_bytes();
    let [n0, n1, n2, n3, ..] = number.to_ne_bytes();
    Ok(Call {
        id,
        pid: libc::pid_t::from_ne_bytes([p0, p1, p2, p3]),
        number: i32::from_ne_bytes([n0, n1, n2, n3]),
        address,
        length,
    })
}

/// Lets the kernel go on with `call`.
pub(crate) fn let_go_on(listener: BorrowedFd<'_>, call: Call) -> Result<(), Errno> {
    let go_on = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
    answer(listener, call, (0, go_on))
}

/// Lets `call` fail with `EPERM`.
pub(crate) fn refuse(listener: BorrowedFd<'_>, call: Call) -> Result<(), Errno> {
    answer(listener, call, (-libc::EPERM, 0))
}

fn answer(listener: BorrowedFd<'_>, call: Call, (error, flags): (i32, u32)) -> Result<(), Errno> {
    let mut response = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: the pointer is to the structure that this request reads.
    let answer = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    check(answer.into()).map(drop)
}

/// Reads the caller's memory at `address`; returns how much was read. The caller may change it at any time, and may
/// be gone: nothing that is read decides what is allowed.
pub(crate) fn read_memory(call: Call, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0)),
        iov_len: buffer.len(),
    };
    // SAFETY: the kernel writes to `buffer` only, as much as it is long; the other pointer is the other process's.
    let read =
        unsafe { libc::process_vm_readv(call.pid, &raw const local, 1, &raw const remote, 1, 0) };
    check(i64::try_from(read).unwrap_or(-1)).map(|count| usize::try_from(count).unwrap_or(0))
}
