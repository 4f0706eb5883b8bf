//! What runs between the clone and the guest's first instruction.
//!
//! ```text
//! caller ──clone──> init (pid 1 of the new namespaces) ──clone──> guest          a caller without privileges
//! caller ──clone──> builder ──clone──> init ──clone──> guest                     root
//! ```
//! For root, the *builder* still has host rights: it makes the mounts that the guest's ids cannot make (they
//! may not even reach the paths), in a mount namespace that goes away with it. *init* never has host rights.
//!
//! Everything was prepared before the first clone: the caller may have many threads, so nothing here
//! allocates, locks or panics. What fails is told by number and becomes text in the caller.

pub(crate) mod alone;
pub(crate) mod guest;
pub(crate) mod identity;
pub(crate) mod order;
pub(crate) mod probe;
pub(crate) mod site;
pub(crate) mod status;
pub(crate) mod step;

use std::{
    ffi::CString,
    os::fd::{BorrowedFd, RawFd},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    process::Pid,
};

use self::{
    guest::Guest,
    identity::Identity,
    order::Order,
    site::{OldRoot, Site},
    status::{Act, Failure, Message},
    step::{Step, Steps},
};
use crate::{
    egress::{self, Doors},
    init::{self, NetworkBuilder, Watch},
    stdio::GuestEnds,
    sys::{
        clone::{self, Lent, Memory, Stack},
        process::{self, ArgumentArea, Namespace},
        signals,
    },
};

/// Everything that the children need.
pub(crate) struct Recipe {
    pub(crate) identity: Identity,
    /// The namespaces that init is born into.
    pub(crate) namespaces: libc::c_int,
    /// Whether the guest has a network of its own, which is made later: that takes long.
    pub(crate) own_network: bool,
    pub(crate) steps: Steps,
    /// Where the transaction is mounted, if there is one.
    pub(crate) overlay: Option<CString>,
    pub(crate) channels: Channels,
    pub(crate) guest: Guest,
    /// The operation. Empty if this is built ahead of it: then it comes with the word that the guest may start.
    pub(crate) order: Vec<u64>,
    /// What init must forget: its guest could read the caller's arguments.
    pub(crate) arguments: Option<ArgumentArea>,
    pub(crate) stacks: Stacks,
    /// Written by init: what is left of the host, for the process that detaches it.
    pub(crate) old_root: Option<OldRoot<BorrowedFd<'static>>>,
}

/// The stacks of the processes that are started from here, except the builder's.
pub(crate) struct Stacks {
    pub(crate) init: Stack,
    pub(crate) guest: Stack,
    /// Of the process that makes the network, and later of the one that detaches the old root.
    pub(crate) helpers: [Stack; 2],
}

impl Stacks {
    pub(crate) fn new() -> Self {
        Self {
            init: Stack::new(),
            guest: Stack::new(),
            helpers: [Stack::new(), Stack::new()],
        }
    }
}

/// The descriptors that children keep. Owned by the caller, so never closed here but by `close_range`.
pub(crate) struct Channels {
    /// Readable once the caller is dead, however it died: a pidfd, so no copy of a descriptor in some other
    /// child of the caller can keep a sandbox alive. `None` as long as the caller is not known: then the end of
    /// [`Self::start`] tells that there will be none.
    pub(crate) caller: Option<RawFd>,
    /// Where init tells what happens.
    pub(crate) status: RawFd,
    /// Readable once the builder is done; at its end if the builder died. Nobody reads it any more once init has
    /// taken over what the builder has built.
    pub(crate) built: (RawFd, RawFd),
    /// Readable once the guest may start: it was cleared, its transaction is there, its limits hold. A socket that
    /// keeps messages apart.
    pub(crate) start: RawFd,
    /// Where the guest's network leads, if anywhere.
    pub(crate) doors: Option<Doors>,
    pub(crate) stdio: GuestEnds,
}

/// As many as [`Channels`] has.
const KEPT_MAX: usize = 9;

impl Channels {
    fn keep<'a>(&self, buffer: &'a mut [RawFd; KEPT_MAX]) -> &'a [RawFd] {
        let all = [
            self.caller,
            Some(self.status),
            Some(self.built.0),
            Some(self.built.1),
            Some(self.start),
            self.doors.as_ref().map(|doors| doors.channel),
            self.stdio.input,
            Some(self.stdio.output),
            Some(self.stdio.error),
        ];
        let mut count = 0;
        // What comes with the order has no number yet.
        for fd in all.into_iter().flatten().filter(|fd| *fd >= 0) {
            buffer[count] = fd;
            count += 1;
        }
        let kept = &mut buffer[..count];
        kept.sort_unstable();
        kept
    }
}

