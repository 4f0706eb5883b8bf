//! The table of cases, by what they attack.
#![expect(
    clippy::too_many_lines,
    reason = "a case tells one attempt after the other"
)]

use crate::suite::Case;

mod beyond;
mod commit;
mod egress;
mod files;
mod kernel;
mod lifetime;
mod machine;
mod neighbours;
mod network;
mod rebinding;
mod resources;
mod terminal;
mod trust;
mod workspaces;

/// Returns all cases.
pub(crate) fn all() -> Vec<Case> {
    [
        terminal::CASES,
        lifetime::CASES,
        resources::CASES,
        files::CASES,
        neighbours::CASES,
        workspaces::CASES,
        machine::CASES,
        commit::CASES,
        kernel::CASES,
        network::CASES,
        egress::CASES,
        trust::CASES,
        beyond::CASES,
    ]
    .concat()
}
