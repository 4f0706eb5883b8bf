//! The cgroups of one run: made before the guest starts, or behind its back once it has run for a while.
//!
//! Attaching to version 1 hierarchies takes 6 to 14 ms (the kernel waits for a grace period), many times what
//! a short command takes. So built-in limits, which nobody asked for, arrive there a little late; limits
//! that were asked for, and all limits of version 2, hold from the first instruction.

pub(super) mod young;

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::Pid;
use sandbox_types::{CgroupKind, CgroupPaths, LimitSource, Limits};

use young::Young;

use super::{error::LaunchError, own_limits};
use crate::{
    cgroup::{self, Controller, IoLimit, OperationCgroup, Version, Wanted},
    init,
};

/// Why limits are missing that were to be attached late.
const TOO_LATE: &str = "the operation ended before it was attached";
/// How often in a row the tree is searched for processes that were born outside meanwhile. Those that fork and end
/// faster than that are searched for at every tick, and reported.
const SWEEPS_MAX: usize = 200;
/// A process may be born behind a search's back, so one that finds nothing proves little.
const CLEAN_SWEEPS: usize = 2;

/// The cgroups of one run.
#[derive(Debug)]
pub(crate) struct Meter {
    state: State,
    name: String,
    wanted: Wanted,
    missing: Vec<String>,
    /// Searched for at every tick, since the cgroups came late: how many were found outside by then.
    escaped: Option<usize>,
}

#[derive(Debug)]
enum State {
    /// Holds, or will once init is in it.
    There(OperationCgroup),
    /// To be made late, where version 1 has them.
    Planned(Young),
    /// To be asked of systemd once init is there, for the limits that somebody asked for.
    Asked {
        requested: Vec<Controller>,
        best_effort: bool,
    },
    /// Being made by a thread.
    Coming(Late),
    None,
}

/// The thread that makes cgroups late.
#[derive(Debug)]
struct Late {
    thread: JoinHandle<Result<(OperationCgroup, usize), Vec<String>>>,
    /// Set once the guest has ended: what is not done by then is of no use.
    is_over: Arc<AtomicBool>,
}

impl Meter {
    /// Decides, and makes what must hold from the start; `device` is the workspace's.
    pub(crate) fn prepare(name: &str, limits: &Limits, device: u64) -> Result<Self, LaunchError> {
        let wanted = Wanted {
            memory: limits.memory.map(|limit| limit.value),
            cpu_percent: limits.cpu_percent.map(|limit| limit.value),
            processes: limits
                .processes
                .map(|limit| init::with_own_processes(limit.value)),
            io: (limits.io_read.is_some() || limits.io_write.is_some()).then(|| IoLimit {
                device,
                read: limits.io_read.map(|limit| limit.value.get()),
                write: limits.io_write.map(|limit| limit.value.get()),
            }),
            meter: true,
        };
        let mut meter = Self {
            state: State::None,
            name: name.to_owned(),
            wanted,
            missing: Vec::new(),
            escaped: None,
        };
        let requested = requested(limits);
        if requested.is_empty() && cgroup::is_likely_separate(Controller::Memory) {
            meter.state = State::Planned(Young::new());
            return Ok(meter);
        }
        let hierarchies = cgroup::discover();
        if requested.is_empty() {
            match hierarchies.version_of(Controller::Memory) {
                Ok(Version::One) => {
                    meter.state = State::Planned(Young::new());
                    return Ok(meter);
                }
                Ok(Version::Two) => {}
                Err(reason) => {
                    meter.missing.extend(absent(&meter.wanted, &reason));
                    return Ok(meter);
                }
            }
        }
        // Where this user may make none, systemd may; it takes some milliseconds, so not for built-in limits.
        if cgroup::user_bus().is_some()
            && requested
                .iter()
                .any(|it| !hierarchies.has(*it) && !cgroup::is_likely_separate(*it))
        {
            let best_effort = limits.best_effort;
            meter.state = State::Asked {
                requested,
                best_effort,
            };
            return Ok(meter);
        }
        match cgroup::create(&hierarchies, name, &meter.wanted) {
            Ok(cgroup) => meter.take(cgroup, &requested, limits.best_effort)?,
            Err(error) if requested.is_empty() || limits.best_effort => {
                meter.missing.push(format!("the resource limits: {error}"));
            }
            Err(error) => return Err(refused("the resource limits", io::Error::other(error))),
        }
        if limits.cpu_time.is_some() && meter.cpu_time_counted().is_none() {
            meter.missing.push(own_limits::SAMPLED_CPU_TIME.to_owned());
        }
        Ok(meter)
    }

