//! A guest that runs: its streams, its limits, its end.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::Signal,
};
use sandbox_types::{
    CgroupPaths, Enforcement, ExitReason, LimitKind, Limits, ProcessUsage, Stream,
};

use super::{
    Cancellation, Ended, Observer, Running,
    alone::TemporaryDirectory,
    cancel::Asked,
    clock::WallClock,
    error::LaunchError,
    meter::{Meter, young::late_after},
    own_limits::OwnLimits,
    refused::Refused,
    signal::send_to_guest,
    start::read_message,
    tree::Tree,
};
use crate::{
    child::status::{End, Message, Unroutable},
    egress::Egress,
    stdio::{self, Pumped, Streams, terminal::Raw},
};

mod end;

use end::usage_of;

/// The time between two ticks: short at first, when most commands end, then longer.
const TICK_FIRST: Duration = Duration::from_millis(25);
const TICK_LONGEST: Duration = Duration::from_millis(250);
/// How long a receiver that takes no output is left alone.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// Pieces of output that are taken before the other streams and limits are looked at again.
const PIECES_PER_ROUND: usize = 16;

/// A guest that runs or has ended.
pub(crate) struct Confined {
    pub(super) tree: Tree,
    pub(super) status: File,
    pub(crate) streams: Streams,
    pub(super) meter: Meter,
    pub(super) own_limits: OwnLimits,
    pub(super) limits: Limits,
    pub(super) started_at: Instant,
    /// When the guest's first instruction ran.
    pub(super) running_since: Instant,
    pub(crate) enforcement: Enforcement,
    pub(super) start: Start,
    /// Where init got its order, until the start is told: what it says there can be read also when it is dead.
    pub(crate) order: Option<OwnedFd>,
    pub(super) refused: Refused,
    /// Init has told the end: the guest is dead, and init about to be.
    pub(super) is_told: bool,
    /// The guest was handed the signal that its caller was to end with.
    pub(super) was_asked: bool,
    /// Who watches the guest's network, if it leads anywhere.
    pub(super) egress: Option<Egress>,
    /// The guest's temporary directory, where it has no private file system.
    pub(super) temporary: Option<TemporaryDirectory>,
}

/// Whether the guest has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is on its way.
    Awaited,
    Done,
    /// Its program could not be executed.
    Never(ExitReason),
}

impl std::fmt::Debug for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confined")
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

/// Why the caller's side ends a run.
type Cause = ExitReason;

/// What one turn of the loop found.
struct Turn {
    /// Init told something; init is dead.
    init: [bool; 2],
    /// Standard output and error have something.
    output: [bool; 2],
    /// Standard input can go on.
    input: bool,
    /// The caller's terminal has another size; a call was refused that no honest program makes.
    told: [bool; 2],
}

impl Running for Confined {
    fn root_pid(&self) -> u32 {
        let init = self.tree.init();
        init.map_or(0, |init| init.as_raw_nonzero().get().unsigned_abs())
    }

    fn cgroups(&self) -> CgroupPaths {
        self.meter.paths()
    }

    fn started(&mut self) -> Result<(), LaunchError> {
        self.await_start()
    }

    fn wait(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Ended, LaunchError> {
        self.await_start()?;
        if let Start::Never(exit) = self.start {
            return Ok(self.ended(exit, ProcessUsage::default(), Unroutable::default()));
        }
        let raw = self.streams.enter_raw().map_err(|error| {
            self.kill();
            LaunchError::new("put the caller's terminal into raw mode", error)
        })?;
        let waited = self.wait_for_end(observer, cancel, raw.as_ref());
        if waited.is_err() {
            self.kill();
        }
        let (end, cause) = waited?;
        self.take_rest(observer);
        drop(raw);
        let end = match end {
            Some(end) => end,
            None => self.end_of_killed(cause)?,
        };
        // A thread that is still attaching is waited for only if its answer matters, and at the release.
        if libc::WIFEXITED(end.status) {
            self.meter.poll();
        } else {
            self.meter.finish();
        }
        let exit = match cause {
            Some(cause) => cause,
            // Whatever its own code: it ended because it was asked to.
            None if self.was_asked => ExitReason::Cancelled,
            None => self.exit_of(end.status, end.used.cpu),
        };
        Ok(self.ended(exit, usage_of(end.used), end.unroutable))
    }

    fn release(&mut self) -> Result<(), LaunchError> {
        self.kill();
        // Whoever waits for init keeps the layers until it has let go of them; a cgroup is kept by init itself.
        let is_left = self.is_told && self.meter.has_no_cgroup() && self.tree.leave_to_keeper();
        if !is_left {
            self.tree.await_end()?;
        }
        drop(self.tree.take_recipe());
        self.temporary = None;
        self.meter.remove()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // What cannot be removed now is found by `remove_stale_cgroups`.
        drop(self.release());
    }
}

impl Confined {
    /// Returns whether there is no process to start a guest in any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.tree.is_dead()
    }

