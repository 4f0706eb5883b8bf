//! The processes of a guest, by their first.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use super::{error::LaunchError, start::read_message};
use crate::{
    child::{
        self, Recipe,
        status::{Act, Failure, Message},
    },
    session::wire::{Connection, is_readable_until},
    sys::{
        clone::Lent,
        process::{self, Accounted, Children, Patience},
        signals,
    },
};

/// The processes of a guest. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Tree {
    /// `None` as long as only the builder knows it, and once it is reaped.
    init: Option<Init>,
    recipe: Option<Held>,
    /// What ends it.
    ending: Signal,
}

/// Pid 1 of the guest's namespaces: not waited for yet.
#[derive(Debug)]
struct Init {
    pid: Pid,
    handle: OwnedFd,
    /// Who waits for it, if it is not our child.
    keeper: Option<Connection>,
}

/// How long a keeper may take to tell what init used, once it is dead.
const KEEPER_PATIENCE: Duration = Duration::from_secs(1);

/// Who has the recipe.
enum Held {
    Own(Box<Recipe>),
    Builder(Lent<Recipe>),
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "Own",
            Self::Builder(_) => "Builder",
        })
    }
}

impl Tree {
    /// Takes the children over.
    pub(super) fn of(children: child::Children) -> Result<Self, LaunchError> {
        match children {
            child::Children::Builder(recipe) => Ok(Self {
                init: None,
                recipe: Some(Held::Builder(recipe)),
                ending: Signal::KILL,
            }),
            child::Children::Init(pid, recipe) => Ok(Self {
                init: Some(Init::hold(pid)?),
                recipe: Some(Held::Own(recipe)),
                ending: Signal::KILL,
            }),
        }
    }

    /// Takes over what the keeper at the other end of `keeper` has built.
    pub(crate) fn taken_over(pid: Pid, handle: OwnedFd, keeper: Connection) -> Self {
        let keeper = Some(keeper);
        Self {
            init: Some(Init {
                pid,
                handle,
                keeper,
            }),
            recipe: None,
            ending: Signal::KILL,
        }
    }

    /// Takes a keeper over, which ends the others when it is asked to.
    pub(super) fn of_keeper(children: child::Children) -> Result<Self, LaunchError> {
        let mut tree = Self::of(children)?;
        tree.ending = signals::ASKING;
        Ok(tree)
    }

    /// Waits until init is known, and returns it with the failure that was told meanwhile: init is quicker than its
    /// builder at times.
    pub(crate) fn await_birth(&mut self, status: &mut File) -> Result<Option<Failure>, Failure> {
        let mut told = None;
        while self.init.is_none() {
            match read_message(status) {
                Ok(Some(Message::Born(pid))) => {
                    let held =
                        Init::hold(pid).map_err(|_no_handle| Act::Builder.failed(Errno::MFILE))?;
                    self.init = Some(held);
                }
                Ok(Some(Message::Failed(failure))) => {
                    told.get_or_insert(failure);
                }
                Ok(Some(Message::Ready | Message::Started { .. } | Message::Ended(_))) => {}
                Ok(None) | Err(_) => return Err(told.unwrap_or(Act::Builder.failed(Errno::CHILD))),
            }
        }
        Ok(told)
    }

    /// Returns init's process id.
    pub(crate) fn init(&self) -> Option<Pid> {
        self.init.as_ref().map(|init| init.pid)
    }

    /// Returns what becomes readable when init is dead.
    pub(crate) fn handle(&self) -> Result<BorrowedFd<'_>, Errno> {
        let init = self.init.as_ref().ok_or(Errno::CHILD)?;
        Ok(init.handle.as_fd())
    }

    /// Returns whether init has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.init
            .as_ref()
            .is_none_or(|init| is_readable_until(init.handle.as_fd(), Some(Instant::now())))
    }

    /// Kills init, and with it the whole pid namespace.
    pub(super) fn kill(&self) {
        if let Some(init) = &self.init {
            // It fails only if init is dead already.
            rustix::process::pidfd_send_signal(&init.handle, self.ending).ok();
        }
    }

    /// Waits until init is gone; returns its wait status and what the tree used.
    pub(crate) fn reap(&mut self) -> Result<(i32, Accounted), LaunchError> {
        let Some(init) = self.init.take() else {
            return Ok((0, Accounted::default()));
        };
        if let Some(keeper) = &init.keeper {
            await_death(&init.handle);
            // Without an answer its keeper is dead or stuck, and whoever waits for orphans waits for it.
            return Ok(keeper
                .await_end(Instant::now() + KEEPER_PATIENCE)
                .unwrap_or((libc::SIGKILL, Accounted::default())));
        }
        match process::wait(Children::One(init.pid), Patience::Block) {
            Ok(Some((_, status, used))) => Ok((status, used)),
            Ok(None) => Ok((0, Accounted::default())),
            Err(errno) => Err(LaunchError::new(
                "wait for the guest's first process",
                errno,
            )),
        }
    }

    /// Waits until init is gone, whoever waits for it.
    pub(super) fn await_end(&mut self) -> Result<(), LaunchError> {
        if let Some(init) = self.init.take_if(|init| init.keeper.is_some()) {
            await_death(&init.handle);
            return Ok(());
        }
        self.reap().map(drop)
    }

    /// Leaves init to its keeper, if it has one that lives; returns whether it has.
    pub(super) fn leave_to_keeper(&mut self) -> bool {
        // It says nothing more before init is dead.
        let is_kept = |init: &mut Init| init.keeper.as_ref().is_some_and(Connection::is_silent);
        self.init.take_if(is_kept).is_some()
    }

    /// Ends the tree, and puts into words why it came to nothing.
    pub(crate) fn failed(&mut self, failure: Failure) -> LaunchError {
        self.kill();
        let recipe = self.take_recipe();
        let steps = recipe.map(|recipe| recipe.steps).unwrap_or_default();
        LaunchError::of(failure, &steps)
    }

    /// Forgets the recipe if the builder is dead by now.
    pub(crate) fn drop_recipe_of_dead(&mut self) {
        self.recipe = match self.recipe.take() {
            Some(Held::Builder(builder)) => builder.try_take_back().err().map(Held::Builder),
            Some(Held::Own(_)) | None => None,
        };
    }

    /// Waits until the builder is dead, which is soon after its init has left it or has died.
    pub(crate) fn take_recipe(&mut self) -> Option<Box<Recipe>> {
        match self.recipe.take()? {
            Held::Own(recipe) => Some(recipe),
            Held::Builder(builder) => builder.take_back().ok(),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.kill();
        // It fails only if somebody else has waited for our children.
        drop(self.await_end());
        drop(self.take_recipe());
    }
}

/// Waits until the process of a pidfd is dead, whoever waits for it.
fn await_death(handle: &OwnedFd) {
    is_readable_until(handle.as_fd(), None);
}

impl Init {
    fn hold(pid: Pid) -> Result<Self, LaunchError> {
        // Init is our child and was not waited for: its id is still its own.
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Ok(Self {
                pid,
                handle,
                keeper: None,
            }),
            Err(errno) => {
                rustix::process::kill_process(pid, Signal::KILL).ok();
                process::wait(Children::One(pid), Patience::Block).ok();
                let source = io::Error::from(errno);
                Err(LaunchError::new(
                    "get hold of the guest's first process",
                    source,
                ))
            }
        }
    }
}
