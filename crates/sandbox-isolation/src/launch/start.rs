//! Starting a plan, up to the guest's first instruction.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::fs::MetadataExt as _,
    },
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
    pipe::PipeFlags,
    process::PidfdFlags,
};
use sandbox_types::{Enforcement, ExitReason, Level, Limits, NetworkAccess};

use super::{
    caller::Ids,
    error::LaunchError,
    meter::Meter,
    own_limits::OwnLimits,
    recipe::{self, When},
    refused::Refused,
    run::{Confined, Start},
    tree::Tree,
    walls,
};
use crate::{
    child::{
        self, Channels, Recipe, Stacks,
        guest::Guest,
        identity::Identity,
        status::{Act, MESSAGE_BYTES, Message},
        step::Steps,
    },
    egress::{self, Egress, Hall},
    looks::Looks,
    plan::{LaunchPlan, StdinSource},
    stdio::{GuestEnds, Streams},
    sys::process::ArgumentArea,
    toolchains,
    view::Layout,
};

/// The namespaces that every init is born into. (`clone3` could not be used where a container forbids it.)
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
/// Those that a caller without privileges gives it too. With a builder, init makes them while that one builds.
const OWN_NAMESPACES: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWIPC;

const WITHOUT_PROC: &str =
    "/proc: the container that this runs in masks its own, so the guest has none";

/// A guest that is built as far as that is possible before it may start.
#[derive(Debug)]
pub(crate) struct Readied {
    waiting: Waiting,
    /// What to build it from once more, and when it was looked at; not if nothing is hidden by where it is.
    again: Option<(LaunchPlan, Instant)>,
}

/// A guest that waits for its start, and what it starts by: a message.
#[derive(Debug)]
struct Waiting(Option<(OwnedFd, Confined)>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some((begin, mut confined)) = self.0.take() else {
            return;
        };
        // As long as only its builder knows init, nobody would wait for it.
        confined.tree.await_birth(&mut confined.status).ok();
        // Before what waits for that: a keeper that waits for the message ends by nothing else.
        drop(begin);
    }
}

/// How long what was found on the host counts. An operation may wait long for its turn, and a secret that somebody
/// puts into a granted directory meanwhile would be visible.
pub(crate) const FOUND_COUNTS: Duration = Duration::from_secs(1);

/// A confinement on its way.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) tree: Tree,
    /// Tells what init tells.
    pub(crate) status: File,
    /// Lets the guest start; its end ends init until then.
    pub(crate) begin: OwnedFd,
    /// Where it hands out the sockets of its network, if that leads anywhere.
    pub(crate) network: Option<OwnedFd>,
}

/// What a plan makes of a confinement, whatever its operation.
struct Site {
    ids: Ids,
    steps: Steps,
    guest: Guest,
    overlay: Option<CString>,
    own_network: bool,
    /// Of the workspace.
    device: u64,
}

/// What init has of its caller from the beginning.
struct Ends {
    caller: Option<RawFd>,
    stdio: GuestEnds,
    hall: Option<Hall>,
}

impl Site {
    fn of(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        let looks = Looks::default();
        let workspace = check_workspace(plan, &looks)?;
        let ids = Ids::of(&workspace, plan.host_ids);
        let layout = lay_out(plan, &ids, looks)?;
        Self::with(plan, &layout, (&workspace, When::Now))
    }

    /// What `layout` makes of it.
    fn with(
        plan: &LaunchPlan,
        layout: &Layout,
        (workspace, when): (&fs::Metadata, When),
    ) -> Result<Self, LaunchError> {
        let ids = Ids::of(workspace, plan.host_ids);
        Ok(Self {
            steps: recipe::steps(plan, layout, &ids, (workspace, when))?,
            guest: recipe::guest(plan, layout)?,
            overlay: recipe::overlay(plan)?,
            own_network: has_own_network(plan),
            device: workspace.dev(),
            ids,
        })
    }

