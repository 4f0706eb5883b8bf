//! A confinement that is built while its operation is still judged.

use std::{os::fd::OwnedFd, ptr};

use sandbox_isolation::{LaunchError, Prepared, Running};
use sandbox_safety::Clearance;
use sandbox_types::{Limits, Operation};

use crate::{caller::Forwarded, launch_plan, run::RunFault, sandbox::Sandbox};

/// What is built ahead for one operation. Nothing is executed in it before [`Readied::launch`], which takes the
/// operation's [`Clearance`]; dropping it takes it down.
pub(crate) struct Readied<'a> {
    operation: &'a Operation,
    limits: Limits,
    prepared: Result<Box<dyn Prepared>, LaunchError>,
}

impl<'a> Readied<'a> {
    /// Starts to build what `operation` would run in; returns at once.
    pub(crate) fn of(operation: &'a Operation, sandbox: &Sandbox, forwarded: Forwarded) -> Self {
        let plan = launch_plan::of(operation, sandbox, forwarded);
        Self {
            operation,
            limits: plan.limits.clone(),
            prepared: sandbox.launcher().prepare(plan),
        }
    }

    /// Returns the limits that will hold.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the lock of the layers that are mounted already: the transaction is to begin with them.
    pub(crate) fn layers_lock(&mut self) -> Option<OwnedFd> {
        self.prepared.as_mut().ok()?.layers_lock()
    }

    /// Lets the operation start. Its transaction must have begun.
    pub(crate) fn launch(self, clearance: &Clearance<'_>) -> Result<Box<dyn Running>, RunFault> {
        assert!(
            ptr::eq(clearance.operation(), self.operation),
            "an operation is cleared for itself alone"
        );
        self.prepared
            .and_then(Prepared::launch)
            .map_err(RunFault::Launch)
    }
}
