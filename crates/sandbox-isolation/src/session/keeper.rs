//! The keeper: a small process of each session that holds one confinement ready, and outlives those who use it.
//!
//! One thread, which sleeps until something happens. It holds no secret: it was executed anew, without environment.

mod building;
mod events;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify,
    io::Errno,
    net::SocketFlags,
};

use super::{
    fresh::Seen,
    key::{self, Key},
    layers::{self, Identity, MakeLayers, Mounted},
    place::{Charge, Place, watch},
    spares::{Demand, Spare},
    wire::{Answer, Connection, Request, SessionStatus},
};
use events::Happened;

use crate::{
    egress,
    launch::{start, tree::Tree},
    plan::LaunchPlan,
    sys::process,
};

/// Conversations at once; who comes later starts without a session.
const GUESTS_MAX: usize = 256;
/// Operations at once, with those that wait for a confinement: each of them needs descriptors here.
const OPERATIONS_MAX: usize = 200;
/// How long a confinement is not built after one was taken: its operation is to have the machine first.
const BUILD_AFTER: Duration = Duration::from_millis(10);
/// How often the directories are looked at where nobody tells of their changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often they are built anew, because the host changes, before one is used: then it is waited for somebody who asks.
const REBUILDS_MAX: u32 = 16;

/// Keeps a session until nobody has used it for its time, or it is told to end. `charge` is what
/// [`super::SessionLauncher`] gave this program as its standard input; `layers` makes the next operation's. The process
/// is expected to do nothing else, and to have one thread: the session is kept in a copy of it, which is nobody's child,
/// and this call returns at once in the process itself.
///
/// # Errors
///
/// Fails if this is no charge, or the session cannot be kept.
pub fn keep_session(mut charge: impl Read, layers: &mut MakeLayers<'_>) -> io::Result<()> {
    // Whatever else was handed down: somebody may wait for its end.
    process::close_all_but(&[0, 1, 2])?;
    let mut bytes = Vec::new();
    charge.read_to_end(&mut bytes)?;
    let charge = Charge::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    // Nobody's child: who has started this may live long, and not wait for it.
    if process::fork()?.is_some() {
        return Ok(());
    }
    // No terminal, no process group that a Ctrl-C reaches.
    rustix::process::setsid()?;
    rustix::thread::set_name(c"sandbox-keeper")?;
    if key::ambient()? != charge.key.ambient {
        // Something has changed on the way here, and the next one to come would not be served.
        return Ok(());
    }
    let Some(place) = Place::take(&charge)? else {
        return Ok(());
    };
    let mut keeper = Keeper::new(charge, place, layers)?;
    keeper.run()
}

/// An operation that was started here.
struct Operation {
    tree: Tree,
    caller: Connection,
    /// Until its overlay is unmounted.
    _layers: Option<Mounted>,
    /// Who closes the last descriptor of a packet socket waits some 12 ms: that is not to be the caller.
    _watch: Option<OwnedFd>,
}

struct Keeper<'a> {
    /// `None` once it was told to end: then it stays for its operations only.
    place: Option<Place>,
    directory: PathBuf,
    idle_timeout: Duration,
    key: Key,
    plan: LaunchPlan,
    /// Which directory the plan's workspace is.
    workspace: Identity,
    /// What they were built from, if they were built at all.
    seen: Option<Rc<Seen>>,
    spares: Vec<Spare>,
    demand: Demand,
    build_at: Instant,
    /// How often they were built anew since one was taken.
    rebuilds: u32,
    /// They have not asked yet.
    guests: Vec<Connection>,
    /// They have asked, and wait for a spare, the first one first.
    waiting: VecDeque<Connection>,
    operations: Vec<Operation>,
    /// Those who have not gone yet though their operation has ended.
    leaving: Vec<Connection>,
    layers: &'a mut MakeLayers<'a>,
    used_at: Instant,
    /// Told of changes to the session's directory and the workspace. A user may have few of these (`inotify(7)`); then
    /// the directories are looked at now and then.
    watch: Option<OwnedFd>,
    look_at: Option<Instant>,
    /// Told of changes to the host's mounts.
    mounts: File,
}

