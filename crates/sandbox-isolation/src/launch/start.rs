//! Starting a plan, up to the guest's first instruction.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::OnceLock,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    pipe::PipeFlags,
    process::PidfdFlags,
};
use sandbox_types::{Enforcement, ExitReason, Level, NetworkAccess};

use super::{
    caller::Ids,
    error::LaunchError,
    meter::Meter,
    own_limits::OwnLimits,
    recipe,
    run::{Confined, Start},
    tree::Tree,
};
use crate::{
    child::{
        self, Channels, Recipe, Stacks,
        identity::Identity,
        status::{Act, MESSAGE_BYTES, Message},
    },
    egress::Egress,
    plan::LaunchPlan,
    stdio::Streams,
    sys::{landlock, process::ArgumentArea},
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
    confined: Confined,
    /// The guest starts when a byte is written to it.
    begin: OwnedFd,
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
        .map_err(|failure| LaunchError::of(failure, &[], &[]))
}

/// Starts to build what `plan` says.
pub(crate) fn prepare(plan: LaunchPlan) -> Result<Readied, LaunchError> {
    let workspace = check_workspace(&plan)?;
    let ids = Ids::of(&workspace, plan.host_ids);
    let layout = lay_out(&plan, &ids)?;
    let steps = recipe::steps(&plan, &layout, &ids, &workspace)?;
    let shares_id_with_init = !ids.mapped || ids.inside.0 == 0;
    let guest = recipe::guest(&plan, &layout, shares_id_with_init)?;
    let uncounted = uncounted(&plan);
    let open = |error: Errno| LaunchError::new("open the channels to the guest", error);
    let mut streams = Streams::open(plan.stdin, ids.mapped.then_some(ids.outside))
        .map_err(|error| LaunchError::new("open the channels to the guest", error))?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(open);
    let (status, built, begin) = (pipe()?, pipe()?, pipe()?);
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(open)?;

    let mut enforcement = enforcement(plan.network != NetworkAccess::Host);
    enforcement.missing.extend(uncounted);
    let own_network = plan.network != NetworkAccess::Host;
    let mut egress = Egress::of(&plan.network)?;
    let recipe = Box::new(Recipe {
        identity: ids.identity(),
        namespaces: NAMESPACES | if ids.mapped { 0 } else { OWN_NAMESPACES },
        own_network,
        build: steps.build,
        inner: steps.inner,
        channels: Channels {
            caller: own.as_raw_fd(),
            status: status.1.as_raw_fd(),
            built: (built.0.as_raw_fd(), built.1.as_raw_fd()),
            start: begin.0.as_raw_fd(),
            doors: egress.as_ref().map(Egress::doors),
            stdio: streams.guest_ends(),
        },
        guest,
        arguments: argument_area(),
        stacks: Stacks::new(),
        old_root: -1,
    });
    let meter = Meter::prepare(&plan.name, &plan.limits, workspace.dev())?;
    let children = child::start(recipe)
        .map_err(|(recipe, failure)| LaunchError::of(failure, &recipe.build, &recipe.inner))?;
    // Only the children have these ends now: their death is an end of file.
    drop((status.1, built, begin.0));
    streams.close_guest_ends();
    egress.iter_mut().for_each(Egress::close_their_end);
    let now = Instant::now();
    let confined = Confined {
        tree: Tree::of(children)?,
        status: status.0.into(),
        streams,
        meter,
        own_limits: OwnLimits::of(&plan.limits),
        limits: plan.limits,
        started_at: now,
        running_since: now,
        enforcement,
        start: Start::Awaited,
        egress,
        temporary: None,
    };
    Ok(Readied {
        confined,
        begin: begin.1,
    })
}

pub(super) fn lay_out(plan: &LaunchPlan, ids: &Ids) -> Result<Layout, LaunchError> {
    Layout::of(plan, ids).map_err(|unusable| {
        LaunchError::new(
            format!("grant {}", unusable.path.display()),
            unusable.source,
        )
    })
}

impl Readied {
    /// Returns a guest that starts when a byte is written to `begin`.
    pub(super) fn of(confined: Confined, begin: OwnedFd) -> Self {
        Self { confined, begin }
    }

    /// Lets the guest start.
    pub(crate) fn launch(self) -> Result<Confined, LaunchError> {
        let Self {
            mut confined,
            begin,
        } = self;
        let told = confined.tree.await_birth(&mut confined.status);
        let told = told.map_err(|failure| confined.tree.failed(failure))?;
        if let Some(failure) = told {
            return Err(confined.tree.failed(failure));
        }
        if let (true, Some(init)) = (confined.meter.is_strict(), confined.tree.init()) {
            confined.meter.attach(init)?;
        }
        confined.started_at = Instant::now();
        match rustix::io::write(&begin, &[1]) {
            // If init is dead, its last message says why.
            Ok(_) | Err(Errno::PIPE) => Ok(confined),
            Err(errno) => Err(LaunchError::new("start the guest", errno)),
        }
    }
}

/// Where this process's arguments are; looked up once, for they stay where they are.
pub(super) fn argument_area() -> Option<ArgumentArea> {
    static AREA: OnceLock<Option<ArgumentArea>> = OnceLock::new();
    *AREA.get_or_init(|| ArgumentArea::parse(&fs::read_to_string("/proc/self/stat").ok()?))
}

pub(super) fn check_workspace(plan: &LaunchPlan) -> Result<fs::Metadata, LaunchError> {
    let path = &plan.workspace;
    let error = |source: io::Error| {
        LaunchError::new(format!("use {} as the workspace", path.display()), source)
    };
    let refused = |reason: &str| Err(error(io::Error::other(reason.to_owned())));
    if toolchains::is_system(path) {
        return refused("it is a system directory")
            .map_err(|error| error.with_hint("choose a directory of its own for the workspace"));
    }
    if !path.is_absolute() || fs::canonicalize(path).map_err(error)? != *path {
        return refused("the path is not absolute and canonical");
    }
    let metadata = fs::symlink_metadata(path).map_err(error)?;
    if !metadata.is_dir() {
        return refused("it is not a directory");
    }
    Ok(metadata)
}

/// A disk limit is about the transaction.
fn uncounted(plan: &LaunchPlan) -> Option<String> {
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

fn enforcement(own_network: bool) -> Enforcement {
    let mut missing = Vec::new();
    let abi = landlock::abi();
    let landlock = match abi {
        Some(6..) => Level::Full,
        Some(abi) => {
            missing.push(format!(
                "Landlock: this kernel has version {abi} of it, without scopes (6)"
            ));
            Level::Partial
        }
        None => {
            missing.push("Landlock: this kernel has none, or it is switched off".to_owned());
            Level::Absent
        }
    };
    Enforcement {
        user_namespace: Level::Full,
        mount: Level::Full,
        pid: Level::Full,
        network: if own_network {
            Level::Full
        } else {
            Level::Absent
        },
        seccomp: Level::Full,
        landlock,
        cgroup: sandbox_types::CgroupKind::Absent,
        missing,
    }
}

impl Confined {
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
            Some(Message::Ended(_) | Message::Born(_)) | None => {
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
pub(super) fn read_message(status: &mut File) -> io::Result<Option<Message>> {
    let mut bytes = [0; MESSAGE_BYTES];
    match status.read_exact(&mut bytes) {
        Ok(()) => Ok(Message::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