    /// Starts the processes that build it.
    fn build(self, order: Vec<u64>, ends: Ends) -> Result<Built, LaunchError> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(no_channel);
        let (status, built) = (pipe()?, pipe()?);
        let begin = start_channel().map_err(no_channel)?;
        let mapped = self.ids.mapped;
        let recipe = Box::new(Recipe {
            identity: self.ids.identity(),
            namespaces: NAMESPACES | if mapped { 0 } else { OWN_NAMESPACES },
            own_network: self.own_network,
            steps: self.steps,
            overlay: self.overlay,
            order,
            channels: Channels {
                caller: ends.caller,
                status: status.1.as_raw_fd(),
                built: (built.0.as_raw_fd(), built.1.as_raw_fd()),
                start: begin.1.as_raw_fd(),
                doors: ends.hall.as_ref().map(Hall::doors),
                stdio: ends.stdio,
            },
            guest: self.guest,
            arguments: argument_area(),
            stacks: Stacks::new(),
            old_root: None,
        });
        let children = child::start(recipe)
            .map_err(|(recipe, failure)| LaunchError::of(failure, &recipe.steps))?;
        // Only the children have these ends now: their death is an end of file.
        drop((status.1, built, begin.1));
        Ok(Built {
            tree: Tree::of(children)?,
            status: status.0.into(),
            begin: begin.0,
            network: ends.hall.map(Hall::close_their_end),
        })
    }
}

/// Tries to make namespaces and to mount in them, in a process of its own. It costs about a millisecond.
///
/// # Errors
///
/// Fails when this process may not; the hint says why, and what allows it.
pub fn probe_namespaces() -> Result<(), LaunchError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let identity = Identity::Own {
        uid_map: format!("{uid} {uid} 1\n").into_bytes(),
        gid_map: format!("{gid} {gid} 1\n").into_bytes(),
    };
    let namespaces = NAMESPACES | OWN_NAMESPACES | libc::CLONE_NEWNET;
    child::probe::namespaces(namespaces, identity)
        .map_err(|failure| LaunchError::of(failure, &Steps::default()))
}

/// Starts to build what `plan` says.
pub(crate) fn prepare(plan: LaunchPlan) -> Result<Readied, LaunchError> {
    let now = Instant::now();
    Ok(Readied {
        waiting: build(&plan)?,
        again: Some((plan, now)),
    })
}

fn build(plan: &LaunchPlan) -> Result<Waiting, LaunchError> {
    let site = Site::of(plan)?;
    let order = order(plan, &site.ids, When::Now)?;
    let mut streams = open_streams(plan.stdin.clone(), &site.ids)?;
    let own = own_handle()?;
    let own_network = site.own_network;
    let ends = Ends {
        caller: Some(own.as_raw_fd()),
        stdio: streams.guest_ends(),
        hall: Hall::of(&plan.network)?,
    };
    let meter = Meter::prepare(&plan.name, &plan.limits, site.device)?;
    let built = site.build(order, ends)?;
    streams.close_guest_ends();
    let egress = Egress::start(&plan.network, built.network)?;
    let parts = (streams, meter, plan.limits.clone());
    let mut confined = Confined::of(built.tree, built.status, parts);
    confined.set_network(own_network, egress);
    confined.enforcement.missing.extend(uncounted(plan));
    Ok(Waiting(Some((built.begin, confined))))
}

/// Starts to build what every operation of `plan`'s kind needs, as `layout` says.
pub(crate) fn prepare_ahead(plan: &LaunchPlan, layout: &Layout) -> Result<Built, LaunchError> {
    let workspace = check_workspace(plan, &Looks::default())?;
    let site = Site::with(plan, layout, (&workspace, When::Ahead))?;
    let ends = Ends {
        caller: None,
        stdio: GuestEnds {
            input: None,
            output: -1,
            error: -1,
        },
        hall: Hall::of(&plan.network)?,
    };
    site.build(Vec::new(), ends)
}

/// Lays out the operation of `plan` for init.
pub(crate) fn order(plan: &LaunchPlan, ids: &Ids, when: When) -> Result<Vec<u64>, LaunchError> {
    recipe::order(plan, !ids.mapped || ids.inside.0 == 0, when)
}

