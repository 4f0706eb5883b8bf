//! Bringing the loopback interface of a new network namespace up.
#![expect(unsafe_code, reason = "ioctl(2) and socket(2) by raw calls")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::check;

/// `struct ifreq`, as far as interface flags need it.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    padding: [u8; 22],
}

/// Brings `lo` up, so that programs which talk to themselves over 127.0.0.1 and `::1` work.
pub(crate) fn bring_loopback_up() -> Result<(), Errno> {
    // SAFETY: no pointers are given.
    let socket = unsafe {
        libc::syscall(
            libc::SYS_socket,
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        )
    };
    let socket = i32::try_from(check(socket)?).map_err(|_too_large| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut request = InterfaceFlags {
        name: [0; libc::IFNAMSIZ],
        flags: i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(libc::c_short::MAX),
        padding: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the structure has the size of `ifreq`, which this request reads.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw mut request,
        )
    };
    check(answer).map(drop)
}
