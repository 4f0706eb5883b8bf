//! What became of operations after they had ended, as later records of the journal tell it.

use std::collections::{BTreeMap, BTreeSet};

use sandbox_state::Record;
use sandbox_types::{ChangeSummary, OperationId, OperationReport, Outcome, Settlement};

use crate::{event::AboutOperation, ledger, part::PART_TYPE};

/// What later records say of each operation. The newest word comes first, and it holds.
#[derive(Default)]
pub(super) struct Afterwards {
    pub(super) since: BTreeMap<OperationId, &'static str>,
    pub(super) settlement: BTreeMap<OperationId, Settlement>,
    pub(super) reported: BTreeSet<OperationId>,
    /// What became operations of their own, by the operation that it was a part of.
    parts: BTreeMap<OperationId, Vec<ChangeSummary>>,
}

/// The kinds of records about what happened to an operation afterwards: what it is called, and what
/// became of the changes.
pub(super) const LATER: &[(&str, &str, Option<Settlement>)] = &[
    // The changes were committed before; that is what the settlement says.
    (ledger::UNDONE, "undone", None),
    (ledger::REDONE, "redone", None),
    (ledger::COMMITTED, "committed", Some(Settlement::Committed)),
    (ledger::DISCARDED, "discarded", Some(Settlement::Discarded)),
    (ledger::COMPLETED, "completed", Some(Settlement::Committed)),
    (ledger::DROPPED, "dropped", Some(Settlement::Discarded)),
];

impl Afterwards {
    /// Remembers what a record says of an operation that ended before.
    pub(super) fn note(&mut self, record: &Record) {
        let Some((_, what, settlement)) = LATER.iter().find(|(kind, ..)| record.kind == *kind)
        else {
            return;
        };
        let Ok(about) = serde_json::from_value::<AboutOperation>(record.payload.clone()) else {
            return;
        };
        if let Some(settlement) = settlement {
            let known = self.settlement.entry(about.operation.clone());
            known.or_insert(*settlement);
        }
        self.since.entry(about.operation).or_insert(what);
    }

    /// Remembers what a report says of the operation that it tells a part of.
    pub(super) fn note_part(&mut self, report: &OperationReport) {
        let of_part = report.operation.type_name == PART_TYPE;
        if let Some(whole) = report.operation.argv.get(2).filter(|_| of_part)
            && let Ok(whole) = whole.parse()
            && report.outcome == Outcome::Completed
        {
            let parts = self.parts.entry(whole).or_default();
            parts.push(report.changes.clone());
        }
    }

    /// Takes what became operations of their own out of the changes of the whole.
    pub(super) fn without_parts(&self, id: &OperationId, changes: &mut ChangeSummary) {
        for part in self.parts.get(id).into_iter().flatten() {
            let counts = [
                (&mut changes.created, part.created),
                (&mut changes.modified, part.modified),
                (&mut changes.deleted, part.deleted),
                (&mut changes.renamed, part.renamed),
                (&mut changes.bytes, part.bytes),
            ];
            for (count, taken) in counts {
                *count = count.saturating_sub(taken);
            }
            let taken: BTreeSet<_> = part.paths.iter().map(|it| it.path.as_path()).collect();
            changes
                .paths
                .retain(|it| !taken.contains(it.path.as_path()));
        }
    }
}