pub(crate) fn open_streams(stdin: StdinSource, ids: &Ids) -> Result<Streams, LaunchError> {
    Streams::open(stdin, ids.mapped.then_some(ids.outside))
        .map_err(|error| LaunchError::new("open the channels to the guest", error))
}

/// Returns what becomes readable when this process is dead.
pub(crate) fn own_handle() -> Result<OwnedFd, LaunchError> {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map_err(no_channel)
}

pub(crate) fn no_channel(errno: Errno) -> LaunchError {
    LaunchError::new("open the channels to the guest", errno)
}

pub(crate) fn has_own_network(plan: &LaunchPlan) -> bool {
    plan.network != NetworkAccess::Host
}

pub(crate) fn lay_out(plan: &LaunchPlan, ids: &Ids, looks: Looks) -> Result<Layout, LaunchError> {
    Layout::of(plan, ids, looks).map_err(|unusable| {
        LaunchError::new(
            format!("grant {}", unusable.path.display()),
            unusable.source,
        )
    })
}

impl Readied {
    /// Returns a guest that starts when a byte is written to `begin`.
    pub(super) fn of(confined: Confined, begin: OwnedFd) -> Self {
        Self {
            waiting: Waiting(Some((begin, confined))),
            again: None,
        }
    }

    /// Lets the guest start.
    pub(crate) fn launch(self) -> Result<Confined, LaunchError> {
        let Self { mut waiting, again } = self;
        if let Some((plan, _)) = again.filter(|(_, since)| since.elapsed() > FOUND_COUNTS) {
            // Before: the cgroups have the same name.
            drop(waiting);
            waiting = build(&plan)?;
        }
        let Some((begin, confined)) = waiting.0.take() else {
            return Err(LaunchError::new("start the guest", Errno::CHILD));
        };
        // On every way out `begin` is dropped first: a keeper that waits for its message ends by nothing else.
        let mut confined = confined;
        let begin = begin;
        let told = confined.tree.await_birth(&mut confined.status);
        let told = told.map_err(|failure| confined.tree.failed(failure))?;
        if let Some(failure) = told {
            return Err(confined.tree.failed(failure));
        }
        confined.attach()?;
        match rustix::net::send(&begin, &START, SendFlags::NOSIGNAL) {
            // If init is dead, its last message says why.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(LaunchError::new("start the guest", errno)),
        }
        confined.order = Some(begin);
        Ok(confined)
    }
}

/// What lets a guest start whose order its init has.
const START: [u8; 8] = [0; 8];

/// Returns both ends of what lets the guest start: the one that says so, and init's.
pub(super) fn start_channel() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Where this process's arguments are; looked up once, for they stay where they are.
pub(super) fn argument_area() -> Option<ArgumentArea> {
    static AREA: OnceLock<Option<ArgumentArea>> = OnceLock::new();
    *AREA.get_or_init(|| ArgumentArea::parse(&fs::read_to_string("/proc/self/stat").ok()?))
}

pub(crate) fn check_workspace(
    plan: &LaunchPlan,
    looks: &Looks,
) -> Result<fs::Metadata, LaunchError> {
    let path = &plan.workspace;
    let error = |source: io::Error| {
        LaunchError::new(format!("use {} as the workspace", path.display()), source)
    };
    let refused = |reason: &str| Err(error(io::Error::other(reason.to_owned())));
    if toolchains::is_system(path) {
        return refused("it is a system directory")
            .map_err(|error| error.with_hint("choose a directory of its own for the workspace"));
    }
    if !path.is_absolute() || looks.canonicalize(path).map_err(error)? != *path {
        return refused("the path is not absolute and canonical");
    }
    let metadata = looks.lstat(path).map_err(error)?;
    if !metadata.is_dir() {
        return refused("it is not a directory");
    }
    Ok(metadata)
}

/// A disk limit is about the transaction.
pub(crate) fn uncounted(plan: &LaunchPlan) -> Option<String> {
    let path = plan
        .view
        .write
        .first()
        .filter(|_| plan.limits.disk.is_some())?;
    Some(format!(
        "the disk limit does not hold in what is granted with write ({})",
        path.display()
    ))
}

