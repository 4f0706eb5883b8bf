//! Whether a confinement that was built ahead is what would be built now.

use std::path::Path;

use crate::{
    launch::{
        caller::Ids,
        error::LaunchError,
        layers::Layers,
        start::{check_workspace, lay_out},
    },
    looks::{Looks, Stamp},
    plan::LaunchPlan,
    view::{Entry, Layout},
};

/// All of the host that a confinement was built from.
#[derive(Debug)]
pub(crate) struct Seen {
    layout: Layout,
    /// What stands behind the paths of the layout. What is written to a file that is mounted is visible inside anyway.
    behind: Vec<Option<Stamp>>,
    looks: Looks,
}

impl Seen {
    /// Looks at the host for a confinement of `plan`, of which nothing is mounted yet.
    pub(crate) fn for_building(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        Self::looking(plan, Looks::recording())
    }

    fn looking(plan: &LaunchPlan, looks: Looks) -> Result<Self, LaunchError> {
        let workspace = check_workspace(plan, &looks)?;
        let ids = Ids::of(&workspace, plan.host_ids);
        Self::with(plan, lay_out(plan, &ids, looks)?)
    }

    /// Returns what it was found to show.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Adds what stands behind the paths of a layout that was made just now, and of which nothing is mounted yet.
    fn with(plan: &LaunchPlan, mut layout: Layout) -> Result<Self, LaunchError> {
        let looks = layout.take_looks();
        let layers = Layers::of(plan)?.map(|layers| layers.directory);
        let bound = layout.entries.values().filter_map(|entry| {
            let Entry::Bind { source, .. } = entry else {
                return None;
            };
            Some(source.as_path())
        });
        let all = bound.chain([plan.workspace.as_path()]).chain(layers);
        let behind = all.map(|path: &Path| looks.identity(path)).collect();
        Ok(Self {
            layout,
            behind,
            looks,
        })
    }

    /// Returns whether building for `plan` would come to the same now: because nothing of what was looked at has
    /// changed, or else by doing it again up to there.
    pub(crate) fn is_still_so(&self, plan: &LaunchPlan) -> bool {
        let now = || Self::looking(plan, Looks::default());
        self.is_unchanged() || now().is_ok_and(|now| self.is_the_same_as(&now))
    }

    /// Returns whether nothing of what was looked at has changed. One that says no may be wrong.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.looks.is_unchanged()
    }

    fn is_the_same_as(&self, other: &Self) -> bool {
        self.layout.shows_the_same_as(&other.layout) && self.behind == other.behind
    }
}
