//! Takes a snapshot of a directory, changes it, and brings it back.
//!
//! `cargo run -p sandbox-rollback --example snapshot`

use std::{error::Error, fs};

use sandbox_rollback::{
    Compression, Destination, Excludes, NewSnapshot, OnConflict, RestoreOptions, Retention,
    RollbackManager,
};
use sandbox_types::OperationId;

fn main() -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let workspace = place.path().join("workspace");
    fs::create_dir(&workspace)?;
    fs::write(workspace.join("notes"), "first")?;

    let manager = RollbackManager::open(&workspace, &place.path().join("layers"))?;
    let repository = manager.repository(&place.path().join("repository"));
    let taken = repository.snapshot(&NewSnapshot {
        created_at: jiff::Timestamp::UNIX_EPOCH,
        tags: vec!["example".to_owned()],
        message: None,
        state_sequence: None,
        compression: Compression::Zstd,
        retention: Retention::All,
        excludes: Excludes::default(),
    })?;

    fs::write(workspace.join("notes"), "second")?;
    let operation = OperationId::generate();
    repository.restore(
        &taken.snapshot.id,
        &RestoreOptions {
            operation: operation.clone(),
            paths: Vec::new(),
            to: Destination::Workspace,
            dry_run: false,
        },
    )?;
    assert_eq!(fs::read_to_string(workspace.join("notes"))?, "first");

    manager.undo(&operation, OnConflict::Refuse)?;
    assert_eq!(fs::read_to_string(workspace.join("notes"))?, "second");
    Ok(())
}