impl Confined {
    /// Returns a guest that is on its way.
    pub(crate) fn of(
        tree: Tree,
        status: File,
        (streams, meter, limits): (Streams, Meter, Limits),
    ) -> Self {
        let now = Instant::now();
        Self {
            tree,
            status,
            streams,
            meter,
            own_limits: OwnLimits::of(&limits),
            limits,
            started_at: now,
            running_since: now,
            enforcement: Enforcement::default(),
            start: Start::Awaited,
            order: None,
            refused: Refused::default(),
            is_told: false,
            was_asked: false,
            egress: None,
            temporary: None,
        }
    }

    /// Puts init where the limits hold that must hold from the start: the guest's time begins.
    pub(crate) fn attach(&mut self) -> Result<(), LaunchError> {
        if let (true, Some(init)) = (self.meter.is_strict(), self.tree.init()) {
            self.meter.attach(init)?;
        }
        self.started_at = Instant::now();
        Ok(())
    }

    /// Says what network the guest has.
    pub(crate) fn set_network(&mut self, own_network: bool, egress: Option<Egress>) {
        self.enforcement = walls::told(own_network);
        self.egress = egress;
    }

    /// Whether the guest may have run, though its start was not told.
    pub(crate) fn has_begun(&self) -> bool {
        let order = self.order.as_ref();
        // Without it, the start was told.
        order.is_none_or(|order| {
            let received = rustix::net::recv(order, &mut [0; 1], RecvFlags::DONTWAIT);
            matches!(received, Ok((1, _)))
        })
    }

    /// Takes where refused calls are told, if they are: it was sent before the guest executed its program.
    fn take_listener(&mut self) {
        let Some(order) = self.order.take() else {
            return;
        };
        // The first says that it begins.
        while let Ok(Some(mut sent)) = egress::take_next(&order) {
            if let Some(listener) = sent.pop() {
                return self.refused.listen(listener);
            }
        }
    }

    /// Waits until the guest executes its program, or cannot.
    pub(super) fn await_start(&mut self) -> Result<(), LaunchError> {
        if self.start != Start::Awaited {
            return Ok(());
        }
        self.start = match next_message(self)? {
            Some(Message::Started { without_proc }) => {
                if without_proc {
                    self.enforcement.mount = Level::Partial;
                    self.enforcement.missing.push(WITHOUT_PROC.to_owned());
                }
                self.take_listener();
                self.streams
                    .take_terminal()
                    .map_err(|error| LaunchError::new("take the guest's terminal", error))?;
                Start::Done
            }
            Some(Message::Failed(failure)) => Start::Never(match (failure.act, failure.errno) {
                (Act::Execute, Errno::NOENT) => ExitReason::NotFound,
                (Act::Execute, Errno::ACCESS | Errno::NOEXEC) => ExitReason::NotExecutable,
                _ => return Err(self.tree.failed(failure)),
            }),
            Some(Message::Ended(_) | Message::Born(_) | Message::Ready) | None => {
                let source = io::Error::other("its first process died");
                return Err(LaunchError::new("start the guest", source));
            }
        };
        self.running_since = Instant::now();
        Ok(())
    }
}

/// Reads the next message; `None` if init died without one.
fn next_message(confined: &mut Confined) -> Result<Option<Message>, LaunchError> {
    let error = |source: io::Error| LaunchError::new("hear from the guest's first process", source);
    let handle = confined
        .tree
        .handle()
        .map_err(|errno| error(errno.into()))?;
    loop {
        let mut fds = [
            PollFd::new(&confined.status, PollFlags::IN),
            PollFd::from_borrowed_fd(handle, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(error(errno.into())),
            Ok(_) => {}
        }
        if !fds[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        return read_message(&mut confined.status).map_err(error);
    }
}

/// Reads one message that is there; `None` at the end.
pub(crate) fn read_message(status: &mut File) -> io::Result<Option<Message>> {
    let mut bytes = [0; MESSAGE_BYTES];
    match status.read_exact(&mut bytes) {
        Ok(()) => Ok(Message::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
