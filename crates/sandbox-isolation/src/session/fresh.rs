//! Whether a confinement that was built ahead is what would be built now.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::SystemTime};

use crate::{
    launch::{
        caller::Ids,
        error::LaunchError,
        layers::Layers,
        start::{check_workspace, lay_out},
    },
    plan::LaunchPlan,
    view::{Entry, Layout},
};

/// All of the host that a confinement was built from.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    layout: Layout,
    stamps: Vec<Option<Stamp>>,
}

/// Tells one file from another one that took its place. (What is written to a file that is mounted is visible inside
/// anyway; what was copied is compared as a whole.)
#[derive(Debug, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    owner: (u32, u32),
    mode: u32,
    /// Numbers of inodes are given again.
    created: Option<SystemTime>,
}

impl Seen {
    /// Looks again at everything that building for `plan` looks at.
    pub(crate) fn now(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        let workspace = check_workspace(plan)?;
        let ids = Ids::of(&workspace, plan.host_ids);
        Self::with(plan, lay_out(plan, &ids)?)
    }

    /// Adds what stands behind the paths of a layout that was made just now.
    pub(crate) fn with(plan: &LaunchPlan, layout: Layout) -> Result<Self, LaunchError> {
        let layers = Layers::of(plan)?.map(|layers| layers.directory);
        let bound = layout.entries.values().filter_map(|entry| {
            let Entry::Bind { source, .. } = entry else {
                return None;
            };
            Some(source.as_path())
        });
        let all = bound.chain([plan.workspace.as_path()]).chain(layers);
        let stamps = all.map(Stamp::of).collect();
        Ok(Self { layout, stamps })
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            owner: (found.uid(), found.gid()),
            mode: found.mode(),
            created: found.created().ok(),
        })
    }
}
