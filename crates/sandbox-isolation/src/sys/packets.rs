//! A socket that sees packets of its network namespace (`packet(7)`), those that a filter lets through.
#![expect(unsafe_code, reason = "socket options that rustix does not have")]

use std::{
    num::NonZeroU32,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, SocketFlags, SocketType},
};

use super::{check, seccomp::Program};
use crate::seccomp_profile::Instruction;

/// `ETH_P_ALL`, in network byte order.
const ALL_PROTOCOLS: Option<NonZeroU32> = NonZeroU32::new(3_u16.to_be() as u32);

/// Opens it; needs `CAP_NET_RAW` in the namespace. Packets begin with their network header. It does not wait.
pub(crate) fn watch(filter: &[Instruction]) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = ALL_PROTOCOLS.map(Protocol::from_raw);
    let socket =
        rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, protocol)?;
    set(
        socket.as_fd(),
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
        &Program::new(filter)?,
    )?;
    // On loopback everything that goes out comes in: once is enough. Linux 4.20 has it.
    let on: libc::c_int = 1;
    set(
        socket.as_fd(),
        (libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING),
        &on,
    )?;
    Ok(socket)
}

fn set<T>(
    socket: BorrowedFd<'_>,
    (level, option): (libc::c_int, libc::c_int),
    value: &T,
) -> Result<(), Errno> {
    // SAFETY: the pointer is to a value of the length that is given, and the kernel only reads it. A program points to
    // instructions that its maker borrows until the call has returned.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_setsockopt,
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value),
            size_of::<T>(),
        )
    };
    check(answer).map(drop)
}
