//! The proof that an operation was judged.

use sandbox_types::{Decision, Operation, Verdict};

/// Proof that an operation was judged and may run.
///
/// Holding one is the only way to get a launch plan, so "was this checked?" is a question for the
/// compiler. [`Clearance::grant`] is the only constructor.
#[must_use]
#[derive(Debug)]
pub struct Clearance<'op> {
    operation: &'op Operation,
}

impl<'op> Clearance<'op> {
    /// Grants clearance when the verdict allows it, or when it asks and `approve` says yes.
    pub fn grant(
        operation: &'op Operation,
        verdict: &Verdict,
        approve: impl FnOnce(&Verdict) -> bool,
    ) -> Option<Self> {
        let granted = match verdict.decision {
            Decision::Allow => true,
            Decision::Ask => approve(verdict),
            Decision::Deny => false,
        };
        granted.then_some(Self { operation })
    }

    /// Returns the operation that was cleared.
    pub fn operation(&self) -> &'op Operation {
        self.operation
    }
}
