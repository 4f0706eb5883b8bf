//! The front door for approvals: look, approve, deny, remember, forget.

use std::sync::Arc;

use sandbox_isolation::Cancellation;
use sandbox_types::{Decision, Operation, OperationReport, Verdict};

use super::{CancelOnDrop, SandboxCore, explained, in_background};
use crate::{
    approvals::{
        ApprovalError, ApprovalRequest, ApprovalRule, ApproveError, Approved, Remember, Who,
    },
    caller::Caller,
    home::now,
    run::RunError,
};

impl SandboxCore {
    /// Runs what was approved, once; `cancel` ends it, and the report says so.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::execute`].
    pub async fn execute_approved(
        &self,
        approved: Approved,
        mut caller: impl Caller + 'static,
        cancel: Cancellation,
    ) -> Result<OperationReport, RunError> {
        let sandbox = Arc::clone(&self.sandbox);
        in_background(move || {
            let ran = sandbox.run_approved(&approved, &mut caller, &cancel, now());
            explained(&sandbox, approved.operation(), ran)
        })
        .await
    }

    /// Approves a request that waits and runs it, once: exactly what was judged, with the input,
    /// environment and directory of that time. Dropping the future ends the operation.
    ///
    /// # Errors
    ///
    /// Fails when there is no such request, somebody has decided already, it has expired, it was
    /// changed, it is judged more severely now, or the sandbox itself fails.
    pub async fn approve(
        &self,
        id: &str,
        remember: Remember,
        caller: impl Caller + 'static,
    ) -> Result<OperationReport, ApproveError> {
        let approved = self.grant(id, remember, caller.who())?;
        let cancel = Cancellation::new();
        let _guard = CancelOnDrop(cancel.clone());
        Ok(self.execute_approved(approved, caller, cancel).await?)
    }

    /// Approves a request that waits, and runs nothing yet: give it to
    /// [`SandboxCore::execute_approved`]. It waits again if this process ends before that.
    ///
    /// # Errors
    ///
    /// As [`SandboxCore::approve`].
    pub fn grant(&self, id: &str, remember: Remember, who: Who) -> Result<Approved, ApprovalError> {
        self.sandbox.grant(id, remember, who, now())
    }

    /// Denies a request that waits.
    ///
    /// # Errors
    ///
    /// Fails when there is no such request, somebody has decided already, or it has expired.
    pub fn deny(&self, id: &str, who: Who) -> Result<ApprovalRequest, ApprovalError> {
        self.sandbox.deny(id, who, now())
    }

    /// Returns the requests that wait for a person, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    pub fn approvals(&self) -> Result<Vec<ApprovalRequest>, ApprovalError> {
        self.sandbox.approval_requests(false, now())
    }

    /// Returns all requests of the last 30 days, those that were decided too, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    pub fn all_approvals(&self) -> Result<Vec<ApprovalRequest>, ApprovalError> {
        self.sandbox.approval_requests(true, now())
    }

    /// Returns the remembered approvals, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    pub fn approval_rules(&self) -> Result<Vec<ApprovalRule>, ApprovalError> {
        self.sandbox.approval_rules()
    }

    /// Removes a remembered approval.
    ///
    /// # Errors
    ///
    /// Fails when there is none of that name, or it cannot be removed.
    pub fn forget(&self, id: &str, who: Who) -> Result<ApprovalRule, ApprovalError> {
        self.sandbox.forget(id, who, now())
    }

    /// Returns whether [`SandboxCore::execute`] would ask somebody about an operation: the judge asks,
    /// and no remembered approval answers. Then the verdict is returned.
    pub fn needs_approval(&self, operation: &Operation) -> Option<Verdict> {
        let verdict = self.sandbox.judge(operation);
        let asks = verdict.decision == Decision::Ask
            && self.sandbox.remembered(operation, &verdict).is_none();
        asks.then_some(verdict)
    }

    /// Returns why an approval of an operation can only be for one time, if so: it names a script whose content no
    /// remembered approval could hold.
    pub fn not_remembered_because(&self, operation: &Operation) -> Option<&'static str> {
        self.sandbox.not_remembered_because(operation)
    }
}