    fn take(
        &mut self,
        mut cgroup: OperationCgroup,
        requested: &[Controller],
        best_effort: bool,
    ) -> Result<(), LaunchError> {
        let lost = cgroup
            .missing()
            .iter()
            .find(|missing| requested.contains(&missing.controller));
        if let (Some(lost), false) = (lost, best_effort) {
            let (what, reason) = (lost.controller.name(), lost.reason.clone());
            drop(cgroup.remove());
            return Err(refused(
                &format!("the requested {what} limit"),
                io::Error::other(reason),
            ));
        }
        let held_otherwise = |controller| controller == Controller::Pids;
        let missing = cgroup
            .missing()
            .iter()
            .filter(|missing| !held_otherwise(missing.controller));
        self.missing.extend(missing.map(ToString::to_string));
        self.state = State::There(cgroup);
        Ok(())
    }

    /// Returns whether init must be attached before the guest starts.
    pub(crate) fn is_strict(&self) -> bool {
        matches!(self.state, State::There(_) | State::Asked { .. })
    }

    /// Puts init, and with it all that it will start, into the cgroups that are there.
    pub(crate) fn attach(&mut self, init: Pid) -> Result<(), LaunchError> {
        match std::mem::replace(&mut self.state, State::None) {
            State::There(cgroup) => {
                let attached = cgroup.attach(init);
                self.state = State::There(cgroup);
                attached.map_err(|error| {
                    LaunchError::new("put the guest into its cgroups", io::Error::other(error))
                })
            }
            State::Asked {
                requested,
                best_effort,
            } => self.ask_for_scope(init, &requested, best_effort),
            other @ (State::Planned(_) | State::Coming(_) | State::None) => {
                self.state = other;
                Ok(())
            }
        }
    }

    /// Lets systemd make what this user may not.
    fn ask_for_scope(
        &mut self,
        init: Pid,
        requested: &[Controller],
        best_effort: bool,
    ) -> Result<(), LaunchError> {
        match cgroup::create_in_scope(&self.name, &self.wanted, init) {
            Ok(cgroup) => self.take(cgroup, requested, best_effort),
            Err(error) if best_effort => {
                self.missing
                    .push(format!("the resource limits: {error}{}", in_words(&error)));
                Ok(())
            }
            Err(error) => Err(refused("the resource limits", io::Error::other(error))),
        }
    }

    /// Returns whether [`Self::attach_late`] is to be called after [`late_after`](super::meter::young::late_after).
    pub(crate) fn is_planned(&self) -> bool {
        matches!(self.state, State::Planned(_))
    }

    /// Whether there is no cgroup, and none will be made.
    pub(crate) fn has_no_cgroup(&self) -> bool {
        matches!(self.state, State::Planned(_) | State::None)
    }

