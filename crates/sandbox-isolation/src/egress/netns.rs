//! The guest's network, built inside: every address leads to this machine, and what listens here is handed out.
//!
//! ```text
//! guest ──connect to any address──> lo ──> a socket that was made inside and is accepted outside
//! ```
//! The sockets are made by init, which still has its capabilities, and go to the caller in one message. The guest
//! gets neither them nor a capability, so it can change none of this.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, sockopt,
    },
};

use super::refusals;
use crate::{
    seccomp_profile,
    sys::{datagram, notify},
};

/// The most sockets that are handed out: as many as one message holds.
pub(crate) const SOCKETS_MAX: usize = 253;
/// Where names are asked for.
const DNS_PORT: u16 = 53;
/// Connections that wait to be accepted, on each port; the kernel's own bound is as high.
const BACKLOG: i32 = 4096;
/// The first interface of every network namespace.
const LOOPBACK: u32 = 1;

/// Opens the network and hands the sockets to the caller: that for names by UDP first, then one for each of `ports`,
/// then `spare` ones without a port, then the one that sees refusals, if the kernel has such sockets. Allocates nothing: it runs in a copy of a program that may have many threads.
pub(crate) fn open(ports: &[u16], spare: usize, channel: BorrowedFd<'_>) -> Result<(), Errno> {
    lead_here(AddressFamily::INET)?;
    // A kernel may have no IPv6, or a network without it.
    let has_ipv6 = lead_here(AddressFamily::INET6).is_ok();
    let mut sockets: [Option<OwnedFd>; SOCKETS_MAX] = [const { None }; SOCKETS_MAX];
    let doors = ports.iter().map(|port| (SocketType::STREAM, Some(*port)));
    let spare = (0..spare).map(|_| (SocketType::STREAM, None));
    let all = [(SocketType::DGRAM, Some(DNS_PORT))].into_iter();
    let mut count = 0;
    for (place, (kind, port)) in sockets.iter_mut().zip(all.chain(doors).chain(spare)) {
        let socket = make(kind, has_ipv6)?;
        if let Some(port) = port {
            bind(&socket, port, has_ipv6)?;
        }
        if let (Some(_), SocketType::STREAM) = (port, kind) {
            rustix::net::listen(&socket, BACKLOG)?;
        }
        *place = Some(socket);
        count += 1;
    }
    if let (Some(place), Ok(watch)) = (sockets.get_mut(count), refusals::watch()) {
        *place = Some(watch);
        count += 1;
    }
    send_all(
        channel,
        sockets.iter().take(count).flatten().map(OwnedFd::as_fd),
    )
}

/// Sends sockets in one message. Allocates nothing.
pub(crate) fn send_all<'a>(
    channel: BorrowedFd<'a>,
    sockets: impl Iterator<Item = BorrowedFd<'a>>,
) -> Result<(), Errno> {
    let mut borrowed = [channel; SOCKETS_MAX];
    let mut count = 0;
    for (place, socket) in borrowed.iter_mut().zip(sockets) {
        *place = socket;
        count += 1;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = borrowed.get(..count).unwrap_or_default();
    if !control.push(SendAncillaryMessage::ScmRights(rights)) {
        return Err(Errno::MSGSIZE);
    }
    let bytes = [IoSlice::new(&[1])];
    rustix::net::sendmsg(channel, &bytes, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Makes a socket that needs nothing but a port to be a door.
fn make(kind: SocketType, has_ipv6: bool) -> Result<OwnedFd, Errno> {
    let family = if has_ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if kind == SocketType::DGRAM {
        datagram::report_destination(socket.as_fd(), has_ipv6)?;
        if has_ipv6 {
            // Replies come from addresses that no interface has.
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
    }
    if kind == SocketType::STREAM {
        // What is accepted has it too.
        sockopt::set_tcp_nodelay(&socket, true)?;
    }
    if has_ipv6 {
        // One socket for both: IPv4 addresses appear in their IPv6 form.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    Ok(socket)
}

fn bind(socket: &OwnedFd, port: u16, is_ipv6: bool) -> Result<(), Errno> {
    if is_ipv6 {
        rustix::net::bind(
            socket,
            &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0),
        )
    } else {
        rustix::net::bind(socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
    }
}

/// Lets a spare socket listen on `port`. Works outside: a socket stays in the network that it was made in.
pub(super) fn listen_on(socket: &OwnedFd, port: u16) -> Result<(), Errno> {
    let is_ipv6 = sockopt::socket_domain(socket)? == AddressFamily::INET6;
    bind(socket, port, is_ipv6)?;
    rustix::net::listen(socket, BACKLOG)
}

/// Lets the caller be asked before each `connect` of this process and of its children, and hands out where it reads
/// the questions. The last step but one of the guest's process: the filter behind it refuses this.
pub(crate) fn ask_before_connect(channel: BorrowedFd<'_>) -> Result<(), Errno> {
    let questions = notify::install(&seccomp_profile::asking_about_connect())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = [questions.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(Errno::MSGSIZE);
    }
    let bytes = [IoSlice::new(&[1])];
    rustix::net::sendmsg(channel, &bytes, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Adds the route `local default dev lo`: packets for every address are this machine's own (`rtnetlink(7)`).
fn lead_here(family: AddressFamily) -> Result<(), Errno> {
    const LENGTH: u32 = 36;
    const RTM_NEWROUTE: u16 = 24;
    const REQUEST_ACK_CREATE: u16 = 0x1 | 0x4 | 0x400;
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_BOOT: u8 = 3;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    const ATTRIBUTE_OUTPUT_INTERFACE: u16 = 4;

    let family = u8::try_from(family.as_raw()).map_err(|_too_large| Errno::AFNOSUPPORT)?;
    let mut message = [0; LENGTH as usize];
    let fields: [&[u8]; 9] = [
        // nlmsghdr: length, type, flags, sequence number, port.
        &LENGTH.to_ne_bytes(),
        &RTM_NEWROUTE.to_ne_bytes(),
        &REQUEST_ACK_CREATE.to_ne_bytes(),
        &[0; 8],
        // rtmsg: family, both prefix lengths, service, table, protocol, scope, type, flags.
        &[
            family,
            0,
            0,
            0,
            TABLE_LOCAL,
            PROTOCOL_BOOT,
            SCOPE_HOST,
            TYPE_LOCAL,
        ],
        &[0; 4],
        // rtattr.
        &8_u16.to_ne_bytes(),
        &ATTRIBUTE_OUTPUT_INTERFACE.to_ne_bytes(),
        &LOOPBACK.to_ne_bytes(),
    ];
    let mut rest = message.as_mut_slice();
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    let flags = SocketFlags::CLOEXEC;
    // Protocol 0 of this family is routing.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 128];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// An answer is a header of 16 bytes and a negative error number, or 0.
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let number = answer.get(16..20).and_then(|it| it.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number.saturating_neg())),
        None => Err(Errno::PROTO),
    }
}
