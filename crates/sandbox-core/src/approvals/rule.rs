//! A remembered rule holds as long as the journal says so: its file alone approves nothing.

use sandbox_state::ReadError;
use sandbox_types::{Action, FileWork, Operation};

use super::{ApprovalRule, binding};
use crate::{ledger, sandbox::Sandbox};

/// How many of the newest records are searched for a rule. Each approval by it is one, so a rule that is used is found
/// soon; one that was used longer ago is asked about again.
const SEARCHED_RECORDS_MAX: usize = 20_000;

impl ApprovalRule {
    /// Returns the digest of the whole rule, which the journal records with it.
    pub(super) fn binding(&self) -> Option<String> {
        binding::digest(self)
    }
}

impl Sandbox {
    /// Whether the journal knows the rule as it is, and nobody has forgotten it. A file that was put back, or changed,
    /// is no rule. A journal that cannot be read knows none.
    pub(super) fn is_known_rule(&self, rule: &ApprovalRule) -> bool {
        self.look_for_rule(rule).unwrap_or(false)
    }

    fn look_for_rule(&self, rule: &ApprovalRule) -> Result<bool, ReadError> {
        let Some(binding) = rule.binding() else {
            return Ok(false);
        };
        let records = self.journal().records_newest_first()?;
        for record in records.take(SEARCHED_RECORDS_MAX) {
            let record = record?;
            let text = |name| record.payload.get(name).and_then(|it| it.as_str());
            if text("rule") != Some(rule.id.as_str()) {
                continue;
            }
            match record.kind.as_str() {
                ledger::FORGOTTEN => return Ok(false),
                ledger::REMEMBERED | ledger::GRANTED => {
                    return Ok(text("digest") == Some(&binding));
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

/// Returns what a request brings along that its command does not show: the script, or the text of the file.
pub(super) fn content(operation: &Operation) -> Option<String> {
    match &operation.action {
        Action::Script(script) => Some(script.source.clone()),
        Action::File(FileWork::Write { content, .. }) => {
            Some(String::from_utf8_lossy(content).into_owned())
        }
        Action::Shell(_)
        | Action::Argv(_)
        | Action::File(FileWork::Delete { .. } | FileWork::Move { .. }) => None,
    }
}
