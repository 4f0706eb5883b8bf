//! The one seam of this crate: a launcher starts a plan, and what runs can be waited for.

mod alone;
pub(crate) mod caller;
pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod meter;
mod own_limits;
pub(crate) mod recipe;
mod refused;
pub(crate) mod ruleset;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod tree;
mod walls;

use std::{fmt::Debug, os::fd::OwnedFd};

use sandbox_types::{
    CgroupPaths, Enforcement, ExitReason, LimitKind, NetworkReport, ProcessUsage, Stream, Violation,
};

pub use cancel::Cancellation;
pub use error::LaunchError;

pub use start::probe_namespaces;

use crate::plan::{Confinement, LaunchPlan};

/// Starts confined commands. The seam between the pipeline, which can be tested with a scripted launcher, and the
/// kernel.
pub trait Launcher: Debug + Send + Sync {
    /// Starts to build what `plan` says, in processes of its own, and returns at once. Executes nothing. The upper
    /// and work directories of [`crate::WorkspaceMode::Overlay`] need not exist yet; the parent of their parent must.
    ///
    /// # Errors
    ///
    /// Fails if the confinement cannot be built, or if a limit that somebody asked for cannot hold. What fails later
    /// is told by [`Prepared::launch`] and [`Running::started`].
    fn prepare(&self, plan: LaunchPlan) -> Result<Box<dyn Prepared>, LaunchError>;

    /// Lets the next operation start sooner, if this launcher can: called when nobody waits any more.
    fn keep_ready(&self) {}

    /// Whether [`Self::keep_ready`] would do something.
    fn wants_to_be_kept_ready(&self) -> bool {
        false
    }

    /// Starts what `plan` says; returns once it runs.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::prepare`]. A program that does not exist is no error: the run then ends at once with
    /// [`ExitReason::NotFound`].
    fn launch(&self, plan: LaunchPlan) -> Result<Box<dyn Running>, LaunchError> {
        let mut running = self.prepare(plan)?.launch()?;
        running.started()?;
        Ok(running)
    }
}

/// A confinement without a command in it yet. Dropping it takes it down.
pub trait Prepared: Debug + Send {
    /// Returns the lock of the layers that are mounted over the workspace already, if there are any. The plan's
    /// transaction must begin with them, or the confinement cannot be used and another one is built.
    fn layers_lock(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Lets the command start; returns before it runs. All that the plan names must be there now.
    ///
    /// # Errors
    ///
    /// Fails if the confinement could not be built.
    fn launch(self: Box<Self>) -> Result<Box<dyn Running>, LaunchError>;
}

/// A command that runs. Dropping it kills whatever is left of it.
pub trait Running: Debug + Send {
    /// Returns the process id, outside, of the first process of the tree.
    fn root_pid(&self) -> u32;

    /// Returns where the figures of the tree can be read, as far as that is known already.
    fn cgroups(&self) -> CgroupPaths;

    /// Waits until the command runs, or has turned out to be none that can be executed.
    ///
    /// # Errors
    ///
    /// Fails if the confinement could not be built.
    fn started(&mut self) -> Result<(), LaunchError> {
        Ok(())
    }

    /// Waits until every process of the tree is dead. Afterwards the cgroups are still readable, until
    /// [`Self::release`] or drop.
    ///
    /// # Errors
    ///
    /// Fails if the end cannot be learned; the tree is dead then too.
    fn wait(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Ended, LaunchError>;

    /// Removes what is left: cgroups, and the last process's entry in the process table. Dropping does the same
    /// without telling what fails.
    ///
    /// # Errors
    ///
    /// Fails if something is left behind.
    fn release(&mut self) -> Result<(), LaunchError> {
        Ok(())
    }
}

/// Sees what a run does while it does it.
pub trait Observer {
    /// Takes what was printed, in order for each stream.
    fn output(&mut self, stream: Stream, bytes: &[u8]);

    /// Returns whether [`Self::output`] would take more without waiting. As long as not, the guest's pipes are
    /// not read, and the guest waits when they are full.
    fn takes_output(&mut self) -> bool {
        true
    }

    /// Returns whether somebody has suspended the run by other means than its cgroup: then its time stands still.
    fn is_suspended(&mut self) -> bool {
        false
    }

    /// Is called after about 25 ms, then less often, down to every 250 ms. `Some` ends the run for that limit.
    fn tick(&mut self, cgroups: &CgroupPaths) -> Option<LimitKind>;

    /// Is asked after each tick: the number of a signal that every process of the guest is to get now. SIGKILL ends
    /// the run, also of a suspended guest.
    fn signal(&mut self) -> Option<i32> {
        None
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How the command ended.
    pub exit: ExitReason,
    /// What the whole tree used.
    pub usage: ProcessUsage,
    /// What it did over the network, if it had a list of allowed hosts.
    pub network: Option<NetworkActivity>,
    /// The limits that it reached and that did not end it, as the kernel counted them.
    pub limits_reached: Vec<LimitKind>,
    /// What it ran into, as far as that can be seen.
    pub violations: Vec<Violation>,
    /// Which mechanisms held.
    pub enforcement: Enforcement,
}

/// What a guest with a list of allowed hosts did over the network.
#[derive(Clone, Debug, Default)]
pub struct NetworkActivity {
    /// Its connections, as far as they are listed.
    pub report: NetworkReport,
    /// What it received over all connections.
    pub received_bytes: u64,
    /// What it sent over all connections.
    pub sent_bytes: u64,
}

/// Confines with what the kernel has: namespaces, Landlock, seccomp, cgroups.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelLauncher {
    _later: (),
}

impl KernelLauncher {
    /// Returns a launcher; it holds nothing.
    pub const fn new() -> Self {
        Self { _later: () }
    }
}

impl Launcher for KernelLauncher {
    fn prepare(&self, plan: LaunchPlan) -> Result<Box<dyn Prepared>, LaunchError> {
        Ok(Box::new(match plan.confinement {
            Confinement::Namespaces => start::prepare(plan)?,
            Confinement::LandlockAlone => alone::prepare(plan)?,
        }))
    }
}

impl Prepared for start::Readied {
    fn launch(self: Box<Self>) -> Result<Box<dyn Running>, LaunchError> {
        Ok(Box::new((*self).launch()?))
    }
}
