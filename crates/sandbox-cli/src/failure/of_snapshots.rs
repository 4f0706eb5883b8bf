//! What the errors of snapshots mean for a person.

use sandbox_core::{
    ExportError, ImportError, RepositoryError, RestoreError, SnapshotError, SnapshotKeyError,
};

use super::{
    Failure, Kind,
    conflicts::{conflict, with_part_hint},
    hints::with_system_hint,
    of_library::{kind_of_enter, kind_of_plan, with_enter_hint, with_plan_hint},
};
use crate::commands::snapshot::short;

const SEE_LIST: &str = "`sandbox snapshot list` lists them";
const SEE_DAMAGE: &str =
    "`sandbox snapshot verify --read-data` names all that is damaged, and what it concerns";

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        if let SnapshotError::State(error) = error {
            return error.into();
        }
        let failure = |kind| Self::of(kind, &error);
        match &error {
            SnapshotError::NoTransactions(plan) => {
                with_plan_hint(failure(kind_of_plan(plan)), plan)
            }
            SnapshotError::Enter(enter) => with_enter_hint(failure(kind_of_enter(enter)), enter),
            SnapshotError::Repository(source) => of_repository(failure, source),
            SnapshotError::Export(ExportError::Repository(source))
            | SnapshotError::Import(ImportError::Repository(source)) => {
                of_repository(failure, source)
            }
            SnapshotError::Export(ExportError::Exists { .. }) => {
                failure(Kind::Refused).hint("name a file that is not there yet")
            }
            SnapshotError::Import(ImportError::Damaged { .. }) => failure(Kind::Refused)
                .hint("nothing was taken in; export it again with `sandbox snapshot export`"),
            SnapshotError::Restore { source, .. } => of_restore(failure, source),
            SnapshotError::UnknownTarget { .. } => failure(Kind::NotFound)
                .hint(SEE_LIST)
                .hint("`sandbox log` lists the operations"),
            SnapshotError::AmbiguousTarget { .. } => failure(Kind::NotFound).hint(
                "write more of it; `sandbox snapshot list --json` and `sandbox log --json` have the full names",
            ),
            SnapshotError::SeveralTagged { snapshots, .. } => {
                let ids: Vec<String> = snapshots.iter().map(short).collect();
                failure(Kind::NotFound).hint(format!("write the id of one: {}", ids.join(", ")))
            }
            SnapshotError::IntoWorkspace { .. } => failure(Kind::Refused)
                .hint("without --to, and with `--path GLOB` for a part, it is a transaction that `sandbox undo` takes back")
                .hint("or name a directory outside of every workspace, and copy what you need"),
            SnapshotError::NotUndoable { id } => failure(Kind::NotFound)
                .hint(format!(
                    "it changed nothing, was undone, or its undo set was dropped: `sandbox show {id}` tells"
                ))
                .hint("a snapshot can be rolled back to at any time: `sandbox snapshot list`"),
            SnapshotError::NothingSelected { .. } => failure(Kind::NotFound)
                .hint("`sandbox show OP` lists what an operation changed; a glob is read from the workspace's root"),
            SnapshotError::Part { source, .. } => with_part_hint(failure(Kind::Refused), source),
            SnapshotError::Busy => failure(Kind::Refused).hint("try again when it has ended"),
            SnapshotError::Left => failure(Kind::Refused).hint("try again: that finishes it first"),
            SnapshotError::Conflict { paths } => {
                conflict(failure(Kind::Refused), paths).hint("nothing was done")
            }
            SnapshotError::Undo { .. } => with_system_hint(failure(Kind::Sandbox), &error)
                .hint("all of the operations are undone, or none: `sandbox log` shows which"),
            SnapshotError::OtherStore { .. } => failure(Kind::NotFound).hint(
                "roll back without --state, then `sandbox state history KEY` and `sandbox state rollback KEY --version N`",
            ),
            SnapshotError::WorkspaceOnly { .. } => failure(Kind::Sandbox)
                .hint("the next `sandbox` command here rolls the state back too"),
            SnapshotError::Destroyed(_)
            | SnapshotError::History(_)
            | SnapshotError::Plan { .. }
            | SnapshotError::List(_)
            | SnapshotError::Record(_)
            | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

impl From<SnapshotKeyError> for Failure {
    fn from(error: SnapshotKeyError) -> Self {
        let failure = |kind| Self::of(kind, &error);
        match &error {
            SnapshotKeyError::NoNewKey { .. } => failure(Kind::Usage)
                .hint("set SANDBOX_SNAPSHOT_KEY_NEW or SANDBOX_SNAPSHOT_PASSPHRASE_NEW to the one that is to come"),
            SnapshotKeyError::Repository { source, .. } => of_repository(failure, source),
            SnapshotKeyError::Key(_)
            | SnapshotKeyError::Find(_)
            | SnapshotKeyError::Record { .. }
            | _ => with_system_hint(failure(Kind::Sandbox), &error),
        }
    }
}

fn of_repository(failure: impl Fn(Kind) -> Failure, error: &RepositoryError) -> Failure {
    match error {
        RepositoryError::Empty => {
            failure(Kind::NotFound).hint("`sandbox snapshot create` takes one")
        }
        RepositoryError::Excludes(_) => failure(Kind::Usage)
            .hint("patterns are as in a .gitignore file: *.log, build/, !keep.log"),
        RepositoryError::Unknown { .. } => failure(Kind::NotFound).hint(SEE_LIST),
        RepositoryError::Ambiguous { .. } => failure(Kind::NotFound)
            .hint("write more of it; `sandbox snapshot list --json` has the full ids"),
        RepositoryError::Busy { .. } => failure(Kind::Sandbox).hint("try again when it has ended"),
        RepositoryError::TooLong { .. } => failure(Kind::Usage),
        RepositoryError::Index { .. } => failure(Kind::Sandbox)
            .hint("`sandbox snapshot repair` makes it again from what is kept"),
        RepositoryError::Damaged { .. } => failure(Kind::Sandbox).hint(SEE_DAMAGE),
        RepositoryError::Newer { .. } => {
            failure(Kind::Sandbox).hint("use the program that wrote it, or a newer one")
        }
        RepositoryError::Inside { .. } => {
            failure(Kind::Config).hint("set SANDBOX_HOME to a directory outside of the workspace")
        }
        RepositoryError::Locked { .. }
        | RepositoryError::WrongKey { .. }
        | RepositoryError::Key(_) => failure(Kind::Sandbox).hint(
            "the key is the file SANDBOX_HOME/keys/snapshots.key, SANDBOX_SNAPSHOT_KEY or SANDBOX_SNAPSHOT_PASSPHRASE: give the one that encrypted them",
        ),
        RepositoryError::NotEncrypted { .. } => failure(Kind::Config)
            .hint("`sandbox snapshot encrypt` encrypts the snapshots that are there"),
        RepositoryError::File { .. } | _ => with_system_hint(failure(Kind::Sandbox), error),
    }
}

fn of_restore(failure: impl Fn(Kind) -> Failure, error: &RestoreError) -> Failure {
    match error {
        RestoreError::Repository(source) => of_repository(failure, source),
        RestoreError::Glob { .. } | RestoreError::NoPath { .. } => failure(Kind::Usage)
            .hint("give a path or glob relative to the workspace, as in 'src/**/*.rs'"),
        RestoreError::NothingSelected { .. } => failure(Kind::Refused)
            .hint("`*` does not match `/`; `sandbox snapshot diff ID` lists what differs"),
        RestoreError::NotEmpty { .. } => {
            failure(Kind::Refused).hint("name a directory that is empty, or not there yet")
        }
        RestoreError::Damaged { paths, .. } => {
            let mut failure = failure(Kind::Sandbox)
                .hint("nothing was touched")
                .hint(SEE_DAMAGE);
            let named = paths.iter().take(PATHS_SHOWN_MAX);
            let named = named.map(|path| format!("damaged: {}", path.display()));
            failure.causes.extend(named);
            failure
        }
        RestoreError::Pinned { .. } => {
            failure(Kind::Refused).hint("`chattr -i -a` lifts that; nothing was touched")
        }
        RestoreError::Commit(_) => with_system_hint(failure(Kind::Refused), error)
            .hint("somebody may be changing the workspace: try again"),
        RestoreError::Prepare { .. } | RestoreError::Begin(_) | _ => {
            with_system_hint(failure(Kind::Sandbox), error)
        }
    }
}

/// The most damaged paths that are printed.
const PATHS_SHOWN_MAX: usize = 10;
