//! What can be typed about changes: those that wait, and those to be undone or redone.

use clap::Args;
use sandbox_core::OnConflict;

#[derive(Debug, Args)]
pub(crate) struct HeldArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the newest that waits]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    pub(crate) what: SettleArgs,
    /// Everything that waits
    #[arg(long, conflicts_with_all = ["operation", "paths"])]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    #[command(flatten)]
    pub(crate) held: HeldArgs,
    /// Only what matches, from the workspace's root; the rest waits on
    #[arg(long = "path", value_name = "GLOB")]
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RedoArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the one that was undone last]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
    #[command(flatten)]
    pub(crate) how: WayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// The operation: its id, or a unique beginning or end of it [default: the last that changed something]
    #[arg(value_name = "OP")]
    pub(crate) operation: Option<String>,
    #[command(flatten)]
    pub(crate) how: WayArgs,
}

/// How to undo, or to redo.
#[derive(Debug, Args)]
pub(crate) struct WayArgs {
    /// Only what matches, from the workspace's root; the rest stays as it is
    #[arg(long = "path", value_name = "GLOB")]
    pub(crate) paths: Vec<String>,
    /// Only say what would be put back
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) edited: EditedArgs,
}

/// What becomes of what was edited since.
#[derive(Debug, Args)]
pub(crate) struct EditedArgs {
    /// Put back also what was edited since; the edits leave the workspace
    #[arg(long)]
    force: bool,
    /// Put back also what was edited since; the edits stay beside it, as NAME.edited
    #[arg(long, conflicts_with = "force")]
    keep_both: bool,
}

impl EditedArgs {
    pub(crate) fn on_conflict(&self) -> OnConflict {
        match (self.force, self.keep_both) {
            (true, _) => OnConflict::Force,
            (false, true) => OnConflict::KeepBoth,
            (false, false) => OnConflict::Refuse,
        }
    }
}
