//! Pid 1 of a sandbox: reaps, watches the caller, and tells the end.

use std::{
    ffi::CStr,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, IntoRawFd, OwnedFd, RawFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags},
    process::Pid,
};

use crate::{
    child::{
        Channels, Recipe, fd, identity,
        order::Order,
        site::{OldRoot, Site},
        status::{Act, End, Failure, Message, Unroutable},
    },
    stdio::GuestEnds,
    sys::{
        clone::{self, Memory, Stack},
        memory, network,
        process::{self, Children, Namespace, Patience},
        signals,
    },
};

/// The guest's host name: the host's own would tell where it runs.
const HOST_NAME: &[u8] = b"sandbox";

/// How many processes of ours may be in the guest's namespaces: init, and for some milliseconds the one that detaches
/// the old root.
pub(crate) const PROCESSES: u32 = 2;

/// Returns the limit of a cgroup in which init is, too, for `processes` of the guest. Those that only build are gone
/// before the guest can have many.
pub(crate) fn with_own_processes(processes: u32) -> u32 {
    processes.saturating_add(1).max(PROCESSES + 1)
}

/// Names this process, as `ps` shows it inside, and its host.
pub(crate) fn set_names() -> Result<(), Failure> {
    // Without a name of its own it would have the caller's.
    rustix::thread::set_name(c"sandbox-init").ok();
    process::set_host_name(HOST_NAME).map_err(|errno| Act::HostName.failed(errno))
}

/// Gives this process a network namespace with nothing but a loopback interface.
pub(crate) fn make_network() -> Result<(), Failure> {
    process::unshare(Namespace::Network).map_err(|errno| Act::Namespaces.failed(errno))?;
    network::bring_loopback_up().map_err(|errno| Act::Loopback.failed(errno))
}

/// The guest's network, made by a process of its own while init mounts: the kernel takes as long for the one as
/// for the other.
#[derive(Default)]
pub(crate) struct NetworkBuilder {
    process: Option<Pid>,
    /// Written by the process. Its descriptors are init's too.
    made: Option<Result<OwnedFd, Failure>>,
}

impl NetworkBuilder {
    /// Starts the process. It uses `self` and `stack` until [`Self::finish`], and nothing else does.
    pub(crate) fn start(&mut self, stack: &mut Stack) {
        let make = |made: &mut Option<Result<OwnedFd, Failure>>| {
            *made = Some(make_network().and_then(|()| {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::open(c"/proc/self/ns/net", flags, Mode::empty())
                    .map_err(|errno| Act::Namespaces.failed(errno))
            }));
            0
        };
        let flags = libc::CLONE_FILES;
        self.process = clone::start(stack, Memory::Shared, flags, &mut self.made, make).ok();
    }

    /// Goes over to the network once it is made.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let failed = |errno| Act::Namespaces.failed(errno);
        let Some(process) = self.process.take() else {
            // No process was to be had.
            return make_network();
        };
        process::wait(Children::One(process), Patience::Block).map_err(failed)?;
        let network = self.made.take().unwrap_or(Err(failed(Errno::CHILD)))?;
        process::enter_network(network.as_fd()).map_err(failed)
    }
}

/// What comes with an order that was not known when the confinement was built.
pub(crate) const ORDER_DESCRIPTORS: usize = 6;

/// Waits until the caller allows the guest to start, and takes its order; fails if the caller dies first.
///
/// The caller may be another one than the process that had this built, which then matters no longer.
pub(crate) fn await_order(recipe: &mut Recipe) -> Result<Order, Failure> {
    if recipe.order.is_empty() {
        Message::Ready.send(fd(recipe.channels.status));
    }
    let words = take_order(recipe).map_err(|errno| Act::Start.failed(errno))?;
    Order::open(words).map_err(|errno| Act::Start.failed(errno))
}

