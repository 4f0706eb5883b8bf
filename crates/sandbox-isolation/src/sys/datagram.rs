//! Datagrams with the address that they were sent to: a reply must come from there.
#![expect(unsafe_code, reason = "control messages that rustix does not have")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// Control messages of one datagram; one `in6_pktinfo` takes 40 bytes.
const CONTROL_WORDS: usize = 16;

/// Where a datagram came from and where it was sent to, as the kernel has it.
#[derive(Debug)]
pub(crate) struct Envelope {
    from: [u64; 16],
    from_length: libc::socklen_t,
    control: [u64; CONTROL_WORDS],
    control_length: usize,
}

/// Lets `socket` tell with each datagram where it was sent to.
pub(crate) fn report_destination(socket: BorrowedFd<'_>, is_ipv6: bool) -> Result<(), Errno> {
    let (level, option) = if is_ipv6 {
        (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::SOL_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a number of the length that is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_setsockopt,
            socket.as_raw_fd(),
            level,
            option,
            &raw const on,
            size_of::<libc::c_int>(),
        )
    };
    check(answer).map(drop)
}

/// Takes the next datagram without waiting; returns its length, which may be less than was sent.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Envelope), Errno> {
    let mut envelope = Envelope {
        from: [0; 16],
        from_length: 0,
        control: [0; CONTROL_WORDS],
        control_length: 0,
    };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = empty_message();
    message.msg_name = envelope.from.as_mut_ptr().cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of_val(&envelope.from)).unwrap_or(0);
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = envelope.control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&envelope.control);
    // SAFETY: every pointer in the message is to memory of the length beside it, and lives until the call returns.
    let length = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        )
    };
    let length = check(i64::try_from(length).unwrap_or(-1))?;
    envelope.from_length = message.msg_namelen;
    envelope.control_length = message.msg_controllen;
    Ok((usize::try_from(length).unwrap_or(0), envelope))
}

/// Answers a datagram, from the address that it was sent to. Does not wait.
pub(crate) fn reply(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    envelope: &mut Envelope,
) -> Result<(), Errno> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut message = empty_message();
    message.msg_name = envelope.from.as_mut_ptr().cast();
    message.msg_namelen = envelope.from_length;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    // What tells the destination of the one tells the source of the other.
    message.msg_control = envelope.control.as_mut_ptr().cast();
    message.msg_controllen = envelope.control_length;
    // SAFETY: every pointer in the message is to memory of the length beside it; the kernel only reads it.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    check(i64::try_from(sent).unwrap_or(-1)).map(drop)
}

fn empty_message() -> libc::msghdr {
    // SAFETY: `msghdr` is plain numbers and pointers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}
