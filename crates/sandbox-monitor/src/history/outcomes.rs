//! How many operations ended in which way.

use sandbox_types::Outcome;
use serde::{Serialize, Serializer};

/// Places in a record; more than there are outcomes, so that one can be added.
const SLOTS: usize = 10;

/// Every outcome with its name. The order is that of the file: new ones are added at the end.
const OUTCOMES: [(Outcome, &str); 9] = [
    (Outcome::Completed, "completed"),
    (Outcome::Failed, "failed"),
    (Outcome::Denied, "denied"),
    (Outcome::ApprovalRequired, "approval_required"),
    (Outcome::TimedOut, "timed_out"),
    (Outcome::LimitExceeded, "limit_exceeded"),
    (Outcome::Killed, "killed"),
    (Outcome::Cancelled, "cancelled"),
    (Outcome::Error, "error"),
];

/// How many operations ended in which way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcomes([u32; SLOTS]);

impl Outcomes {
    /// Returns the count of one operation.
    pub fn one(outcome: Outcome) -> Self {
        let mut slots = [0; SLOTS];
        if let Some(at) = OUTCOMES.iter().position(|(it, _)| *it == outcome) {
            slots[at] = 1;
        }
        Self(slots)
    }

    /// Returns how many ended with `outcome`.
    pub fn of(&self, outcome: Outcome) -> u32 {
        let mut all = self.iter();
        all.find(|(it, ..)| *it == outcome).map_or(0, |it| it.2)
    }

    /// Returns how many ended.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns every outcome with its name and count, also those that never happened.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, &'static str, u32)> {
        OUTCOMES
            .iter()
            .zip(self.0)
            .map(|((outcome, name), count)| (*outcome, *name, count))
    }

    pub(super) const fn of_slots(slots: [u32; SLOTS]) -> Self {
        Self(slots)
    }

    pub(super) const fn slots(&self) -> [u32; SLOTS] {
        self.0
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }
}

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let happened = self.iter().filter(|(.., count)| *count > 0);
        serializer.collect_map(happened.map(|(_, name, count)| (name, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_reports() {
        for (outcome, name) in OUTCOMES {
            assert_eq!(serde_json::to_value(outcome).unwrap(), name);
        }
    }
}
