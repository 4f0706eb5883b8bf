//! A confinement that is built while its operation is still judged.

use std::{os::fd::OwnedFd, ptr, sync::Arc};

use sandbox_isolation::{LaunchError, Prepared, Running};
use sandbox_safety::Clearance;
use sandbox_types::{Limits, Operation};

use crate::{
    caller::Forwarded,
    given_secrets::GivenSecrets,
    launch_plan::{self, PlanError},
    redaction::Redactor,
    run::RunFault,
    sandbox::Sandbox,
};

/// What is built ahead for one operation. Nothing is executed in it before [`Readied::launch`], which takes the
/// operation's [`Clearance`]; dropping it takes it down.
pub(crate) struct Readied<'a> {
    operation: &'a Operation,
    limits: Limits,
    secrets: GivenSecrets,
    prepared: Result<Box<dyn Prepared>, LaunchError>,
}

impl<'a> Readied<'a> {
    /// Starts to build what `operation` would run in; returns at once.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be known what it must not see.
    pub(crate) fn of(
        operation: &'a Operation,
        sandbox: &Sandbox,
        forwarded: Forwarded,
        secrets: GivenSecrets,
    ) -> Result<Self, PlanError> {
        let mut plan = launch_plan::of(operation, sandbox, forwarded)?;
        secrets.give(&mut plan);
        Ok(Self {
            operation,
            limits: plan.limits.clone(),
            secrets,
            prepared: sandbox.launcher().prepare(plan),
        })
    }

    /// Returns the limits that will hold.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what redacts the secrets that it is given.
    pub(crate) fn redactor(&self) -> Option<Arc<Redactor>> {
        self.secrets.redactor()
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
