//! What an operation did, taken apart by path.

use std::{collections::BTreeSet, path::Path};

use sandbox_types::Change;

use super::Half;
use crate::{
    picked::Picked,
    plan::{Directory, Plan},
};

/// Takes the plan and the changes apart. What moves belongs to one half; of a directory that stays,
/// its new attributes do. A time that only tells of moves in it is put back with each half.
pub(super) fn halves(plan: &Plan, changes: &[Change], picked: &Picked) -> (Half, Half) {
    let (mut part, mut rest) = (Half::default(), Half::default());
    rest.plan.cleanings.clone_from(&plan.cleanings);
    let mut parents = [BTreeSet::new(), BTreeSet::new()];
    for change in &plan.moves {
        let selected = picked.covers(change.path());
        let half = if selected { &mut part } else { &mut rest };
        half.plan.moves.push(change.clone());
        parents[usize::from(selected)].extend(change.paths().filter_map(Path::parent));
    }
    for directory in &plan.directories {
        let Directory { path, before, .. } = directory;
        let time_alone = before.same_but_time(&directory.after);
        for (selected, half) in [(false, &mut rest), (true, &mut part)] {
            let shared = time_alone && parents[usize::from(selected)].contains(path.as_path());
            if shared || picked.covers(path) == selected {
                half.plan.directories.push(directory.clone());
            }
        }
    }
    for change in changes {
        let selected = picked.covers(&change.path);
        let half = if selected { &mut part } else { &mut rest };
        half.changes.push(change.clone());
    }
    (part, rest)
}
