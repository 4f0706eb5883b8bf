//! Measures begin, changes, commit and undo on hand-made upper layers.
//!
//! `cargo run --release --example measure -p sandbox-rollback -- DIRECTORY`
#![expect(clippy::print_stdout, reason = "this program prints its measurements")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use sandbox_rollback::{OnConflict, RollbackManager};
use sandbox_types::OperationId;

const FILES: usize = 10_000;
const FILES_PER_DIRECTORY: usize = 100;
const EMPTY_RUNS: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).map(PathBuf::from);
    let root = root.ok_or("which directory?")?.join("measure");
    fs::create_dir_all(root.join("ws"))?;
    let manager = RollbackManager::open(&root.join("ws"), &root.join("layers"))?;
    fill(&root.join("ws"), "before")?;

    let begun = Instant::now();
    for _ in 0..EMPTY_RUNS {
        manager.begin(&OperationId::generate())?.discard()?;
    }
    println!("begin + discard, empty: {:?}", begun.elapsed() / EMPTY_RUNS);
    let tx = manager.begin(&OperationId::generate())?;
    let begun = Instant::now();
    tx.changes()?;
    println!("changes, empty: {:?}", begun.elapsed());
    tx.discard()?;

    let tx = manager.begin(&OperationId::generate())?;
    let id = tx.id().clone();
    fill(tx.upper(), "after!")?;
    let begun = Instant::now();
    let survey = tx.survey()?;
    println!("changes, {FILES} files: {:?}", begun.elapsed());
    fs::File::open(&root)?.sync_all()?;
    let begun = Instant::now();
    tx.commit(survey)?;
    println!("commit, {FILES} files: {:?}", begun.elapsed());
    let begun = Instant::now();
    manager.undo(&id, OnConflict::Refuse)?;
    println!("undo, {FILES} files: {:?}", begun.elapsed());
    manager.remove_all()?;
    fs::remove_dir_all(root)?;
    Ok(())
}

fn fill(root: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    for number in 0..FILES {
        let directory = root.join(format!("dir{}", number / FILES_PER_DIRECTORY));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("file{number}")), text)?;
    }
    Ok(())
}