/// The children of one launch, as far as they are known.
pub(crate) enum Children {
    /// Init alone; the recipe is the caller's again.
    Init(Pid, Box<Recipe>),
    /// The builder, which tells init's process id by [`Message::Born`]. It has the recipe.
    Builder(Lent<Recipe>),
}

/// Starts the children.
pub(crate) fn start(mut recipe: Box<Recipe>) -> Result<Children, (Box<Recipe>, Failure)> {
    clone::with_signals_blocked(|| match recipe.identity {
        Identity::Own { .. } => match start_init(&mut recipe, 0) {
            Ok(init) => Ok(Children::Init(init, recipe)),
            Err(failure) => Err((recipe, failure)),
        },
        // No exit signal: the caller's own `waitpid(-1)` and SIGCHLD handler never see our children.
        Identity::Mapped { .. } => Lent::start(recipe, libc::CLONE_NEWNS, build)
            .map(Children::Builder)
            .map_err(|(recipe, errno)| (recipe, Act::Builder.failed(errno))),
    })
}

fn start_init(recipe: &mut Recipe, extra: libc::c_int) -> Result<Pid, Failure> {
    let mut stack = std::mem::replace(&mut recipe.stacks.init, Stack::none());
    let flags = recipe.namespaces | extra;
    let started = clone::start(&mut stack, Memory::Copied, flags, recipe, become_init);
    recipe.stacks.init = stack;
    started.map_err(|errno| Act::Namespaces.failed(errno))
}

/// The builder: host root, in a mount namespace of its own. It shares the caller's memory while the caller goes
/// on, and uses nothing of it but the recipe: no copy is made of what may be gigabytes.
fn build(recipe: &mut Recipe) -> i32 {
    let status = recipe.channels.status;
    match try_build(recipe) {
        Ok(()) => 0,
        Err(failure) => {
            Message::Failed(failure).send(fd(status));
            1
        }
    }
}

fn try_build(recipe: &mut Recipe) -> Result<(), Failure> {
    // 1. Only our own descriptors: a leaked one would reach the guest's side.
    let mut buffer = [0; KEPT_MAX];
    process::close_all_but(recipe.channels.keep(&mut buffer))
        .map_err(|errno| Act::Descriptors.failed(errno))?;
    set_umask_aside(recipe);
    // 2. Init first: it makes its namespaces while the view is built here. As the caller's child, not ours.
    let init = start_init(recipe, libc::CLONE_PARENT)?;
    // Whoever waits for this would wait for as long as init lives, which waits for us.
    let born = Message::Born(init).try_send(fd(recipe.channels.status));
    born.map_err(|errno| Act::Builder.failed(errno))?;
    process::close(recipe.channels.built.0);
    // 3. Its ids, which the shifted mounts below use too.
    let mut site = Site::default();
    site.user_namespace = Some(recipe.identity.map(init)?);
    // 4. The view.
    run_steps(&recipe.steps.build, &mut site, Act::Build)?;
    // 5. Init goes on when it reads this; when we die before, it reads the end and ends.
    let built = fd(recipe.channels.built.1);
    rustix::io::write(built, &[1]).map_err(|errno| Act::Builder.failed(errno))?;
    // 6. The last process of a mount namespace takes all its mounts down, and waits for RCU. That is to be this
    //    one, beside init, and not init on its way to the guest: so stay until it has left.
    await_no_reader(built);
    Ok(())
}

/// Lets what is built from here on have the permissions it is given, by this process and those that it starts.
fn set_umask_aside(recipe: &mut Recipe) {
    let callers = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    recipe.guest.umask = Some(callers);
}

/// Waits until nobody can read from the pipe `fd`, by death or by closing it.
fn await_no_reader(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    while rustix::event::poll(&mut fds, None) == Err(Errno::INTR) {}
}

fn run_steps(steps: &[Step], site: &mut Site, act: fn(u16) -> Act) -> Result<(), Failure> {
    for (index, step) in (0_u16..).zip(steps) {
        step.run(site).map_err(|errno| act(index).failed(errno))?;
    }
    Ok(())
}

/// Init: pid 1 of the new namespaces.
fn become_init(recipe: &mut Recipe) -> i32 {
    match try_become_init(recipe) {
        Ok((leader, watch)) => init::run(recipe, leader, &watch),
        Err(failure) => {
            // Whose channel it is may have changed on the way: see `init::await_order`.
            Message::Failed(failure).send(fd(recipe.channels.status));
            1
        }
    }
}

