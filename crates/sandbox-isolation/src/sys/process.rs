//! What a process may do to itself and to its children: descriptors, usage, death, keyrings.
#![expect(unsafe_code, reason = "calls that rustix does not have")]

use std::{
    os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _, RawFd},
    time::Duration,
};

use rustix::{event::EventfdFlags, io::Errno, process::Pid};

use super::{check, raw};

/// What the kernel accounts to one or more processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounted {
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// Resident memory of the largest process.
    pub(crate) memory_largest_bytes: u64,
    /// Bytes read from storage.
    pub(crate) io_read_bytes: u64,
    /// Bytes written to storage.
    pub(crate) io_write_bytes: u64,
}

impl Accounted {
    fn of(usage: &libc::rusage) -> Self {
        let number = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
        let time = |value: libc::timeval| {
            Duration::from_secs(number(value.tv_sec)) + Duration::from_micros(number(value.tv_usec))
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            memory_largest_bytes: number(usage.ru_maxrss) * 1024,
            // getrusage(2) counts blocks of 512 bytes.
            io_read_bytes: number(usage.ru_inblock) * 512,
            io_write_bytes: number(usage.ru_oublock) * 512,
        }
    }
}

fn empty_usage() -> libc::rusage {
    // SAFETY: `rusage` is plain numbers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// Returns what the ended and awaited children of this process used.
pub(crate) fn usage_of_children() -> Accounted {
    let mut usage = empty_usage();
    // SAFETY: the pointer is to a `rusage`; the call cannot fail with it.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    Accounted::of(&usage)
}

/// Which children [`wait`] waits for.
#[derive(Clone, Copy)]
pub(crate) enum Children {
    /// This one.
    One(Pid),
    /// Any of them that ends with SIGCHLD, as the kernel lets all orphans do.
    Any,
}

/// Whether [`wait`] blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until a child ends.
    Block,
    /// Not at all.
    Poll,
}

/// Copies this process; returns the child's id in the parent, `None` in the child, which has this thread alone.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the child goes on with a copy of everything. What other threads held locked then stays locked there, so
    // this is for programs that have no other threads: a keeper, which has just begun.
    let child = unsafe { libc::fork() };
    let child = check(child.into())?;
    Ok(i32::try_from(child).ok().and_then(Pid::from_raw))
}

/// Waits for the end of a child; returns its id, its wait status, and what
/// it and its own awaited children used. `None` means that none has ended.
pub(crate) fn wait(
    children: Children,
    patience: Patience,
) -> Result<Option<(Pid, i32, Accounted)>, Errno> {
    let (which, kind) = match children {
        Children::One(pid) => (pid.as_raw_nonzero().get(), libc::__WALL),
        Children::Any => (-1, 0),
    };
    let options = kind
        | match patience {
            Patience::Block => 0,
            Patience::Poll => libc::WNOHANG,
        };
    let mut status = 0;
    let mut usage = empty_usage();
    loop {
        // SAFETY: both pointers are to variables of the types that the call writes.
        let answer = unsafe { libc::wait4(which, &raw mut status, options, &raw mut usage) };
        match check(answer.into()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(pid) => {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                return Ok(pid.map(|pid| (pid, status, Accounted::of(&usage))));
            }
        }
    }
}

/// Kills every process of this pid namespace but its first, which is the caller.
pub(crate) fn kill_all_others() {
    // SAFETY: no pointers are given.
    unsafe {
        libc::kill(-1, libc::SIGKILL);
    }
}

/// Closes every descriptor that is not in `keep`, which must be sorted.
pub(crate) fn close_all_but(keep: &[RawFd]) -> Result<(), Errno> {
    let mut first = 0_u32;
    for &fd in keep {
        let fd = u32::try_from(fd).map_err(|_negative| Errno::BADF)?;
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no pointers are given. The descriptors belong to values that this process never uses again:
    // it is a new child that runs a fixed list of steps with its own descriptors.
    let answer = unsafe { raw::call(libc::SYS_close_range, [first as usize, last as usize, 0]) };
    answer.map(drop)
}

/// Puts something of no use where the standard streams were, so that nothing that is opened later takes their place.
pub(crate) fn fill_standard_streams() -> Result<(), Errno> {
    loop {
        let filler = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        if filler.as_raw_fd() > libc::STDERR_FILENO {
            return Ok(());
        }
        // Stays open: the guest's streams replace it.
        let _number = filler.into_raw_fd();
    }
}

/// Returns the priority of this process's input and output (`ioprio_get(2)`); negative if there is none.
pub(crate) fn io_priority() -> i64 {
    const PROCESS: libc::c_int = 1;
    // SAFETY: no pointers are given; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_get, PROCESS, 0) }
}

/// Returns the scheduling policy and the real-time priority of this thread.
pub(crate) fn scheduling() -> Result<(u64, u64), Errno> {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: no pointers are given; 0 is the calling thread.
    let policy = unsafe { raw::call(libc::SYS_sched_getscheduler, [0]) }?;
    let place = (&raw mut parameters).expose_provenance();
    // SAFETY: the kernel writes one number to where there is room for it.
    unsafe { raw::call(libc::SYS_sched_getparam, [0, place]) }?;
    let priority = u64::from(parameters.sched_priority.unsigned_abs());
    Ok((policy as u64, priority))
}

/// Returns what is emulated for this process (`personality(2)`).
pub(crate) fn personality() -> Result<u64, Errno> {
    const ASK: usize = u32::MAX as usize;
    // SAFETY: no pointers are given, and nothing is changed.
    let persona = unsafe { raw::call(libc::SYS_personality, [ASK]) };
    persona.map(|persona| persona as u64)
}

/// Lets programs that this process executes have its standard streams, and no other descriptor.
pub(crate) fn keep_descriptors() -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    const FIRST: usize = 3;
    // SAFETY: no pointers are given, and nothing is closed in this process.
    let answer = unsafe {
        raw::call(
            libc::SYS_close_range,
            [FIRST, u32::MAX as usize, CLOSE_RANGE_CLOEXEC],
        )
    };
    answer.map(drop)
}

