//! The guest's own process, from its clone to its program.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Resource, Rlimit},
};

use super::{
    Recipe, fd, identity,
    status::{Act, Failure},
};
use crate::{
    egress,
    seccomp_profile::Instruction,
    sys::{
        clone::{self, Memory, Stack},
        exec::Program,
        landlock::{self, RulesetAttributes},
        process, seccomp,
        signals::{self, SignalSet},
    },
};

/// What makes a process the guest.
pub(crate) struct Guest {
    pub(crate) program: Program,
    pub(crate) directory: CString,
    pub(crate) limits: Vec<(Resource, u64)>,
    pub(crate) landlock: Option<Ruleset>,
    pub(crate) filter: Vec<Instruction>,
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
}

/// Starts the guest; returns once it executes its program.
pub(super) fn start(recipe: &mut Recipe) -> Result<Pid, Failure> {
    let ruleset = match &recipe.guest.landlock {
        Some(ruleset) => Some(ruleset.make().map_err(|errno| Act::Ruleset.failed(errno))?),
        None => None,
    };
    let mut stack = std::mem::replace(&mut recipe.stacks.guest, Stack::none());
    let mut context = (&mut *recipe, ruleset);
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

fn run((recipe, ruleset): &mut (&mut Recipe, Option<OwnedFd>)) -> i32 {
    let failure = become_guest(recipe, ruleset.as_ref());
    recipe.guest.failure = Some(failure);
    127
}

/// Each step takes something away that later steps no longer need; the order is not free.
fn become_guest(recipe: &mut Recipe, ruleset: Option<&OwnedFd>) -> Failure {
    match prepare(recipe, ruleset) {
        // 13. The program. Descriptors above 2 close by themselves.
        Ok(()) => Act::Execute.failed(recipe.guest.program.execute()),
        Err(failure) => failure,
    }
}

fn prepare(recipe: &Recipe, ruleset: Option<&OwnedFd>) -> Result<(), Failure> {
    let guest = &recipe.guest;
    // 1. A session of its own: no controlling terminal, so nothing can be typed on the caller's.
    rustix::process::setsid().map_err(|errno| Act::Session.failed(errno))?;
    // 2. Standard streams, before Landlock: /dev/null may be opened here.
    set_stdio(recipe).map_err(|errno| Act::Stdio.failed(errno))?;
    // 3. An empty session keyring. A container's own filter may refuse the call; then ours does too, and
    //    there is no way to ask for the keys.
    process::join_new_session_keyring().ok();
    // 4. Limits of the process, while they can still be set whatever the caller's are.
    for &(resource, value) in &guest.limits {
        set_limit(resource, value).map_err(|errno| Act::ResourceLimits.failed(errno))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // 5. Locked securebits before the user id, or the change of id would give or take capabilities.
    identity::lock_secure_bits()?;
    // 6. The user, while CAP_SETUID is there.
    recipe.identity.become_guest()?;
    // 7. No capability in any set (the bounding set is empty since init's own), and 8. no way to gain any: needed by 10 and 12.
    identity::drop_capabilities()?;
    // 9. The directory, as the user that the guest is: it may not start where it could not go.
    rustix::process::chdir(&guest.directory).map_err(|errno| Act::Directory.failed(errno))?;
    // 10. Landlock, after the last path was opened.
    if let Some(ruleset) = ruleset {
        landlock::restrict_self(ruleset.as_fd()).map_err(|errno| Act::Landlock.failed(errno))?;
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
    seccomp::install(&guest.filter).map_err(|errno| Act::Seccomp.failed(errno))
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
        let ruleset = landlock::create_ruleset(&self.attributes, self.size)?;
        for (path, access) in &self.paths {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(path) => landlock::add_path(ruleset.as_fd(), path.as_fd(), *access)?,
                // What is not there needs no rule.
                Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(ruleset)
    }
}
