//! Does one thing with the snapshots of a directory, for measuring what it costs.
//!
//! `cargo run --release --example repository -p sandbox-rollback -- WORKSPACE STATE ACTION`
//!
//! `ACTION` is `take`, `back` (in place, to the newest snapshot), `to DIRECTORY`, `verify`,
//! `verify-all`, `diff` (of the two newest) or `delete` (of the newest).
#![expect(clippy::print_stdout, reason = "this program prints its results")]

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use sandbox_rollback::{
    Compression, Destination, Excludes, NewSnapshot, Repository, RestoreOptions, Retention,
    RollbackManager, Snapshot, VerifyDepth,
};
use sandbox_types::OperationId;

const USAGE: &str = "usage: repository WORKSPACE STATE take | back | to DIRECTORY | verify | verify-all | diff | delete";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [workspace, state, action @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let state = Path::new(state);
    let manager = RollbackManager::open(Path::new(workspace), &state.join("layers"))?;
    let repository = manager.repository(&state.join("repository"));
    let words: Vec<_> = action.iter().map(|word| word.to_str()).collect();
    match words.as_slice() {
        [Some("take")] => {
            let taken = repository.snapshot(&plain())?;
            let Snapshot { id, files, .. } = taken.snapshot;
            let read = taken.files_read;
            println!(
                "{id}: {files} files, {read} read, {} bytes stored",
                taken.stored_bytes
            );
        }
        [Some("back")] => restore(&repository, Destination::Workspace)?,
        [Some("to"), _] => {
            let directory = action.get(1).map(PathBuf::from).unwrap_or_default();
            restore(&repository, Destination::Directory(directory))?;
        }
        [Some("verify")] => println!("{:?}", repository.verify(VerifyDepth::Structure)?),
        [Some("verify-all")] => println!("{:?}", repository.verify(VerifyDepth::Data)?),
        [Some("diff")] => {
            let all = repository.snapshots()?;
            let [.., older, newer] = all.as_slice() else {
                return Err("a difference needs two snapshots".into());
            };
            let changes = repository.diff(&older.id, Some(&newer.id))?;
            println!("{} changes", changes.len());
        }
        [Some("delete")] => repository.delete(&newest(&repository)?.id)?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn plain() -> NewSnapshot {
    NewSnapshot {
        created_at: jiff::Timestamp::UNIX_EPOCH,
        tags: Vec::new(),
        message: None,
        state_sequence: None,
        compression: Compression::Zstd,
        retention: Retention::All,
        excludes: Excludes::default(),
    }
}

fn newest(repository: &Repository) -> Result<Snapshot, Box<dyn Error>> {
    let newest = repository.snapshots()?.pop();
    Ok(newest.ok_or("there is no snapshot")?)
}

fn restore(repository: &Repository, to: Destination) -> Result<(), Box<dyn Error>> {
    let options = RestoreOptions {
        operation: OperationId::generate(),
        paths: Vec::new(),
        to,
        dry_run: false,
    };
    let restored = repository.restore(&newest(repository)?.id, &options)?;
    println!("{} changes", restored.changes.len());
    Ok(())
}
