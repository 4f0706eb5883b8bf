//! The directories above what is mounted: they must let the guest through, and stay where they are.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Entry, Layout};
use crate::{child::step::Access, launch::caller::Ids, plan::WorkspaceMode};

impl Layout {
    /// Returns the directories above what is read-only or hidden in a place that the guest can change. Whoever
    /// renames one of them puts something else in the place of such a part, or brings out what was covered.
    pub(crate) fn ways_to_hold(&self, mode: &WorkspaceMode) -> BTreeSet<PathBuf> {
        // An overlay renames no directory that has something of the lower layer in it.
        let is_overlay = matches!(mode, WorkspaceMode::Overlay { .. });
        let protected = self.protected.iter();
        let protected = protected.filter_map(|path| Some((path, self.changeable_above(path)?)));
        let hidden = self.hidden.iter();
        let hidden = hidden
            .filter_map(|path| Some((path, self.changeable_above(path)?)))
            .filter(|(_, (_, entry))| !(is_overlay && **entry == Entry::Workspace));
        protected
            .chain(hidden)
            .flat_map(|(path, (top, _))| between(top, path))
            .collect()
    }

    /// The same for what has an entry of its own in a directory that was granted to be changed: the workspace, for
    /// example, another grant, or a toolchain.
    pub(super) fn hold_ways_below_writable(&mut self) {
        let mut held = BTreeSet::new();
        for (path, entry) in &self.entries {
            let above = path.parent().and_then(|parent| self.holder(parent));
            if let Some((at, above)) = above
                && is_granted_to_change(above)
                && !is_granted_to_change(entry)
            {
                held.extend(between(at, path));
            }
        }
        for path in held {
            let entry = Entry::Bind {
                source: path.clone(),
                is_directory: true,
                access: Access::Write,
                granted: true,
            };
            self.add(path, entry);
        }
    }

    /// Returns what `path` lies in, if the guest can change it.
    fn changeable_above(&self, path: &Path) -> Option<(&Path, &Entry)> {
        self.holder(path.parent()?)
            .filter(|(_, entry)| is_granted_to_change(entry) || **entry == Entry::Workspace)
    }

    /// A directory that the guest may not search would keep it from what is mounted below: an empty one takes its
    /// place, and hides nothing that the guest could have seen. (A caller without privileges got there by itself.)
    pub(super) fn open_ways(&mut self, ids: &Ids) {
        if !ids.mapped {
            return;
        }
        let closed: BTreeSet<PathBuf> = self
            .entries
            .paths()
            .filter_map(|path| self.first_closed_above(path, ids))
            .collect();
        for path in closed {
            self.add(path, Entry::Temporary { mode: 0o755 });
        }
    }

    fn first_closed_above(&self, path: &Path, ids: &Ids) -> Option<PathBuf> {
        let (at, entry) = self.holder(path.parent()?)?;
        let Entry::Bind {
            source, granted, ..
        } = entry
        else {
            return None;
        };
        let is_closed = |directory: &&Path| {
            let rest = directory.strip_prefix(at).ok()?;
            let found = self.paths.looks.stat(&source.join(rest)).ok()?;
            // Ids are shifted in what was granted: only there is the guest the owner of anything.
            let is_owner = *granted && found.uid() == ids.inside.0;
            let searchable = if is_owner { 0o100 } else { 0o001 };
            Some(found.mode() & searchable == 0)
        };
        let ways = path.ancestors().skip(1);
        ways.take_while(|above| above.starts_with(at))
            .filter(|above| is_closed(above).unwrap_or(false))
            .last()
            .map(Path::to_owned)
    }
}

fn is_granted_to_change(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Bind {
            access: Access::Write,
            granted: true,
            ..
        }
    )
}

/// Returns the directories below `top` and above `path`.
fn between<'a>(top: &'a Path, path: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
    let above = path.ancestors().skip(1);
    above
        .take_while(move |it| it.starts_with(top) && *it != top)
        .map(Path::to_owned)
}
