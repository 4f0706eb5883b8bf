//! The guest's own process, from its clone to its program.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal},
};

use super::{
    Recipe, fd, identity,
    order::Order,
    status::{Act, Failure},
};
use crate::{
    egress,
    seccomp_profile::{Instruction, is_telling, keep_silent},
    stdio::terminal,
    sys::{
        clone::{self, Memory, Stack},
        landlock::{self, RulesetAttributes},
        notify, process, seccomp,
        signals::{self, SignalSet},
    },
};

/// What makes a process the guest.
pub(crate) struct Guest {
    pub(crate) landlock: Option<Ruleset>,
    pub(crate) filter: Vec<Instruction>,
    /// Whether there are no namespaces, and so no capabilities to begin with.
    pub(crate) alone: bool,
    /// The caller's umask, set aside while the view is built: its directories are for every id.
    pub(crate) umask: Option<Mode>,
    /// Written by the guest's process: why it could not become the guest.
    pub(crate) failure: Option<Failure>,
}

/// A Landlock ruleset, laid out before the clone.
pub(crate) struct Ruleset {
    pub(crate) attributes: RulesetAttributes,
    /// How much of the attributes this kernel knows.
    pub(crate) size: usize,
    /// Paths inside, with what is allowed at and below them.
    pub(crate) paths: Vec<(CString, u64)>,
    /// The workspace, which may be mounted late, with what is allowed there.
    pub(crate) workspace: Option<(CString, u64)>,
}

/// Makes the Landlock ruleset, but for the workspace.
pub(super) fn rules(recipe: &Recipe) -> Result<Option<OwnedFd>, Failure> {
    let ruleset = recipe.guest.landlock.as_ref().map(Ruleset::make);
    ruleset
        .transpose()
        .map_err(|errno| Act::Ruleset.failed(errno))
}

/// Starts the guest; returns once it executes its program.
pub(super) fn start(
    recipe: &mut Recipe,
    order: &mut Order,
    rules: Option<OwnedFd>,
) -> Result<Pid, Failure> {
    if let (Some(ruleset), Some(rules)) = (&recipe.guest.landlock, &rules) {
        let workspace = ruleset.workspace.as_slice();
        Ruleset::add(rules.as_fd(), workspace).map_err(|errno| Act::Ruleset.failed(errno))?;
    }
    let mut stack = std::mem::replace(&mut recipe.stacks.guest, Stack::none());
    let mut context = Context {
        recipe: &mut *recipe,
        order,
        rules,
    };
    // The memory is borrowed: nothing is copied, and a failure is simply written down.
    let started = clone::start(
        &mut stack,
        Memory::Borrowed,
        libc::SIGCHLD,
        &mut context,
        run,
    );
    recipe.stacks.guest = stack;
    let leader = started.map_err(|errno| Act::GuestClone.failed(errno))?;
    recipe.guest.failure.map_or(Ok(leader), Err)
}

/// What the guest's process is started with.
struct Context<'a> {
    recipe: &'a mut Recipe,
    order: &'a mut Order,
    rules: Option<OwnedFd>,
}

fn run(context: &mut Context<'_>) -> i32 {
    let failure = become_guest(context);
    context.recipe.guest.failure = Some(failure);
    127
}

/// Each step takes something away that later steps no longer need; the order is not free.
fn become_guest(context: &mut Context<'_>) -> Failure {
    match prepare(context) {
        // 13. The program. Descriptors above 2 close by themselves.
        Ok(()) => Act::Execute.failed(context.order.execute()),
        Err(failure) => failure,
    }
}

