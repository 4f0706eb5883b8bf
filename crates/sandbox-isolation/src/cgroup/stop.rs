//! Stops a guest by signals, where no cgroup can freeze it.
//!
//! The processes of a guest are stopped one by one until none runs. A stopped process can be continued by
//! `SIGCONT`: no stopped one sends it, but a timer that was set before does (`timer_create(2)`). So this holds for
//! guests that do not defend themselves, and whoever uses it is told.

use std::{fs, time::Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::freeze::pause;
use crate::launch::meter::descendants;

/// One clean look proves little: a process may be born behind its back.
const CLEAN_LOOKS: usize = 3;

/// Returns the first processes of the guests that the process `caller` has.
pub(super) fn guests_of(caller: u32) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{caller}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let children = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = children
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        pids.collect::<Vec<_>>()
    });
    let mut found: Vec<Pid> = children.chain(held_by(caller)).collect();
    found.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    found.dedup();
    found.retain(|pid| is_first(*pid) && !is_dead(*pid));
    found
}

/// Returns the processes that `caller` has a handle of: what runs in a session is its keeper's child
/// (`pidfd_open(2)` describes the files).
fn held_by(caller: u32) -> Vec<Pid> {
    let files = fs::read_dir(format!("/proc/{caller}/fdinfo"));
    let files = files.into_iter().flatten().flatten();
    let pid = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).ok()?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        Pid::from_raw(pid.trim().parse().ok()?)
    };
    files.filter_map(pid).collect()
}

/// Stops all below `init`; returns whether they stand still.
pub(super) fn stop_below(init: Pid, deadline: Instant) -> bool {
    let mut clean = 0;
    while clean < CLEAN_LOOKS {
        let running = below(init, |state| !matches!(state, 'T' | 't' | 'Z' | 'X'));
        clean = if running.is_empty() { clean + 1 } else { 0 };
        if Instant::now() >= deadline {
            return false;
        }
        send(&running, Signal::STOP);
        pause();
    }
    true
}

/// Continues all below `init`.
pub(super) fn continue_below(init: Pid) {
    send(
        &below(init, |state| matches!(state, 'T' | 't')),
        Signal::CONT,
    );
}

/// Returns the processes below `init` whose state, a letter as in `proc_pid_stat(5)`, is wanted.
fn below(init: Pid, is_wanted: impl Fn(char) -> bool) -> Vec<Pid> {
    let mut found = descendants(init);
    found.retain(|pid| *pid != init && state_of(*pid).is_some_and(&is_wanted));
    found
}

fn send(processes: &[Pid], signal: Signal) {
    for &pid in processes {
        // It may have ended meanwhile; the next look tells.
        if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
            let _gone_or_sent = pidfd_send_signal(process, signal);
        }
    }
}

/// Whether the process has ended; one that is gone has.
pub(super) fn is_dead(pid: Pid) -> bool {
    state_of(pid).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

fn state_of(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether it is the first of a process namespace below ours.
fn is_first(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}
