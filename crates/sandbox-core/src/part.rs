//! A part of changes is settled, undone or redone by itself.

use jiff::Timestamp;
use sandbox_rollback::{Direction, PortionError, Transaction, Undone};
use sandbox_types::{Change, ChangeSummary, OperationId, ReportedOperation, Settlement, causes};

use crate::{
    draft::Draft,
    ledger,
    review::ReviewError,
    sandbox::Sandbox,
    snapshots::allowed,
    undo::{Ordered, portion_failed},
};

/// What is to become of a part that must fit the workspace.
pub(crate) const COMMIT: &str = "commit";

/// The type of an operation that is a part of another one.
pub(crate) const PART_TYPE: &str = "review_part";

impl Sandbox {
    /// Takes what `globs` select out of a held transaction, as an operation of its own that waits;
    /// returns it, and the operation that the rest waits under. Without globs, or if they select
    /// everything, it is the transaction itself. What cannot be done is refused before anything is
    /// taken apart or written down.
    pub(crate) fn part(
        &self,
        transaction: Transaction,
        (globs, what): (&[String], &str),
        now: Timestamp,
    ) -> Result<(Transaction, Option<OperationId>), ReviewError> {
        if globs.is_empty() {
            return Ok((transaction, None));
        }
        let whole = transaction.id().clone();
        let selected = transaction.select(globs);
        let selected = selected.map_err(|source| ReviewError::Split {
            id: whole.clone(),
            source,
        })?;
        if selected.all {
            return Ok((transaction, None));
        }
        if what == COMMIT && !selected.conflicts.is_empty() {
            return Err(ReviewError::Conflict {
                paths: selected.conflicts,
            });
        }
        let part = self.part_operation(what, &whole, globs);
        let id = part.id.clone();
        ledger::started(self.journal(), part.clone(), &allowed(), now)
            .map_err(ReviewError::Record)?;
        // No `?` from here to the record, as for every operation.
        let split = transaction.split(globs, &id);
        let ended = match &split {
            Ok(part) => part
                .changes()
                .map(|changes| ChangeSummary::of(Settlement::Pending, &changes))
                .map_err(|error| causes(&error)),
            Err(error) => Err(causes(error)),
        };
        let report = Draft::of_started(self, part, now).restored(allowed(), &ended);
        ledger::finished(self.journal(), &report, now).map_err(ReviewError::Record)?;
        let part = split.map_err(|source| ReviewError::Split {
            id: whole.clone(),
            source,
        })?;
        let rest = Some(whole).filter(|whole| part.id() != whole);
        Ok((part, rest))
    }

    /// Makes what is kept of the selected paths of `whole` an operation of its own, and undoes (or
    /// redoes) that. `None` if another caller has left nothing but what is selected.
    pub(crate) fn go_part(
        &self,
        direction: Direction,
        (whole, globs, on_conflict): &Ordered<'_>,
        now: Timestamp,
    ) -> Result<Option<(OperationId, Undone)>, ReviewError> {
        let rollback = self.rollback()?;
        let (part, taken) = self.recorded_part(direction, (whole, globs), now, |part| {
            let taken = rollback.go_part((direction, whole), (globs, part), *on_conflict)?;
            let (was, done) = taken.map(|it| (it.was, it.done)).unzip();
            Ok((was.unwrap_or_default(), done))
        })?;
        Ok(taken.map(|done| (part, done)))
    }

    /// Makes what is kept of the selected paths of `whole` an operation of its own, for an undo that
    /// follows. Returns it, or the whole if all is selected.
    pub(crate) fn portion(
        &self,
        (whole, globs): (&OperationId, &[String]),
        now: Timestamp,
    ) -> Result<OperationId, ReviewError> {
        let (rollback, direction) = (self.rollback()?, Direction::Undo);
        let (part, taken) = self.recorded_part(direction, (whole, globs), now, |part| {
            let was = rollback.portion(direction, whole, (globs, part))?;
            Ok((was.clone().unwrap_or_default(), was))
        })?;
        Ok(if taken.is_some() { part } else { whole.clone() })
    }

    /// Records an operation that is a part of `whole`; `work` takes it out and returns what the whole
    /// had changed there.
    fn recorded_part<T>(
        &self,
        direction: Direction,
        (whole, globs): (&OperationId, &[String]),
        now: Timestamp,
        work: impl FnOnce(&OperationId) -> Result<(Vec<Change>, T), PortionError>,
    ) -> Result<(OperationId, T), ReviewError> {
        let part = self.part_operation(&direction.to_string(), whole, globs);
        let id = part.id.clone();
        ledger::started(self.journal(), part.clone(), &allowed(), now)
            .map_err(ReviewError::Record)?;
        // No `?` from here to the record, as for every operation.
        let taken = work(&id);
        let ended = match &taken {
            Ok((was, _)) => Ok(ChangeSummary::of(Settlement::Committed, was)),
            Err(error) => Err(causes(error)),
        };
        let report = Draft::of_started(self, part, now).restored(allowed(), &ended);
        ledger::finished(self.journal(), &report, now).map_err(ReviewError::Record)?;
        let (_, taken) = taken.map_err(|source| portion_failed(direction, whole, source))?;
        Ok((id, taken))
    }

    /// Describes the operation that a part of `whole` becomes.
    fn part_operation(
        &self,
        what: &str,
        whole: &OperationId,
        globs: &[String],
    ) -> ReportedOperation {
        let mut argv: Vec<String> = ["sandbox", what].map(str::to_owned).into();
        argv.push(whole.to_string());
        for glob in globs {
            argv.extend(["--path".to_owned(), glob.clone()]);
        }
        ReportedOperation {
            id: OperationId::generate(),
            type_name: PART_TYPE.to_owned(),
            argv,
            cwd: self.workspace().to_string_lossy().into_owned(),
            secrets: Vec::new(),
        }
    }
}