fn take_order(recipe: &mut Recipe) -> Result<&'static mut [u64], Errno> {
    let start = fd(recipe.channels.start);
    await_readable(start, recipe.channels.caller)?;
    let mut length = [0; 8];
    let mut parts = [IoSliceMut::new(&mut length)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ORDER_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(start, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != length.len() {
        return Err(Errno::PIPE);
    }
    // This memory is a copy of the caller's, and never given back: the process ends without that.
    let known = std::mem::take(&mut recipe.order).leak();
    let words = if known.is_empty() {
        let words = usize::try_from(u64::from_ne_bytes(length)).map_err(|_large| Errno::FBIG)?;
        take_descriptors(&mut recipe.channels, &mut control, words)?
    } else {
        known
    };
    // The caller may have died after it said so: this is the last moment before the guest.
    if recipe.channels.caller.is_some_and(is_dead) {
        return Err(Errno::SRCH);
    }
    Ok(words)
}

/// Takes what comes with an order: its words, the caller and the channels to it.
fn take_descriptors(
    channels: &mut Channels,
    control: &mut RecvAncillaryBuffer<'_>,
    words: usize,
) -> Result<&'static mut [u64], Errno> {
    let mut descriptors = [const { None }; ORDER_DESCRIPTORS];
    let mut places = descriptors.iter_mut();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            for (place, descriptor) in places.by_ref().zip(more) {
                *place = Some(descriptor);
            }
        }
    }
    let [order, caller, status, output, error, input] = descriptors;
    let number = |descriptor: Option<OwnedFd>| {
        let descriptor = descriptor.ok_or(Errno::BADF)?;
        Ok::<_, Errno>(descriptor.into_raw_fd())
    };
    let words = memory::map_sealed(order.ok_or(Errno::BADF)?.as_fd(), words)?;
    // Whoever had this built hears nothing of the operation.
    process::close(channels.status);
    channels.status = number(status)?;
    channels.caller = Some(number(caller)?);
    channels.stdio = GuestEnds {
        input: input.map(IntoRawFd::into_raw_fd),
        output: number(output)?,
        error: number(error)?,
    };
    Ok(words)
}

/// Says so over the socket that the order came through, where it can be read also when this process is dead.
pub(crate) fn say_that_it_begins(channels: &Channels) {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // Who does not want to know has closed it.
    rustix::net::send(fd(channels.start), &[1], flags).ok();
}

/// Whether the process that `pidfd` stands for is dead, or cannot be seen.
fn is_dead(pidfd: RawFd) -> bool {
    let pidfd = fd(pidfd);
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())) != Ok(0)
}

/// Waits until `start` is readable, or nobody can write to it; fails if the caller dies first.
fn await_readable(start: BorrowedFd<'_>, caller: Option<RawFd>) -> Result<(), Errno> {
    let caller = caller.map(fd);
    let mut fds = [
        PollFd::new(&start, PollFlags::IN),
        PollFd::new(caller.as_ref().unwrap_or(&start), PollFlags::IN),
    ];
    loop {
        match rustix::event::poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => return Err(Errno::SRCH),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Detaches what is left of the host and keeps no descriptor of it.
pub(crate) fn let_go_of_host(recipe: &mut Recipe, site: &mut Site) -> Result<(), Failure> {
    let Some(old_root) = site.take_old_root() else {
        return Ok(());
    };
    // Off the guest's way, and off ours: detaching waits for an RCU grace period, up to 20 ms on a busy machine.
    // The helper has a copy of our descriptors, and is a thread: nobody needs to wait for it, and it is nobody's
    // child in what the guest is said to have used. It uses the descriptor's number and the stack until it ends,
    // and nothing else does.
    let detach = |old_root: &mut Option<OldRoot<BorrowedFd<'static>>>| {
        let detached = old_root.is_some_and(|old_root| old_root.detach().is_ok());
        i32::from(!detached)
    };
    recipe.old_root = Some(old_root.lent());
    let stack = &mut recipe.stacks.helpers[1];
    let flags = libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    match clone::start(stack, Memory::Shared, flags, &mut recipe.old_root, detach) {
        Ok(_helper) => Ok(()),
        // No process was to be had.
        Err(_) => old_root
            .detach()
            .map_err(|errno| Act::OldRoot.failed(errno)),
    }
}

/// What init watches the guest with.
pub(crate) struct Watch {
    deaths: OwnedFd,
    /// The network's counters for IPv4 and IPv6, as far as there are any.
    counters: [Option<OwnedFd>; 2],
}

impl Watch {
    /// Opens all of it.
    pub(crate) fn open(own_network: bool) -> Result<Self, Failure> {
        let open = |path: &CStr| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            own_network
                .then(|| rustix::fs::open(path, flags, Mode::empty()).ok())
                .flatten()
        };
        Ok(Self {
            deaths: signals::child_deaths().map_err(|errno| Act::Watch.failed(errno))?,
            counters: [c"/proc/net/snmp", c"/proc/net/snmp6"].map(open),
        })
    }
}