    /// Kills the guest, also a suspended one.
    fn kill(&self) {
        self.tree.kill();
        self.meter.thaw_killed();
    }

    /// Pumps until init tells the end or is dead; `Some` cause if this side ended it.
    fn wait_for_end(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancellation,
        raw: Option<&Raw>,
    ) -> Result<(Option<End>, Option<Cause>), LaunchError> {
        let error = |source: io::Error| LaunchError::new("wait for the guest", source);
        let mut clock = WallClock::of(&self.limits, self.started_at);
        let mut tick = TICK_FIRST;
        let mut next_tick = Instant::now() + tick;
        let mut open = [self.streams.output.is_some(), self.streams.error.is_some()];
        let mut cause = None;
        let mut buffer = Vec::new();
        loop {
            let mut wake = self.next_wake(next_tick, clock.rings_at().filter(|_| cause.is_none()));
            if let (true, None, Some(at)) = (self.was_asked, cause, cancel.ends_at()) {
                wake = wake.min(at);
            }
            let takes = observer.takes_output();
            if !takes {
                wake = wake.min(Instant::now() + ASK_AGAIN);
            }
            let turn = self
                .poll(
                    (cancel, cause.is_none()),
                    wake,
                    open.map(|it| it && takes),
                    raw,
                )
                .map_err(|errno| error(errno.into()))?;
            self.pump_output(&turn, observer, &mut buffer, &mut open);
            self.pump_input(&turn, raw);
            if turn.told[1] {
                self.refused.hear();
            }
            if turn.init[0]
                && let Some(Message::Ended(end)) = read_message(&mut self.status).map_err(error)?
            {
                self.is_told = true;
                return Ok((Some(end), None));
            }
            if turn.init[1] {
                let last = self.last_message().map_err(error)?;
                return Ok((last.filter(|_| cause.is_none()), cause));
            }
            let now = Instant::now();
            if let (true, Some(init)) = (self.meter.is_planned(), self.tree.init())
                && now >= self.running_since + late_after()
            {
                self.meter.attach_late(init);
            }
            if now >= next_tick || clock.is_over(now) {
                clock.pass(now, self.meter.is_frozen() || observer.is_suspended());
            }
            if cause.is_none() {
                cause = self.reason_to_end(observer, cancel, (now, &clock, next_tick));
                if cause.is_some() {
                    self.kill();
                }
            }
            if now >= next_tick {
                tick = (tick * 3 / 2).min(TICK_LONGEST);
                next_tick = now + tick;
            }
        }
    }

    /// Takes what was printed.
    fn pump_output(
        &mut self,
        turn: &Turn,
        observer: &mut dyn Observer,
        buffer: &mut Vec<u8>,
        open: &mut [bool; 2],
    ) {
        let streams = [
            (Stream::Stdout, &mut self.streams.output),
            (Stream::Stderr, &mut self.streams.error),
        ];
        for (index, (stream, file)) in streams.into_iter().enumerate() {
            if let (true, Some(file)) = (turn.output[index], file) {
                let take = |bytes: &[u8]| {
                    self.own_limits.print(bytes);
                    observer.output(stream, bytes);
                };
                open[index] = stdio::drain(file, buffer, PIECES_PER_ROUND, take) == Pumped::Open;
            }
        }
    }

    /// Hands on what is to be read, and the size of the window.
    fn pump_input(&mut self, turn: &Turn, raw: Option<&Raw>) {
        if turn.input
            && self
                .streams
                .input
                .as_mut()
                .is_some_and(|input| input.pump() == Pumped::Done)
        {
            self.streams.input = None;
        }
        if let (true, Some(raw), Some(ours)) = (turn.told[0], raw, &self.streams.output) {
            raw.follow(ours);
        }
    }

    fn reason_to_end(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancellation,
        (now, clock, next_tick): (Instant, &WallClock, Instant),
    ) -> Option<Cause> {
        match cancel.asked() {
            Asked::Nothing => {}
            // Who is suspended hears nothing.
            Asked::Soon(_) if self.meter.is_frozen() || observer.is_suspended() => {
                return Some(ExitReason::Cancelled);
            }
            Asked::Soon(number) => self.pass_on(number),
            Asked::Now => return Some(ExitReason::Cancelled),
        }
        if clock.is_over(now) {
            return Some(ExitReason::TimedOut);
        }
        let is_tick = now >= next_tick;
        let own = self
            .own_limits
            .exceeded(&self.meter, self.tree.init(), is_tick);
        if own.is_some() || !is_tick {
            return own.map(ExitReason::LimitExceeded);
        }
        self.meter.poll();
        if let Some(init) = self.tree.init() {
            self.meter.sweep(init);
        }
        let reached = observer.tick(&self.meter.paths()).map(|kind| match kind {
            LimitKind::WallTime => ExitReason::TimedOut,
            LimitKind::Memory
            | LimitKind::CpuTime
            | LimitKind::Processes
            | LimitKind::Disk
            | LimitKind::Inodes
            | LimitKind::FileSize
            | LimitKind::Output => ExitReason::LimitExceeded(kind),
        });
        reached.or_else(|| self.signalled(observer.signal()?))
    }