impl<'a> Keeper<'a> {
    fn new(charge: Charge, place: Place, layers: &'a mut MakeLayers<'a>) -> io::Result<Self> {
        let invalid = io::ErrorKind::InvalidData;
        let plan = key::plan(&charge.key.site).ok_or(invalid)?;
        let (workspace, watch) = watch(&charge.directory, &plan.workspace)?;
        let look_at = watch.is_none().then(|| Instant::now() + LOOK_EVERY);
        Ok(Self {
            place: Some(place),
            directory: charge.directory,
            idle_timeout: charge.idle_timeout,
            key: charge.key,
            plan,
            workspace,
            seen: None,
            spares: Vec::new(),
            demand: Demand::new(Instant::now()),
            build_at: Instant::now(),
            rebuilds: 0,
            guests: Vec::new(),
            waiting: VecDeque::new(),
            operations: Vec::new(),
            leaving: Vec::new(),
            layers,
            used_at: Instant::now(),
            watch,
            look_at,
            mounts: File::open("/proc/self/mountinfo")?,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.look_at.is_some_and(|at| now >= at) {
                self.look_at = Some(now + LOOK_EVERY);
                self.look_at_places();
            }
            self.demand.pass(now);
            self.forget_recipes();
            self.drop_spares_behind(self.demand.wanted().max(self.waiting.len()));
            // After one that failed it is heard first who still waits.
            while self.is_to_build(now) && self.build() {}
            let is_idle = self.operations.is_empty() && now >= self.used_at + self.idle_timeout;
            if is_idle || (self.place.is_none() && self.operations.is_empty()) {
                return Ok(());
            }
            let happened = self.await_events()?;
            self.see_to(happened);
        }
    }

    fn see_to(&mut self, happened: Happened) {
        // From behind, so that the numbers of the others stay; and first, for the keeper may end below.
        let asked = happened.asked.into_iter().rev();
        let asked: Vec<_> = asked.map(|it| self.guests.swap_remove(it)).collect();
        if happened.knocks > 0 {
            self.let_in();
        }
        for index in happened.left.into_iter().rev() {
            self.waiting.remove(index);
        }
        for index in happened.told.into_iter().rev() {
            self.hear_spare(index);
        }
        for index in happened.gone.into_iter().rev() {
            drop(self.leaving.swap_remove(index));
            self.build_now();
        }
        for index in happened.ended.into_iter().rev() {
            let operation = self.operations.swap_remove(index);
            self.reap(operation);
        }
        if happened.mounts {
            self.rebuild();
        }
        for guest in asked {
            // Who asks a keeper that has ended hears that it is gone.
            if self.place.is_some() {
                self.answer(guest);
            }
        }
        self.hand_over();
        if happened.places {
            self.look_at_places();
        }
    }

    fn let_in(&mut self) {
        let Some(place) = &self.place else {
            return;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match rustix::net::accept_with(&place.socket, flags) {
                Ok(socket) => {
                    if let (Ok(guest), true) =
                        (Connection::of(socket), self.guests.len() < GUESTS_MAX)
                    {
                        self.guests.push(guest);
                    }
                }
                // Whoever knocks would wake us again and again: a keeper that can let nobody in is none.
                Err(Errno::MFILE | Errno::NFILE) => return self.end(),
                Err(_) => return,
            }
        }
    }

    /// Answers who has asked, or has gone.
    fn answer(&mut self, guest: Connection) {
        let message = guest.receive().unwrap_or_default();
        let request = Request::decode(&message);
        match request {
            None => return,
            Some(Request::Join(key)) => return self.join(guest, key),
            Some(Request::Status) => {}
            Some(Request::End) => self.end(),
            Some(Request::GiveWay(key)) => {
                if Key::decode(key).is_some_and(|key| key.ambient != self.key.ambient) {
                    self.end();
                }
            }
        }
        let status = Answer::Status(self.status());
        guest.answer(status, &[]).ok();
    }

    fn join(&mut self, guest: Connection, key: &[u8]) {
        let refuse = |foreign| {
            let refused = Answer::Refused { foreign };
            guest.answer(refused, &[]).ok();
        };
        let Some(key) = Key::decode(key).filter(|key| key.ambient == self.key.ambient) else {
            return refuse(true);
        };
        self.used_at = Instant::now();
        if key.site != self.key.site {
            refuse(false);
            // The next one is likely to be of the same kind.
            return self.adopt(key);
        }
        if self.waiting.len() + self.operations.len() >= OPERATIONS_MAX {
            return refuse(false);
        }
        let ahead = self.waiting.len();
        self.waiting.push_back(guest);
        let operations = self.operations.len() + self.waiting.len();
        self.demand.note(operations, Instant::now());
        self.hand_over();
        if let Some(guest) = self.waiting.get(ahead) {
            let queued = Answer::Queued(u32::try_from(ahead).unwrap_or(u32::MAX));
            guest.answer(queued, &[]).ok();
        }
    }

    /// Gives spares to who waits for them, if they are what would be built now.
    fn hand_over(&mut self) {
        let mut looked_at: Option<Rc<Seen>> = None;
        while !self.waiting.is_empty() {
            let Some(index) = self.spares.iter().position(|spare| spare.is_ready) else {
                return;
            };
            let seen = &self.spares[index].seen;
            if !looked_at.as_ref().is_some_and(|it| Rc::ptr_eq(it, seen)) {
                if !seen.is_still_so(&self.plan) || self.mounts_have_changed() {
                    return self.rebuild();
                }
                looked_at = Some(Rc::clone(seen));
            }
            self.give(index);
        }
    }

    /// Gives one spare to the first who waits, if that one is still there.
    fn give(&mut self, index: usize) {
        let (Some(spare), Some(guest)) = (self.spares.get(index), self.waiting.pop_front()) else {
            return;
        };
        let Spare { built, layers, .. } = spare;
        let (Some(init), Ok(handle)) = (built.tree.init(), built.tree.handle()) else {
            return;
        };
        let mut descriptors = vec![built.begin.as_fd(), handle];
        descriptors.extend(layers.as_ref().map(|layers| layers.lock.as_fd()));
        // A keeper without descriptors left is none.
        let Ok(network) = egress::pass_on(&spare.sockets) else {
            return self.end();
        };
        descriptors.extend(network.as_ref().map(OwnedFd::as_fd));
        let upper = layers.as_ref().map(|layers| layers.upper);
        let granted = guest.answer(Answer::Granted(init, upper), &descriptors);
        if granted.is_err() {
            return;
        }
        self.rebuilds = 0;
        self.build_at = Instant::now() + BUILD_AFTER;
        // From now on init lives as long as its caller: our end of its socket closes here.
        let Spare {
            built,
            layers,
            mut sockets,
            ..
        } = self.spares.remove(index);
        self.operations.push(Operation {
            tree: built.tree,
            caller: guest,
            _layers: layers,
            _watch: sockets.pop().filter(egress::is_watch),
        });
    }

    fn hear_spare(&mut self, index: usize) {
        let Some(spare) = self.spares.get_mut(index) else {
            return;
        };
        if spare.hear() {
            return;
        }
        if spare.is_first {
            // It cannot be built, or was killed. Who starts without a session is told why.
            self.end();
        } else {
            // What it was built from may have gone.
            self.rebuild();
        }
    }

    /// Whether as many are ready, or on their way, as are wanted.
    fn is_enough(&self) -> bool {
        let on_their_way = self.spares.iter().filter(|spare| !spare.is_ready).count();
        self.spares.len() >= self.wanted() || on_their_way >= self.demand.builders
    }

    fn wanted(&self) -> usize {
        let ahead = if self.rebuilds < REBUILDS_MAX {
            self.demand.wanted()
        } else {
            0
        };
        ahead.max(self.waiting.len())
    }

    fn is_to_build(&self, now: Instant) -> bool {
        let is_time = self.spares.len() < self.waiting.len() || now >= self.build_at;
        self.place.is_some() && is_time && !self.is_enough()
    }

    /// A builder that is dead is waited for once something else has happened: it takes its time for taking the mounts
    /// down that nobody needs any more.
    fn forget_recipes(&mut self) {
        let spares = self.spares.iter_mut().map(|spare| &mut spare.built.tree);
        let operations = self.operations.iter_mut().map(|it| &mut it.tree);
        spares.chain(operations).for_each(Tree::drop_recipe_of_dead);
    }

    fn rebuild(&mut self) {
        self.drop_spares_behind(0);
        self.seen = None;
        self.rebuilds += 1;
        self.build_at = Instant::now();
    }

    fn adopt(&mut self, key: Key) {
        let Some(plan) = key::plan(&key.site) else {
            return;
        };
        let Ok((workspace, watch)) = watch(&self.directory, &plan.workspace) else {
            return self.end();
        };
        // Who waits asked for another kind.
        for guest in self.waiting.drain(..) {
            guest.answer(Answer::Refused { foreign: false }, &[]).ok();
        }
        self.workspace = workspace;
        self.key = key;
        self.plan = plan;
        self.look_at = watch.is_none().then(|| Instant::now() + LOOK_EVERY);
        self.watch = watch;
        self.rebuilds = 0;
        self.rebuild();
    }

    /// Gives the place up, and the spare. The process stays until its operations have ended.
    fn end(&mut self) {
        self.waiting.clear();
        self.guests.clear();
        self.drop_spares_behind(0);
        self.place = None;
    }

    fn reap(&mut self, mut operation: Operation) {
        if let Ok((status, used)) = operation.tree.reap() {
            // Mostly it has gone.
            let reaped = Answer::Reaped(status, used);
            operation.caller.answer(reaped, &[]).ok();
        }
        self.used_at = Instant::now();
        // It settles now, and the machine is its own until then.
        self.leaving.push(operation.caller);
    }

    fn build_now(&mut self) {
        self.build_at = Instant::now();
    }

    /// Ends if the session's directory or its workspace has gone, or another one is there.
    fn look_at_places(&mut self) {
        if let Some(watch) = &self.watch {
            let mut space = [std::mem::MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(watch, &mut space);
            while reader.next().is_ok() {}
        }
        let socket = self.place.as_ref().map(|place| place.path.as_path());
        let is_listening = socket.is_none_or(|path| fs::symlink_metadata(path).is_ok());
        let workspace = Identity::of(&self.plan.workspace);
        if !is_listening || workspace.ok() != Some(self.workspace) {
            self.end();
        }
    }

    fn mounts_have_changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())) != Ok(0)
    }

    fn status(&self) -> SessionStatus {
        SessionStatus {
            pid: std::process::id(),
            is_ready: self.spares.iter().any(|spare| spare.is_ready),
            operations: u32::try_from(self.operations.len()).unwrap_or(u32::MAX),
            idle: self.used_at.elapsed(),
            idle_timeout: self.idle_timeout,
        }
    }
}