fn prepare(context: &mut Context<'_>) -> Result<(), Failure> {
    let Context {
        recipe,
        order,
        rules,
    } = context;
    // 1. A session of its own: no controlling terminal, so nothing can be typed on the caller's.
    rustix::process::setsid().map_err(|errno| Act::Session.failed(errno))?;
    // 2. Standard streams, before Landlock: /dev/null may be opened here. A terminal takes the place of all three later.
    if order.terminal().is_none() {
        set_stdio(recipe).map_err(|errno| Act::Stdio.failed(errno))?;
    }
    // 3. An empty session keyring. A container's own filter may refuse the call; then ours does too, and
    //    there is no way to ask for the keys.
    process::join_new_session_keyring().ok();
    // 4. Limits of the process, while they can still be set whatever the caller's are.
    for limit in order.limits() {
        let set = limit.and_then(|(resource, value)| set_limit(resource, value));
        set.map_err(|errno| Act::ResourceLimits.failed(errno))?;
    }
    if let Some(umask) = recipe.guest.umask {
        rustix::process::umask(umask);
    }
    // 5. Locked securebits before the user id, or the change of id would give or take capabilities.
    if recipe.guest.alone {
        // The keeper's end is the guest's.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| Act::Session.failed(errno))?;
    } else {
        identity::lock_secure_bits()?;
    }
    // 6. The user, while CAP_SETUID is there.
    recipe.identity.become_guest()?;
    // 7. No capability in any set (the bounding set is empty since init's own), and 8. no way to gain any: needed by 10 and 12.
    identity::drop_capabilities()?;
    // 8a. Its own terminal, if it gets one: opened as the user that the guest is, so it is the guest's.
    if let Some(shape) = order.terminal() {
        let channel = fd(recipe.channels.stdio.output);
        terminal::take(channel, shape).map_err(|errno| Act::Stdio.failed(errno))?;
    }
    // 9. The directory, as the user that the guest is: it may not start where it could not go.
    rustix::process::chdir(order.directory()).map_err(|errno| Act::Directory.failed(errno))?;
    // 10. Landlock, after the last path was opened.
    if let Some(rules) = rules {
        landlock::restrict_self(rules.as_fd()).map_err(|errno| Act::Landlock.failed(errno))?;
    }
    // 11. Signals as a program expects them. Dispositions were reset by init.
    signals::set_mask(SignalSet::EMPTY);
    // 12. The filter last: it refuses much of the above, and a filter that asks.
    if let Some(doors) = recipe.channels.doors.as_ref()
        && doors.are_asked_for()
    {
        egress::netns::ask_before_connect(fd(doors.channel))
            .map_err(|errno| Act::Egress.failed(errno))?;
    }
    install(context).map_err(|errno| Act::Seccomp.failed(errno))
}

/// Installs the filter; where it tells of calls, its listener goes to who waits for the guest.
fn install(context: &mut Context<'_>) -> Result<(), Errno> {
    let recipe = &mut *context.recipe;
    let filter = &mut recipe.guest.filter;
    if is_telling(filter) {
        if let Ok(listener) = notify::install(filter) {
            return egress::netns::send_all(
                fd(recipe.channels.start),
                [listener.as_fd()].into_iter(),
            );
        }
        // One of a program around us listens already (`seccomp(2)`, EBUSY), or the kernel is too old.
        keep_silent(filter);
    }
    seccomp::install(filter)
}

fn set_stdio(recipe: &Recipe) -> Result<(), Errno> {
    let stdio = &recipe.channels.stdio;
    if let Some(input) = stdio.input {
        rustix::stdio::dup2_stdin(fd(input))?;
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = rustix::fs::open(c"/dev/null", flags, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
    }
    rustix::stdio::dup2_stdout(fd(stdio.output))?;
    rustix::stdio::dup2_stderr(fd(stdio.error))
}

/// Lowers a limit; one that is lower already stays.
fn set_limit(resource: Resource, value: u64) -> Result<(), Errno> {
    let now = rustix::process::getrlimit(resource);
    let maximum = now.maximum.map_or(value, |maximum| maximum.min(value));
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        },
    )
}

impl Ruleset {
    fn make(&self) -> Result<OwnedFd, Errno> {
        let made = landlock::create_ruleset(&self.attributes, self.size)?;
        // Out of the way of the standard streams, whose numbers may be free here.
        let ruleset = rustix::io::fcntl_dupfd_cloexec(&made, 3)?;
        Self::add(ruleset.as_fd(), &self.paths)?;
        Ok(ruleset)
    }

    fn add(ruleset: BorrowedFd<'_>, paths: &[(CString, u64)]) -> Result<(), Errno> {
        for (path, access) in paths {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(path) => landlock::add_path(ruleset, path.as_fd(), *access)?,
                // What is not there needs no rule.
                Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
