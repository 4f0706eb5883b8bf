//! What runs between the clone and the guest's first instruction where there are no namespaces.
//!
//! ```text
//! caller ──clone──> keeper ──clone──> guest
//! ```
//! The *keeper* stands where pid 1 stands otherwise: orphans become its children, and it ends what is left. The
//! guest cannot signal it, for it is outside of the guest's Landlock domain. As everywhere here, nothing allocates.

use std::os::fd::OwnedFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Signal},
};

use super::{
    Channels, KEPT_MAX, Recipe, fd, guest,
    status::{Act, End, Failure, Message, Unroutable},
};
use crate::{
    init,
    sys::{
        clone::{self, Memory, Stack},
        process::{self, Children, Patience},
        signals,
    },
};

/// The children of a process, by their ids (`proc_pid_children(5)`).
pub(crate) const CHILDREN: &std::ffi::CStr = c"/proc/thread-self/children";
/// How long a death is waited for before the children are looked for again.
const SEARCH_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// Starts the keeper.
pub(crate) fn start(mut recipe: Box<Recipe>) -> Result<super::Children, (Box<Recipe>, Failure)> {
    let mut stack = std::mem::replace(&mut recipe.stacks.init, Stack::none());
    let started = clone::with_signals_blocked(|| {
        clone::start(&mut stack, Memory::Copied, 0, &mut *recipe, keep)
    });
    recipe.stacks.init = stack;
    match started {
        Ok(keeper) => Ok(super::Children::Init(keeper, recipe)),
        Err(errno) => Err((recipe, Act::GuestClone.failed(errno))),
    }
}

fn keep(recipe: &mut Recipe) -> i32 {
    let status = recipe.channels.status;
    match try_start(recipe) {
        Ok((leader, watch)) => run(&recipe.channels, leader, &watch),
        Err(failure) => {
            end_all();
            Message::Failed(failure).send(fd(status));
            1
        }
    }
}

fn try_start(recipe: &mut Recipe) -> Result<(Pid, OwnedFd), Failure> {
    signals::reset_dispositions();
    let mut buffer = [0; KEPT_MAX];
    process::close_all_but(recipe.channels.keep(&mut buffer))
        .map_err(|errno| Act::Descriptors.failed(errno))?;
    if let Some(arguments) = recipe.arguments {
        arguments.erase();
    }
    // Whoever loses its parent below becomes ours.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| Act::Watch.failed(errno))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| Act::NoNewPrivileges.failed(errno))?;
    let rules = guest::rules(recipe)?;
    let mut order = init::await_order(recipe)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|errno| Act::NotDumpable.failed(errno))?;
    rustix::thread::set_name(c"sandbox-keeper").ok();
    let watch = signals::deaths_and_request().map_err(|errno| Act::Watch.failed(errno))?;
    let leader = guest::start(recipe, &mut order, rules)?;
    let started = Message::Started {
        without_proc: false,
    };
    started.send(fd(recipe.channels.status));
    Ok((leader, watch))
}

/// Runs until the guest has ended, the caller asks for it, or the caller has died; then nothing below is left.
fn run(channels: &Channels, leader: Pid, watch: &OwnedFd) -> i32 {
    process::close(channels.stdio.output);
    process::close(channels.stdio.error);
    if let Some(input) = channels.stdio.input {
        process::close(input);
    }
    let status = reap_until(leader, watch, channels);
    end_all();
    let Ok(Some(status)) = status else {
        return 1;
    };
    let end = End {
        status,
        used: process::usage_of_children(),
        unroutable: Unroutable::default(),
    };
    Message::Ended(end).send(fd(channels.status));
    0
}

/// Reaps until `leader` ends; returns its wait status, [`None`] if this side is to end it.
fn reap_until(leader: Pid, watch: &OwnedFd, channels: &Channels) -> Result<Option<i32>, Errno> {
    let caller = fd(channels.caller.ok_or(Errno::BADF)?);
    loop {
        while let Some((pid, status, _)) = process::wait(Children::Any, Patience::Poll)? {
            if pid == leader {
                return Ok(Some(status));
            }
        }
        let mut fds = [
            PollFd::new(watch, PollFlags::IN),
            PollFd::new(&caller, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None::<&Timespec>) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if !fds[1].revents().is_empty() {
            return Ok(None);
        }
        while let Some(signal) = signals::next(watch) {
            if signal == signals::REQUEST {
                return Ok(None);
            }
        }
    }
}

/// Kills children until there are none: whose parent has died is a child at the next look.
fn end_all() {
    loop {
        kill_children();
        match process::wait(Children::Any, Patience::Poll) {
            Ok(Some(_)) => {}
            Ok(None) => {
                // A death is noticed at once only where it is watched; looking again is enough.
                rustix::event::poll(&mut [], Some(&SEARCH_AGAIN)).ok();
            }
            Err(_no_child) => return,
        }
    }
}

fn kill_children() {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(CHILDREN, flags, Mode::empty()) else {
        return;
    };
    let mut buffer = [0; 4096];
    let mut number = 0_i32;
    while let Ok(length) = rustix::io::read(&file, &mut buffer) {
        let Some(text) = buffer.get(..length).filter(|text| !text.is_empty()) else {
            break;
        };
        for byte in text {
            if byte.is_ascii_digit() {
                let digit = i32::from(byte - b'0');
                number = number.saturating_mul(10).saturating_add(digit);
                continue;
            }
            kill(number);
            number = 0;
        }
    }
    kill(number);
}

/// Kills one child: it was not waited for, so the id is its own. Neither 0 nor 1 is one, and those would be others.
fn kill(number: i32) {
    if let Some(child) = Pid::from_raw(number).filter(|_| number > 1) {
        rustix::process::kill_process(child, Signal::KILL).ok();
    }
}
