//! An operation that was sent to a confinement which was built ahead, until it is known to run there.

use std::{fmt, io};

use sandbox_types::CgroupPaths;

use crate::{
    launch::{
        Cancellation, Ended, LaunchError, Observer, Running, layers::let_be_mounted_again,
        run::Confined, start,
    },
    plan::LaunchPlan,
};

/// An operation that was sent. If its confinement is lost before it begins there, it is started without a session.
pub(super) struct Sent {
    running: Option<Confined>,
    again: Option<LaunchPlan>,
}

impl Sent {
    pub(super) fn new(plan: LaunchPlan, running: Confined) -> Self {
        Self {
            running: Some(running),
            again: Some(plan),
        }
    }

    fn running(&mut self) -> Result<&mut Confined, LaunchError> {
        self.running.as_mut().ok_or_else(|| {
            let source = io::Error::other("it could not be started a second time either");
            LaunchError::new("find the guest", source)
        })
    }
}

/// Starts `plan` as without a session; the confinement that it was to have must be gone.
pub(super) fn start_alone(plan: LaunchPlan) -> Result<Confined, LaunchError> {
    let_be_mounted_again(&plan)
        .map_err(|error| LaunchError::new("clear the transaction's work directory", error))?;
    start::prepare(plan)?.launch()
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}

impl Running for Sent {
    fn root_pid(&self) -> u32 {
        self.running.as_ref().map_or(0, Running::root_pid)
    }

    fn cgroups(&self) -> CgroupPaths {
        let running = self.running.as_ref();
        running.map(Running::cgroups).unwrap_or_default()
    }

    fn started(&mut self) -> Result<(), LaunchError> {
        let started = self.running()?.started();
        match (started, self.again.take()) {
            (Err(_lost), Some(plan)) if !self.running()?.has_begun() => {
                // First: it has the layers, and its cgroups the name that the next ones will have.
                self.running = None;
                self.running = Some(start_alone(plan)?);
                self.running()?.started()
            }
            (started, _) => started,
        }
    }

    fn wait(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Ended, LaunchError> {
        self.started()?;
        self.running()?.wait(observer, cancel)
    }

    fn release(&mut self) -> Result<(), LaunchError> {
        self.running.as_mut().map_or(Ok(()), Running::release)
    }
}