    /// Lets the guest know by which signal its caller was asked to end, once.
    fn pass_on(&mut self, number: i32) {
        let signal = Signal::from_named_raw(number).filter(|_| !self.was_asked);
        if let (Some(signal), Some(init)) = (signal, self.tree.init()) {
            send_to_guest(init, signal);
        }
        self.was_asked = true;
    }

    /// Sends a signal to the guest; `Some` if that ends the run here.
    fn signalled(&self, number: i32) -> Option<Cause> {
        let signal = Signal::from_named_raw(number)?;
        if signal == Signal::KILL {
            return Some(ExitReason::Signaled(number));
        }
        send_to_guest(self.tree.init()?, signal);
        None
    }

    fn next_wake(&self, next_tick: Instant, deadline: Option<Instant>) -> Instant {
        let late = self
            .meter
            .is_planned()
            .then(|| self.running_since + late_after());
        [deadline, late]
            .into_iter()
            .flatten()
            .fold(next_tick, Instant::min)
    }

    fn poll(
        &self,
        (cancel, can_end): (&Cancellation, bool),
        wake: Instant,
        open: [bool; 2],
        raw: Option<&Raw>,
    ) -> Result<Turn, Errno> {
        let mut fds = vec![
            PollFd::new(&self.status, PollFlags::IN),
            PollFd::from_borrowed_fd(self.tree.handle()?, PollFlags::IN),
        ];
        let mut places = [None; 7];
        let mut add = |place: usize, fd, flags| {
            places[place] = Some(fds.len());
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        let printed = [&self.streams.output, &self.streams.error];
        for (place, file) in printed.into_iter().enumerate() {
            if let (true, Some(file)) = (open[place], file) {
                add(place, file.as_fd(), PollFlags::IN);
            }
        }
        if let Some(input) = &self.streams.input {
            let (fd, to_write) = input.waits_for();
            add(
                2,
                fd,
                if to_write {
                    PollFlags::OUT
                } else {
                    PollFlags::IN
                },
            );
        }
        for (place, fd) in (3..).zip(cancel.descriptors()).filter(|_| can_end) {
            add(place, fd, PollFlags::IN);
        }
        if let Some(raw) = raw {
            add(5, raw.changes.as_fd(), PollFlags::IN);
        }
        if let Some(refused) = self.refused.waits_for() {
            add(6, refused, PollFlags::IN);
        }
        let timeout = timespec(wake.saturating_duration_since(Instant::now()));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = |place: Option<usize>| {
            place
                .and_then(|place| fds.get(place))
                .is_some_and(|fd| !fd.revents().is_empty())
        };
        Ok(Turn {
            init: [
                fds[0].revents().contains(PollFlags::IN),
                !fds[1].revents().is_empty(),
            ],
            output: [ready(places[0]), ready(places[1])],
            input: ready(places[2]),
            told: [ready(places[5]), ready(places[6])],
        })
    }

    /// Takes what the dead have left in the pipes.
    fn take_rest(&mut self, observer: &mut dyn Observer) {
        let mut buffer = Vec::new();
        let streams = [
            (Stream::Stdout, &mut self.streams.output),
            (Stream::Stderr, &mut self.streams.error),
        ];
        let there = streams.into_iter();
        for (stream, file) in there.filter_map(|(stream, file)| Some((stream, file.as_mut()?))) {
            stdio::drain(file, &mut buffer, usize::MAX, |bytes| {
                self.own_limits.print(bytes);
                observer.output(stream, bytes);
            });
        }
        self.streams.input = None;
    }

    /// Returns the end that init told just before its own.
    fn last_message(&mut self) -> io::Result<Option<End>> {
        let mut fds = [PollFd::new(&self.status, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
        if !fds[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        Ok(match read_message(&mut self.status)? {
            Some(Message::Ended(end)) => Some(end),
            Some(
                Message::Born(_) | Message::Ready | Message::Started { .. } | Message::Failed(_),
            )
            | None => None,
        })
    }

    /// The end of a tree whose init did not tell it. Unless this side or the memory limit killed init, nothing is
    /// known about what the guest did.
    fn end_of_killed(&mut self, cause: Option<Cause>) -> Result<End, LaunchError> {
        let (status, used) = self.tree.reap()?;
        if cause.is_none() {
            self.meter.finish();
            if !self.meter.out_of_memory() {
                let source = io::Error::other("the guest's pid 1 was killed");
                return Err(LaunchError::new("learn how the guest ended", source));
            }
        }
        Ok(End {
            status,
            used,
            unroutable: Unroutable::default(),
        })
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}