fn try_become_init(recipe: &mut Recipe) -> Result<(Pid, Watch), Failure> {
    // 1. The caller's handlers and ignored signals mean nothing here, and no child of ours may be reaped
    //    by an ignored SIGCHLD. All signals stay blocked.
    signals::reset_dispositions();
    // 2. Only our own descriptors.
    let mut buffer = [0; KEPT_MAX];
    process::close_all_but(recipe.channels.keep(&mut buffer))
        .and_then(|()| process::fill_standard_streams())
        .map_err(|errno| Act::Descriptors.failed(errno))?;
    // 3. The caller's arguments may hold secrets, and the guest sees init's.
    if let Some(arguments) = recipe.arguments {
        arguments.erase();
    }
    let mut site = Site::default();
    match &recipe.identity {
        // 4a. Without privileges: the caller's own id, and the whole view built here.
        Identity::Own { .. } => {
            set_umask_aside(recipe);
            let mut network = NetworkBuilder::default();
            if recipe.own_network {
                network.start(&mut recipe.stacks.helpers[0]);
            }
            let mapped = recipe.identity.map_own();
            let built = mapped.and_then(|()| run_steps(&recipe.steps.build, &mut site, Act::Build));
            // Whatever came of that: until here, the other process uses this one's memory.
            if recipe.own_network {
                network.finish()?;
            }
            built?;
            identity::empty_bounding_set()?;
        }
        // 4b. For root: make what needs no mounts, wait for the builder, become the new namespace's root, take a
        //     copy of the mounts.
        Identity::Mapped { .. } => {
            let unshare = |namespace| {
                process::unshare(namespace).map_err(|errno| Act::Namespaces.failed(errno))
            };
            unshare(Namespace::Ipc)?;
            if recipe.own_network {
                init::make_network()?;
            }
            // The guest inherits it; here init would only wait.
            identity::empty_bounding_set()?;
            await_builder(&recipe.channels)?;
            identity::become_root()?;
            unshare(Namespace::Mounts)?;
            process::close(recipe.channels.built.0);
            site.copy_root()
                .map_err(|errno| Act::TakeOver.failed(errno))?;
        }
    }
    open_doors(&recipe.channels)?;
    // 5. What this namespace must mount itself.
    run_steps(&recipe.steps.inner, &mut site, Act::Inner)?;
    // 6. No ptrace, no /proc/1/mem, no core dump: the guest will see this process. After the identity, which would
    //    reset it and needs /proc/self.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|errno| Act::NotDumpable.failed(errno))?;
    init::set_names()?;
    // 7. What init needs later is open before a guest can interfere.
    let watch = Watch::open(recipe.own_network)?;
    let rules = guest::rules(recipe)?;
    // 8. Nothing of the guest's own is touched before the caller says that it may start.
    let mut order = init::await_order(recipe)?;
    mount_transaction(recipe, &order, &mut site)?;
    run_steps(&recipe.steps.late, &mut site, Act::Late)?;
    // 9. No descriptor of the host's stays here.
    init::let_go_of_host(recipe, &mut site)?;
    // 10. The guest. Until it is said, nothing of the operation has run, whatever becomes of this process.
    init::say_that_it_begins(&recipe.channels);
    let leader = guest::start(recipe, &mut order, rules)?;
    if let Some(doors) = recipe.channels.doors.as_ref()
        && doors.are_asked_for()
    {
        process::close(doors.channel);
    }
    Message::Started {
        without_proc: site.without_proc,
    }
    .send(fd(recipe.channels.status));
    Ok((leader, watch))
}

/// Mounts the operation's layers over the workspace, unless they are there.
fn mount_transaction(recipe: &Recipe, order: &Order, site: &mut Site) -> Result<(), Failure> {
    let mounted = match (&recipe.overlay, order.overlay()) {
        (Some(at), Some(layers)) => site.mount_overlay(at, layers),
        (Some(at), None) => site.check_ahead(at),
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Errno::INVAL),
    };
    mounted.map_err(|errno| Act::Overlay.failed(errno))
}

/// Lets the guest's network lead to the caller, while there are capabilities for that.
fn open_doors(channels: &Channels) -> Result<(), Failure> {
    let Some(doors) = &channels.doors else {
        return Ok(());
    };
    egress::netns::open(&doors.ports, doors.spare, fd(doors.channel))
        .map_err(|errno| Act::Egress.failed(errno))?;
    if !doors.are_asked_for() {
        process::close(doors.channel);
    }
    Ok(())
}

/// The write end is the builder's alone from here on, so its death is an end of file.
fn await_builder(channels: &Channels) -> Result<(), Failure> {
    let failed = |errno| Act::Builder.failed(errno);
    process::close(channels.built.1);
    let mut byte = [0];
    match rustix::io::read(fd(channels.built.0), &mut byte) {
        Ok(1) => Ok(()),
        Ok(_) => Err(failed(Errno::PIPE)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Borrows a descriptor of [`Channels`].
pub(crate) fn fd(raw: RawFd) -> BorrowedFd<'static> {
    process::borrow(raw)
}