/// Leaves the caller's session keyring for a new, empty one.
pub(crate) fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    check(answer).map(drop)
}

/// Removes every capability from the bounding set: no program can give them back.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for capability in 0..64_u64 {
        // SAFETY: no pointers are given.
        let answer = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match check(answer.into()) {
            Ok(_) => {}
            Err(Errno::INVAL) => return Ok(()), // past the last capability of this kernel
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Names this UTS namespace.
pub(crate) fn set_host_name(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: pointer and length are of one slice.
    let answer = unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), name.len()) };
    check(answer).map(drop)
}

/// A kind of namespace that [`unshare`] makes.
#[derive(Clone, Copy)]
pub(crate) enum Namespace {
    /// System V objects and POSIX message queues.
    Ipc,
    /// A copy of the mounts.
    Mounts,
    /// Without any interface that is up.
    Network,
}

/// Gives this process a namespace of its own.
pub(crate) fn unshare(namespace: Namespace) -> Result<(), Errno> {
    let flag = match namespace {
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Mounts => libc::CLONE_NEWNS,
        Namespace::Network => libc::CLONE_NEWNET,
    };
    // SAFETY: no pointers are given, and no memory or descriptor table is unshared.
    let answer = unsafe { libc::unshare(flag) };
    check(answer.into()).map(drop)
}

/// Goes over to the network namespace that `fd` stands for.
pub(crate) fn enter_network(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no pointers are given.
    let answer = unsafe { libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) };
    check(answer.into()).map(drop)
}

/// Borrows a descriptor that was handed to this process by number and that it keeps open.
pub(crate) fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: children get the numbers of descriptors that they keep when they close all others, and they use
    // none after closing it; a wrong number would be answered with EBADF.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Closes a descriptor that was handed to this process by number.
pub(crate) fn close(fd: RawFd) {
    let Ok(fd) = usize::try_from(fd) else {
        return;
    };
    // SAFETY: this process was given the number, and nothing in it owns the descriptor. (It fails only if the
    // number is wrong.)
    unsafe { raw::call(libc::SYS_close, [fd]) }.ok();
}

/// Where the kernel keeps this program's arguments, which everybody can read as `/proc/<pid>/cmdline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArgumentArea {
    start: usize,
    length: usize,
}

impl ArgumentArea {
    /// Finds it in the text of `/proc/self/stat`: the fields `arg_start` and `arg_end` (`proc_pid_stat(5)`).
    pub(crate) fn parse(stat: &str) -> Option<Self> {
        // Fields are counted from 1; the second is the name, in parentheses, and may hold anything.
        let (_, behind_name) = stat.rsplit_once(')')?;
        let mut fields = behind_name.split_whitespace().skip(48 - 3);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        let length = end.checked_sub(start)?;
        (start > 0).then_some(Self { start, length })
    }

    /// Overwrites the arguments in this process's own copy of the memory.
    ///
    /// Only for a child made by copying: nothing in it reads the arguments any more.
    pub(crate) fn erase(self) {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel mapped the area writable for this program and told us where; the child that
        // calls this is single-threaded and never looks at the arguments.
        unsafe { std::ptr::write_bytes(start, 0, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_area_is_found() {
        let mut fields = vec!["0"; 52];
        fields[0] = "17";
        fields[1] = "(a ) b)";
        fields[47] = "4096";
        fields[48] = "4128";
        let area = ArgumentArea::parse(&fields.join(" "));
        assert_eq!(
            area,
            Some(ArgumentArea {
                start: 4096,
                length: 32
            })
        );
        assert_eq!(ArgumentArea::parse("17 (x) S"), None);
    }
}
