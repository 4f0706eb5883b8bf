//! Starting a plan, up to the guest's first instruction.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::OnceLock,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    pipe::PipeFlags,
    process::{Pid, PidfdFlags},
};
use sandbox_types::{Enforcement, ExitReason, Level, NetworkAccess};

use super::{
    caller::Ids,
    error::LaunchError,
    meter::Meter,
    recipe,
    run::{Confined, Tree},
};
use crate::{
    child::{
        self, Channels, Recipe,
        status::{Act, Failure, MESSAGE_BYTES, Message},
    },
    egress::Egress,
    plan::LaunchPlan,
    stdio::Streams,
    sys::{clone::Stack, landlock, process::ArgumentArea},
    toolchains,
    view::Layout,
};

/// The namespaces that every init is born into. (`clone3` could not be used where a container forbids it.)
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
/// Those that a caller without privileges gives it too. With a builder, init makes them while that one builds.
const OWN_NAMESPACES: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWIPC;

/// Starts what `plan` says.
pub(crate) fn start(plan: LaunchPlan) -> Result<Confined, LaunchError> {
    let workspace = check_workspace(&plan)?;
    let ids = Ids::of(&workspace, plan.host_ids);
    let layout = lay_out(&plan)?;
    let steps = recipe::steps(&plan, &layout, &ids, &workspace)?;
    let shares_id_with_init = !ids.mapped || ids.inside.0 == 0;
    let guest = recipe::guest(&plan, &layout, shares_id_with_init)?;
    let meter = Meter::prepare(&plan.name, &plan.limits)?;
    let open = |error: Errno| LaunchError::new("open the channels to the guest", error);
    let mut streams = Streams::open(plan.stdin, ids.mapped.then_some(ids.outside))
        .map_err(|error| LaunchError::new("open the channels to the guest", error))?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(open);
    let (status, built, begin) = (pipe()?, pipe()?, pipe()?);
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(open)?;

    let own_network = plan.network != NetworkAccess::Host;
    let mut egress = Egress::of(&plan.network)?;
    let mut recipe = Recipe {
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
        wait_for_start: meter.is_strict(),
        stacks: [Stack::new(), Stack::new(), Stack::new()],
        old_root: -1,
        init: None,
        failure: None,
    };
    let started_at = Instant::now();
    let (init, builder) = child::start(&mut recipe);
    // Only the children have these ends now: their death is an end of file.
    drop((status.1, built, begin.0));
    streams.close_guest_ends();
    egress.iter_mut().for_each(Egress::close_their_end);
    let mut status = File::from(status.0);
    let init = init.map_err(|failure| {
        let failure = first_failure(failure, &mut status);
        let error = LaunchError::of(failure, &recipe.build, &recipe.inner);
        Tree::reap_builder(builder);
        error
    })?;
    let tree = Tree::new(init, builder)?;
    let mut confined = Confined {
        tree,
        status,
        streams,
        meter,
        limits: plan.limits,
        started_at,
        running_since: started_at,
        enforcement: enforcement(own_network),
        outcome: None,
        egress,
    };
    if confined.meter.is_strict() {
        attach_and_begin(&confined, &begin.1)?;
    }
    confined.outcome = await_guest(&mut confined, &recipe)?;
    confined.running_since = Instant::now();
    Ok(confined)
}

fn lay_out(plan: &LaunchPlan) -> Result<Layout, LaunchError> {
    Layout::of(plan).map_err(|unusable| {
        LaunchError::new(
            format!("grant {}", unusable.path.display()),
            unusable.source,
        )
    })
}

/// Puts init into its cgroups, then lets it start the guest.
fn attach_and_begin(confined: &Confined, begin: &OwnedFd) -> Result<(), LaunchError> {
    confined.meter.attach(confined.tree.init)?;
    rustix::io::write(begin, &[1])
        .map(drop)
        .map_err(|errno| LaunchError::new("start the guest", errno))
}

/// If init has failed, its builder fails too; init's reason is the one to tell. It is dead: there is no waiting.
fn first_failure(of_builder: Failure, status: &mut File) -> Failure {
    match read_message(status) {
        Ok(Some(Message::Failed(first))) if first.act != Act::Builder => first,
        Ok(_) | Err(_) => of_builder,
    }
}

/// Where this process's arguments are; looked up once, for they stay where they are.
fn argument_area() -> Option<ArgumentArea> {
    static AREA: OnceLock<Option<ArgumentArea>> = OnceLock::new();
    *AREA.get_or_init(|| ArgumentArea::parse(&fs::read_to_string("/proc/self/stat").ok()?))
}

fn check_workspace(plan: &LaunchPlan) -> Result<fs::Metadata, LaunchError> {
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

/// Waits for the first message. `Some` is the end of a guest that never was.
fn await_guest(
    confined: &mut Confined,
    recipe: &Recipe,
) -> Result<Option<ExitReason>, LaunchError> {
    match next_message(confined)? {
        Some(Message::Started { without_proc }) => {
            if without_proc {
                confined.enforcement.mount = Level::Partial;
                confined.enforcement.missing.push(
                    "/proc: the container that this runs in masks its own, so the guest has none"
                        .to_owned(),
                );
            }
            Ok(None)
        }
        Some(Message::Failed(failure)) if failure.act == Act::Execute => match failure.errno {
            Errno::NOENT => Ok(Some(ExitReason::NotFound)),
            Errno::ACCESS | Errno::NOEXEC => Ok(Some(ExitReason::NotExecutable)),
            _ => Err(LaunchError::of(failure, &recipe.build, &recipe.inner)),
        },
        Some(Message::Failed(failure)) => {
            Err(LaunchError::of(failure, &recipe.build, &recipe.inner))
        }
        Some(Message::Ended(_)) | None => {
            let source = io::Error::other("its first process died");
            Err(LaunchError::new("start the guest", source))
        }
    }
}

/// Reads the next message; `None` if init died without one.
fn next_message(confined: &mut Confined) -> Result<Option<Message>, LaunchError> {
    let error = |source: io::Error| LaunchError::new("hear from the guest's first process", source);
    loop {
        let mut fds = [
            PollFd::new(&confined.status, PollFlags::IN),
            PollFd::from_borrowed_fd(confined.tree.handle.as_fd(), PollFlags::IN),
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

impl Tree {
    fn new(init: Pid, builder: Option<Pid>) -> Result<Self, LaunchError> {
        // Init is our child and was not waited for: its id is still its own.
        let handle: OwnedFd =
            rustix::process::pidfd_open(init, PidfdFlags::empty()).map_err(|errno| {
                rustix::process::kill_process(init, rustix::process::Signal::KILL).ok();
                LaunchError::new("get hold of the guest's first process", errno)
            })?;
        Ok(Self {
            init,
            handle,
            builder,
            reaped: false,
        })
    }
}