    /// Starts making the cgroups and moving the tree into them, on a thread of its own.
    pub(crate) fn attach_late(&mut self, init: Pid) {
        if !self.is_planned() {
            return;
        }
        self.state = State::None;
        let (name, wanted) = (self.name.clone(), self.wanted.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let seen_by_thread = Arc::clone(&is_over);
        let work = move || make_and_sweep(&name, &wanted, init, &seen_by_thread);
        match thread::Builder::new()
            .name("sandbox-cgroup".to_owned())
            .spawn(work)
        {
            Ok(thread) => self.state = State::Coming(Late { thread, is_over }),
            Err(error) => self.missing.push(format!("the resource limits: {error}")),
        }
    }

    /// Takes the thread's result if it is there.
    pub(crate) fn poll(&mut self) {
        if matches!(&self.state, State::Coming(late) if late.thread.is_finished()) {
            self.finish();
        }
    }

    /// Waits for the thread; nothing is attached afterwards.
    pub(crate) fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::None) {
            State::Coming(late) => match late.thread.join() {
                Ok(Ok((cgroup, escaped))) => {
                    self.escaped = Some(escaped);
                    self.missing
                        .extend(cgroup.missing().iter().map(ToString::to_string));
                    State::There(cgroup)
                }
                Ok(Err(reasons)) => {
                    self.missing.extend(reasons);
                    State::None
                }
                Err(_panicked) => {
                    self.missing
                        .push("the resource limits: an internal error".to_owned());
                    State::None
                }
            },
            other @ (State::There(_) | State::Planned(_) | State::Asked { .. } | State::None) => {
                other
            }
        };
    }

    /// Moves processes into cgroups that came late, if any are outside still.
    pub(crate) fn sweep(&mut self, init: Pid) {
        if let (State::There(cgroup), Some(escaped)) = (&self.state, &mut self.escaped) {
            *escaped += sweep(cgroup, init);
        }
    }

    /// Returns the CPU time of the whole tree, if a cgroup counts it.
    pub(crate) fn cpu_time_counted(&self) -> Option<Duration> {
        self.cgroup()?.cpu_time()
    }

    /// Whether somebody has suspended the guest.
    pub(crate) fn is_frozen(&self) -> bool {
        self.cgroup().is_some_and(OperationCgroup::is_frozen)
    }

    /// Lets a guest that was killed while it was suspended die.
    pub(crate) fn thaw_killed(&self) {
        if let Some(cgroup) = self.cgroup() {
            cgroup.thaw_killed();
        }
    }

    fn cgroup(&self) -> Option<&OperationCgroup> {
        match &self.state {
            State::There(cgroup) => Some(cgroup),
            State::Planned(_) | State::Asked { .. } | State::Coming(_) | State::None => None,
        }
    }

    /// Returns where figures can be read.
    pub(crate) fn paths(&self) -> CgroupPaths {
        self.cgroup()
            .map(OperationCgroup::paths)
            .unwrap_or_default()
    }

    /// Returns where the limits are enforced.
    pub(crate) fn kind(&self) -> CgroupKind {
        self.cgroup().map(OperationCgroup::kind).unwrap_or_default()
    }

    /// Returns what did not hold, one sentence each.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = self.missing.clone();
        if matches!(self.state, State::Planned(_) | State::Coming(_)) {
            missing.extend(absent(&self.wanted, TOO_LATE));
        }
        if let Some(escaped @ 1..) = self.escaped {
            let plural = if escaped == 1 { "" } else { "es" };
            missing.push(format!(
                "the built-in limits did not count {escaped} process{plural} for a while, which forked and ended too fast; all other walls held"
            ));
        }
        missing
    }

    /// Returns whether the kernel killed for the memory limit.
    pub(crate) fn out_of_memory(&self) -> bool {
        self.cgroup().is_some_and(OperationCgroup::out_of_memory)
    }

    /// Returns whether the kernel refused a process or thread for their limit.
    pub(crate) fn refused_processes(&self) -> bool {
        self.cgroup().is_some_and(OperationCgroup::pids_exceeded)
    }

    /// Removes the cgroups; all members must be dead.
    pub(crate) fn remove(&mut self) -> Result<(), LaunchError> {
        if let State::Coming(late) = &self.state {
            late.is_over.store(true, Ordering::Relaxed);
        }
        self.finish();
        match &mut self.state {
            State::There(cgroup) => cgroup.remove().map_err(|error| {
                LaunchError::new("remove the guest's cgroups", io::Error::other(error))
            }),
            State::Planned(_) | State::Asked { .. } | State::Coming(_) | State::None => Ok(()),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // For a launch that fails half-way; `remove_stale_cgroups` finds what cannot be removed now.
        self.remove().ok();
    }
}

