//! Other processes, and the rights of one's own.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use super::{number, tell_result, tell_success};
use crate::raw::{call, start_child};

/// Sends a signal to processes, or to all with -1: `SIGNAL PID…`. Signal 0 only asks.
pub(super) fn signal(arguments: &[&str]) {
    let signal = number(arguments, 0);
    for pid in &arguments[1..] {
        let target: isize = pid.parse().expect("a process id");
        tell_success(&format!("signal {signal} to {pid}"), || {
            call(libc::SYS_kill, &[target.cast_unsigned(), signal])
        });
    }
}

/// Looks into other processes by every way there is.
pub(super) fn trace(arguments: &[&str]) {
    for pid in arguments {
        let id: usize = pid.parse().expect("a process id");
        tell_success(&format!("attach to {pid}"), || {
            call(libc::SYS_ptrace, &[16, id, 0, 0])
        });
        tell_success(&format!("seize {pid}"), || {
            call(libc::SYS_ptrace, &[0x4206, id, 0, 0])
        });
        tell_success(&format!("take descriptor 0 of {pid}"), || {
            let process = call(libc::SYS_pidfd_open, &[id, 0])?;
            call(libc::SYS_pidfd_getfd, &[process, 0, 0])
        });
        tell_success(&format!("read memory of {pid}"), || {
            let memory = first_page_of(id)?;
            let mut bytes = [0_u8; 8];
            let local = [bytes.as_mut_ptr().addr(), 8];
            let remote = [memory, 8];
            call(
                libc::SYS_process_vm_readv,
                &[id, local.as_ptr().addr(), 1, remote.as_ptr().addr(), 1, 0],
            )
        });
        for (file, is_link) in [
            ("mem", false),
            ("environ", false),
            ("maps", false),
            ("root", true),
            ("cwd", true),
            ("exe", true),
            ("fd", false),
        ] {
            let path = format!("/proc/{pid}/{file}");
            let seen = if is_link {
                fs::read_link(&path).map(drop)
            } else {
                fs::File::open(&path).map(drop)
            };
            tell_result(&path, seen);
        }
    }
}

fn first_page_of(pid: usize) -> std::io::Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let start = maps.split('-').next().unwrap_or_default();
    usize::from_str_radix(start, 16)
        .map_err(|_empty| std::io::Error::from_raw_os_error(libc::EPERM))
}

/// Asks for more of the machine than everybody has.
pub(super) fn schedule() {
    let priority = 10_u32;
    let priority = (&raw const priority).addr();
    tell_success("real-time scheduling", || {
        call(libc::SYS_sched_setscheduler, &[0, 1, priority])
    });
    tell_success("priority -20", || {
        call(libc::SYS_setpriority, &[0, 0, 20_usize.wrapping_neg()])
    });
    tell_success("real-time input and output", || {
        call(libc::SYS_ioprio_set, &[1, 0, 1 << 13])
    });
    tell_success("raise the limit of descriptors", || {
        let wanted = [1_u64 << 20, 1 << 20];
        call(libc::SYS_prlimit64, &[0, 7, wanted.as_ptr().addr(), 0])
    });
    tell_success("lock 64 MiB of memory", || {
        let length = 64 << 20;
        let place = call(libc::SYS_mmap, &[0, length, 3, 0x22, usize::MAX, 0])?;
        call(libc::SYS_mlock, &[place, length])
    });
    let parent = call(libc::SYS_getppid, &[]).unwrap_or(1);
    tell_success("set a limit of the parent", || {
        // Its own, again: it is harmed nowhere.
        let mut limits = [0_u64; 2];
        call(
            libc::SYS_prlimit64,
            &[parent, 7, 0, limits.as_mut_ptr().addr()],
        )?;
        call(libc::SYS_prlimit64, &[parent, 7, limits.as_ptr().addr(), 0])
    });
}

/// Tries to get rights back.
pub(super) fn weaken() {
    tell_success("take no_new_privs back", || {
        // The call itself complains everywhere; what counts is what holds afterwards.
        let _complaint = call(libc::SYS_prctl, &[38, 0, 0, 0, 0]);
        match call(libc::SYS_prctl, &[39, 0, 0, 0, 0])? {
            0 => Ok(0),
            _ => Err(std::io::Error::from_raw_os_error(libc::EPERM)),
        }
    });
    tell_success("become user 0 of the host", || {
        let is_host = fs::read_to_string("/proc/self/uid_map")?
            .split_whitespace()
            .take(2)
            .eq(["0", "0"]);
        let id = call(libc::SYS_setuid, &[0]);
        if is_host {
            id
        } else {
            Err(std::io::Error::from_raw_os_error(libc::EPERM))
        }
    });
    tell_success("add a capability to the ambient set", || {
        call(libc::SYS_prctl, &[47, 2, 21, 0, 0])
    });
    tell_success("unlock the secure bits", || {
        call(libc::SYS_prctl, &[28, 0, 0, 0, 0])
    });
}

/// Executes a program that is killed when the *thread* that started it ends.
pub(super) fn bound_to_parent(arguments: &[&str]) -> ExitCode {
    let bound = call(libc::SYS_prctl, &[1, 9, 0, 0, 0]);
    let (program, rest) = arguments.split_first().expect("a program");
    let error = Command::new(program).args(rest).exec();
    eprintln!("{bound:?}: {error}");
    ExitCode::FAILURE
}

/// Forks and ends, over and over: who kills one process after the other comes too late. `MARKER SECONDS`.
pub(super) fn dodge(arguments: &[&str]) {
    let end = Instant::now() + Duration::from_secs(number(arguments, 1) as u64);
    while Instant::now() < end {
        match start_child(|| 0) {
            // The parent goes on in its child's place.
            Ok(_child) => {
                let next = start_child(|| {
                    hop(end);
                    0
                });
                if next.is_ok() {
                    return;
                }
            }
            Err(_full) => std::thread::yield_now(),
        }
    }
}

fn hop(end: Instant) {
    while Instant::now() < end {
        let next = start_child(|| {
            hop(end);
            0
        });
        if next.is_ok() {
            return;
        }
    }
}
