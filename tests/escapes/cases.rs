//! The table of cases, by what they attack.
#![expect(
    clippy::too_many_lines,
    reason = "a case tells one attempt after the other"
)]

use crate::suite::Case;

mod beyond;
mod commit;
mod files;
mod kernel;
mod lifetime;
mod network;
mod resources;
mod terminal;
mod trust;

/// Returns all cases.
pub(crate) fn all() -> Vec<Case> {
    [
        terminal::CASES,
        lifetime::CASES,
        resources::CASES,
        files::CASES,
        commit::CASES,
        kernel::CASES,
        network::CASES,
        trust::CASES,
        beyond::CASES,
    ]
    .concat()
}