/// Runs until the guest has ended or the caller has died; the answer is the exit code.
///
/// When it exits, the kernel kills what is left in the pid namespace.
pub(crate) fn run(recipe: &Recipe, leader: Pid, watch: &Watch) -> i32 {
    let channels = &recipe.channels;
    // The guest's ends of its pipes are the guest's alone, so the caller sees their end.
    process::close(channels.stdio.output);
    process::close(channels.stdio.error);
    if let Some(input) = channels.stdio.input {
        process::close(input);
    }
    // Nothing here needs another capability any more.
    if identity::keep_capability_to_kill().is_err() {
        return 1;
    }
    match reap_until(leader, &watch.deaths, channels) {
        Ok(status) => {
            process::kill_all_others();
            while process::wait(Children::Any, Patience::Block).is_ok() {}
            let end = End {
                status,
                used: process::usage_of_children(),
                unroutable: count_unroutable(&watch.counters),
            };
            Message::Ended(end).send(fd(channels.status));
            0
        }
        Err(_caller_is_gone) => 1,
    }
}

/// Reaps whatever ends until `leader` does; returns its wait status.
fn reap_until(leader: Pid, deaths: &OwnedFd, channels: &Channels) -> Result<i32, Errno> {
    let caller = fd(channels.caller.ok_or(Errno::SRCH)?);
    loop {
        while let Some((pid, status, _)) = process::wait(Children::Any, Patience::Poll)? {
            if pid == leader {
                return Ok(status);
            }
        }
        let mut fds = [
            PollFd::new(deaths, PollFlags::IN),
            PollFd::new(&caller, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None::<&Timespec>) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if !fds[1].revents().is_empty() {
            return Err(Errno::SRCH);
        }
        // One record may stand for many deaths; the loop above asks for each.
        let mut record = [0; 128];
        rustix::io::read(deaths, &mut record).ok();
    }
}

/// Reads how often something tried to reach an address that this network namespace has no route to.
fn count_unroutable([ipv4, ipv6]: &[Option<OwnedFd>; 2]) -> Unroutable {
    let mut buffer = [0; 16 * 1024];
    let mut read = |file: &OwnedFd| {
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(file, rest)? {
                0 => break,
                more => length += more,
            }
        }
        let text = buffer.get(..length).unwrap_or_default();
        Ok::<_, Errno>((table_value(text), list_value(text)))
    };
    let mut tables = |file: &Option<OwnedFd>| file.as_ref().and_then(|file| read(file).ok());
    Unroutable {
        ipv4: tables(ipv4).map_or(0, |(table, _)| table),
        ipv6: tables(ipv6).map_or(0, |(_, list)| list),
    }
}

fn number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |value: u64, byte| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
}

/// `/proc/net/snmp`: a line of names and a line of values, both starting with `Ip:`.
fn table_value(text: &[u8]) -> u64 {
    let mut lines = text
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"Ip:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let words = |line| <[u8]>::split(line, |&byte: &u8| byte == b' ');
    words(names)
        .zip(words(values))
        .find(|(name, _)| *name == b"OutNoRoutes")
        .map_or(0, |(_, value)| number(value))
}

/// `/proc/net/snmp6`: a name and a value on each line.
fn list_value(text: &[u8]) -> u64 {
    const NAME: &[u8] = b"Ip6OutNoRoutes";
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(NAME))
        .map_or(0, |rest| number(rest.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let snmp = b"Ip: Forwarding OutNoRoutes ReasmTimeout\nIp: 2 17 0\nIcmp: InMsgs\nIcmp: 0\n";
        assert_eq!(table_value(snmp), 17);
        assert_eq!(
            list_value(b"Ip6InReceives   \t3\nIp6OutNoRoutes                  \t12\n"),
            12
        );
        assert_eq!((table_value(b""), list_value(b"x")), (0, 0));
    }
}