/// Returns the limits that only cgroups can hold and that somebody asked for.
fn requested(limits: &Limits) -> Vec<Controller> {
    let memory = limits
        .memory
        .map(|limit| (Controller::Memory, limit.source));
    let cpu = limits
        .cpu_percent
        .map(|limit| (Controller::Cpu, limit.source));
    let cpu_time = limits
        .cpu_time
        .map(|limit| (Controller::CpuAccounting, limit.source));
    let io = limits.io_read.or(limits.io_write);
    let io = io.map(|limit| (Controller::Io, limit.source));
    [memory, cpu, cpu_time, io]
        .into_iter()
        .flatten()
        .filter(|(_, source)| *source == LimitSource::Requested)
        .map(|(controller, _)| controller)
        .collect()
}

fn absent(wanted: &Wanted, reason: &str) -> Vec<String> {
    let memory = wanted.memory.map(|_| "memory");
    let cpu = wanted.cpu_percent.map(|_| "cpu");
    let sentence = |limit| format!("default {limit} limit: {reason}");
    memory.into_iter().chain(cpu).map(sentence).collect()
}

/// Returns the cause of `error`, for a sentence that is to have it.
fn in_words(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

fn refused(what: &str, source: io::Error) -> LaunchError {
    LaunchError::new(format!("hold {what}"), source)
        .with_hint("run where that controller may be used, or set `best_effort: true` below `resource_limits` to run without the limit")
}

fn make_and_sweep(
    name: &str,
    wanted: &Wanted,
    init: Pid,
    is_over: &AtomicBool,
) -> Result<(OperationCgroup, usize), Vec<String>> {
    let hierarchies = cgroup::discover();
    hierarchies
        .version_of(Controller::Memory)
        .map_err(|reason| absent(wanted, &reason))?;
    if is_over.load(Ordering::Relaxed) {
        return Err(absent(wanted, TOO_LATE));
    }
    let mut cgroup = cgroup::create(&hierarchies, name, wanted)
        .map_err(|error| vec![format!("the resource limits: {error}")])?;
    if is_over.load(Ordering::Relaxed) {
        drop(cgroup.remove());
        return Err(absent(wanted, TOO_LATE));
    }
    // Init first: whatever is born of it from now on is born inside.
    if let Err(error) = cgroup.attach(init) {
        drop(cgroup.remove());
        return Err(vec![format!("the resource limits: {error}")]);
    }
    let escaped = sweep_until_clean(&cgroup, init, is_over);
    Ok((cgroup, escaped))
}

/// Returns how many processes are outside still.
fn sweep_until_clean(cgroup: &OperationCgroup, init: Pid, is_over: &AtomicBool) -> usize {
    let (mut clean, mut outside) = (0, 0);
    for _ in 0..SWEEPS_MAX {
        outside = sweep(cgroup, init);
        clean = if outside == 0 { clean + 1 } else { 0 };
        if clean == CLEAN_SWEEPS || is_over.load(Ordering::Relaxed) {
            return 0;
        }
    }
    outside
}

/// Moves all processes of the tree into the cgroups; returns how many were outside.
fn sweep(cgroup: &OperationCgroup, init: Pid) -> usize {
    let mut outside = cgroup.without_membership(descendants(init));
    if outside.contains(&init) && cgroup.is_frozen() {
        // It was let out on purpose: see `cgroup/freeze.rs`.
        outside.retain(|pid| *pid != init);
    }
    for &pid in &outside {
        // It may have ended meanwhile; the next sweep tells.
        drop(cgroup.attach(pid));
    }
    outside.len()
}

/// Returns the processes below `root`, parents first.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let tasks = PathBuf::from(format!("/proc/{}/task", pid.as_raw_nonzero()));
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| Pid::from_raw(pid.parse().ok()?)),
            );
        }
        next += 1;
    }
    found
}
