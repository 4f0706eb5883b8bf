//! The steps that make a sandbox, as data: shown by `create --dry-run`, done one after the other.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    layout::{CONFIG_FILE, JOURNAL_FILE, Layout, RECORD_FILE},
    registry::SandboxRecord,
};

/// One step. Each is undone if a later one fails.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InitializationStep {
    /// What is done.
    pub act: Act,
    /// To which path.
    pub path: PathBuf,
}

/// What a step does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Makes the directories of all sandboxes, if they are not there.
    PrepareHome,
    /// Makes the workspace.
    MakeWorkspace,
    /// Makes the directory for transactions, on the workspace's file system.
    MakeLayers,
    /// Writes down what the sandbox is bound to.
    WriteRecord,
    /// Writes the configuration that is stored with it.
    WriteConfiguration,
    /// Starts the journal.
    StartJournal,
    /// Gives what was put together its name, in one rename.
    Publish,
    /// Makes it findable from its workspace.
    AddToIndex,
}

impl Act {
    /// Returns what the step does, in words before a path.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PrepareHome => "prepare",
            Self::MakeWorkspace => "make the workspace",
            Self::MakeLayers => "make the place for transactions",
            Self::WriteRecord => "write the record",
            Self::WriteConfiguration => "write the configuration",
            Self::StartJournal => "start the journal",
            Self::Publish => "publish",
            Self::AddToIndex => "add to the index",
        }
    }
}

/// Returns the steps that make a sandbox, in order.
pub(super) fn of(
    layout: &Layout,
    record: &SandboxRecord,
    creates_workspace: bool,
) -> Vec<InitializationStep> {
    let sandbox = layout.sandbox(&record.name);
    let workspace = creates_workspace.then(|| record.workspace.clone());
    let steps = [
        (Act::PrepareHome, Some(layout.home().to_owned())),
        (Act::MakeWorkspace, workspace),
        (Act::MakeLayers, record.layers.clone()),
        (Act::WriteRecord, Some(sandbox.join(RECORD_FILE))),
        (Act::WriteConfiguration, Some(sandbox.join(CONFIG_FILE))),
        (Act::StartJournal, Some(sandbox.join(JOURNAL_FILE))),
        (Act::Publish, Some(sandbox)),
        (Act::AddToIndex, Some(layout.index_entry(&record.workspace))),
    ];
    let step =
        |(act, path): (Act, Option<PathBuf>)| path.map(|path| InitializationStep { act, path });
    steps.into_iter().filter_map(step).collect()
}
