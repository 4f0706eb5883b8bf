//! The keeper: a small process of each session that holds one confinement ready, and outlives those who use it.
//!
//! One thread, which sleeps until something happens. It holds no secret: it was executed anew, without environment.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
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
    wire::{Answer, Connection, REQUEST_BYTES_MAX, Request, SessionStatus},
};
use crate::{
    child::status::Message,
    egress,
    launch::{
        error::LaunchError,
        start::{self, Built, read_message},
        tree::Tree,
    },
    plan::LaunchPlan,
    sys::process,
};

/// Conversations at once; who comes later starts without a session.
const GUESTS_MAX: usize = 32;
/// How long a confinement is not built after one was taken: its operation is to have the machine first.
const BUILD_AFTER: Duration = Duration::from_millis(10);
/// How often the directories are looked at where nobody tells of their changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is built anew, because the host has changed, before somebody uses one.
const BUILDS_MAX: u32 = 16;
/// Keeps a session until nobody has used it for its time, or it is told to end. `charge` is what
/// [`super::SessionLauncher`] gave this program as its standard input; `layers` makes the next operation's. The process
/// is expected to do nothing else.
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

/// A confinement that waits for its operation, or is on its way to that.
struct Spare {
    built: Built,
    seen: Seen,
    layers: Option<Mounted>,
    /// Of its network, if that leads anywhere. They wait here and not in a channel, where all that a user sends count.
    sockets: Vec<OwnedFd>,
    is_ready: bool,
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
    spare: Option<Spare>,
    build_at: Option<Instant>,
    /// How often it was built since one was taken.
    builds: u32,
    /// They have not asked yet.
    guests: Vec<Connection>,
    /// They have asked, and wait for the spare.
    waiting: Vec<Connection>,
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

/// What [`Keeper::await_event`] waits for, in the order of its descriptors.
#[derive(Clone, Copy)]
enum Event {
    Knock,
    Spare,
    Places,
    Mounts,
    Guest(usize),
    Ended(usize),
    Gone(usize),
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
            spare: None,
            build_at: Some(Instant::now()),
            builds: 0,
            guests: Vec::new(),
            waiting: Vec::new(),
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
            if self.place.is_some() && self.build_at.is_some_and(|at| now >= at) {
                self.build();
            }
            let is_idle = self.operations.is_empty() && now >= self.used_at + self.idle_timeout;
            if is_idle || (self.place.is_none() && self.operations.is_empty()) {
                return Ok(());
            }
            let mut asked = Vec::new();
            let (mut ended, mut gone) = (Vec::new(), Vec::new());
            for event in self.await_event()? {
                match event {
                    Event::Knock => self.let_in(),
                    Event::Spare => self.hear_spare(),
                    Event::Places => self.look_at_places(),
                    Event::Mounts => self.rebuild(),
                    Event::Guest(index) => asked.push(index),
                    Event::Ended(index) => ended.push(index),
                    Event::Gone(index) => gone.push(index),
                }
            }
            // From behind, so that the numbers of the others stay.
            for index in asked.into_iter().rev() {
                let guest = self.guests.swap_remove(index);
                self.answer(guest);
            }
            for index in gone.into_iter().rev() {
                drop(self.leaving.swap_remove(index));
                self.build_now();
            }
            for index in ended.into_iter().rev() {
                let operation = self.operations.swap_remove(index);
                self.reap(operation);
            }
        }
    }

    fn await_event(&self) -> io::Result<Vec<Event>> {
        let mut watched: Vec<(Event, BorrowedFd<'_>, PollFlags)> = Vec::new();
        if let Some(place) = &self.place {
            watched.push((Event::Knock, place.socket.as_fd(), PollFlags::IN));
            let watch = self.watch.iter();
            watched.extend(watch.map(|it| (Event::Places, it.as_fd(), PollFlags::IN)));
            watched.push((Event::Mounts, self.mounts.as_fd(), PollFlags::PRI));
        }
        if let Some(spare) = &self.spare {
            watched.push((Event::Spare, spare.built.status.as_fd(), PollFlags::IN));
        }
        for (index, guest) in self.guests.iter().enumerate() {
            watched.push((Event::Guest(index), guest.as_fd(), PollFlags::IN));
        }
        for (index, operation) in self.operations.iter().enumerate() {
            if let Ok(handle) = operation.tree.handle() {
                watched.push((Event::Ended(index), handle, PollFlags::IN));
            }
        }
        for (index, caller) in self.leaving.iter().enumerate() {
            watched.push((Event::Gone(index), caller.as_fd(), PollFlags::IN));
        }
        let mut fds: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        match rustix::event::poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let events = watched.iter().zip(&fds);
        Ok(events
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((event, ..), _)| *event)
            .collect())
    }

    /// How long nothing needs to be done if nothing happens; `None` for ever.
    fn timeout(&self) -> Option<Timespec> {
        let idle = self
            .operations
            .is_empty()
            .then(|| self.used_at + self.idle_timeout);
        let there = self.place.is_some();
        let next = [
            idle,
            self.build_at.filter(|_| there),
            self.look_at.filter(|_| there),
        ];
        let next = next.into_iter().flatten().min()?;
        Timespec::try_from(next.saturating_duration_since(Instant::now())).ok()
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
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        let length = guest.receive(&mut buffer).unwrap_or(0);
        let request = buffer.get(..length).and_then(Request::decode);
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
        if !self.waiting.is_empty() {
            return refuse(false);
        }
        self.waiting.push(guest);
        if self.spare.is_none() {
            self.build_at = Some(Instant::now());
        }
        self.hand_over();
    }

    /// Gives the spare to who waits for it, if it is what would be built now.
    fn hand_over(&mut self) {
        let spare = self.spare.as_ref().filter(|spare| spare.is_ready);
        let Some(spare) = spare.filter(|_| !self.waiting.is_empty()) else {
            return;
        };
        if !spare.seen.is_still_so(&self.plan) || self.mounts_have_changed() {
            return self.rebuild();
        }
        let Some(guest) = self.waiting.pop() else {
            return;
        };
        let Some(Spare {
            built,
            layers,
            mut sockets,
            ..
        }) = self.spare.take()
        else {
            return;
        };
        let (Some(init), Ok(handle)) = (built.tree.init(), built.tree.handle()) else {
            return self.rebuild();
        };
        let mut descriptors = vec![built.begin.as_fd(), handle];
        descriptors.extend(layers.as_ref().map(|layers| layers.lock.as_fd()));
        // A keeper without descriptors left is none.
        let Ok(network) = egress::pass_on(&sockets) else {
            return self.end();
        };
        descriptors.extend(network.as_ref().map(OwnedFd::as_fd));
        let upper = layers.as_ref().map(|layers| layers.upper);
        let granted = guest.answer(Answer::Granted(init, upper), &descriptors);
        self.builds = 0;
        self.build_at = Some(Instant::now() + BUILD_AFTER);
        if granted.is_ok() {
            // From now on init lives as long as its caller: our end of its socket closes here.
            self.operations.push(Operation {
                tree: built.tree,
                caller: guest,
                _layers: layers,
                _watch: sockets.pop().filter(egress::is_watch),
            });
        }
    }

    fn hear_spare(&mut self) {
        let Some(spare) = &mut self.spare else {
            return;
        };
        match read_message(&mut spare.built.status) {
            Ok(Some(Message::Ready)) => {
                spare.is_ready = true;
                drop(spare.built.tree.take_recipe());
                // They were sent before that.
                let Ok(sockets) = egress::take_sockets(spare.built.network.take()) else {
                    return self.end();
                };
                spare.sockets = sockets;
                self.hand_over();
            }
            // It cannot be built, or was killed. Who starts without a session is told why.
            Ok(_) | Err(_) => self.end(),
        }
    }

    /// Starts to build.
    fn build(&mut self) {
        self.build_at = None;
        self.spare = None;
        self.builds += 1;
        let built = self.try_build();
        match built {
            Ok(spare) if self.builds <= BUILDS_MAX => self.spare = Some(spare),
            Ok(_) | Err(_) => self.end(),
        }
    }

    fn try_build(&mut self) -> Result<Spare, LaunchError> {
        // What changes while this is built is found when it is handed over.
        self.mounts_have_changed();
        let layers = layers::supply(&mut self.plan, self.layers)?;
        let see = |layout| Seen::with(&self.plan, layout);
        let (mut built, seen) = start::prepare_ahead(&self.plan, see)?;
        let born = built.tree.await_birth(&mut built.status);
        match born {
            Ok(None) => {}
            Ok(Some(failure)) | Err(failure) => return Err(built.tree.failed(failure)),
        }
        Ok(Spare {
            built,
            seen,
            layers,
            sockets: Vec::new(),
            is_ready: false,
        })
    }

    fn rebuild(&mut self) {
        self.spare = None;
        self.build_at = Some(Instant::now());
    }

    fn adopt(&mut self, key: Key) {
        let Some(plan) = key::plan(&key.site) else {
            return;
        };
        let Ok((workspace, watch)) = watch(&self.directory, &plan.workspace) else {
            return self.end();
        };
        self.workspace = workspace;
        self.key = key;
        self.plan = plan;
        self.look_at = watch.is_none().then(|| Instant::now() + LOOK_EVERY);
        self.watch = watch;
        self.builds = 0;
        self.rebuild();
    }

    /// Gives the place up, and the spare. The process stays until its operations have ended.
    fn end(&mut self) {
        self.waiting.clear();
        self.guests.clear();
        self.spare = None;
        self.build_at = None;
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
        if self.build_at.is_some() {
            self.build_at = Some(Instant::now());
        }
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
            is_ready: self.spare.as_ref().is_some_and(|spare| spare.is_ready),
            operations: u32::try_from(self.operations.len()).unwrap_or(u32::MAX),
            idle: self.used_at.elapsed(),
            idle_timeout: self.idle_timeout,
        }
    }
}
