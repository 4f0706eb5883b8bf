//! Measures transactions: what a commit, an undo, a discard and the list of changes cost.
//!
//! ```text
//! cargo run --release -p sandbox-rollback --example transactions_speed -- DIRECTORY [FILES]
//! ```
//! Works below DIRECTORY, which decides the file system. FILES is the size of the large workspace.
//! CPU time is that of this process, the kernel's part included.
#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use sandbox_rollback::{
    Compression, Destination, Excludes, NewSnapshot, OnConflict, RestoreOptions, Retention,
    RollbackManager, Transaction,
};
use sandbox_types::OperationId;

/// Files that the measured operation changes.
const CHANGED: usize = 10_000;
/// Entries of the upper layer whose changes are listed.
const LISTED: usize = 300_000;
/// Files of the large workspace.
const LARGE: usize = 1_000_000;
/// Files of the small one.
const SMALL: usize = 100;
/// Files of one directory.
const WIDTH: usize = 1000;
/// How deep the deep tree is.
const LEVELS: usize = 20_000;
/// In each so many of them there is a second directory, which a walk comes back to.
const BRANCHING: usize = 10;
/// How often what is short is done.
const ROUNDS: u32 = 500;
/// How often what is long is done; the least counts.
const REPEATS: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut args = env::args_os().skip(1);
    let place = args.next().map(PathBuf::from).ok_or("no DIRECTORY")?;
    let large = match args.next() {
        Some(text) => text.to_str().ok_or("FILES is a number")?.parse()?,
        None => LARGE,
    };
    let lab = tempfile::Builder::new()
        .prefix("transactions-")
        .tempdir_in(place)?;
    change_many(&lab.path().join("many"))?;
    list_many(&lab.path().join("list"))?;
    go_deep(&lab.path().join("deep"))?;
    let small = begin_and_end(&lab.path().join("small"), SMALL)?;
    let large_took = begin_and_end(&lab.path().join("large"), large)?;
    let ratio = large_took.as_secs_f64() / small.as_secs_f64();
    println!(
        "{:>9.1} us CPU  begin and end on {SMALL} files",
        micros(small)
    );
    println!(
        "{:>9.1} us CPU  begin and end on {large} files ({ratio:.2} x)",
        micros(large_took)
    );
    Ok(())
}

/// Commits, undoes, redoes and discards the change of many files.
fn change_many(place: &Path) -> Outcome<()> {
    let manager = workspace(place, CHANGED)?;
    let mut least = [Duration::MAX; 4];
    for round in 0..REPEATS {
        let id: OperationId = format!("op{round}").parse()?;
        let tx = changed(&manager, &id)?;
        let survey = tx.survey()?;
        // What is measured is the work, not the storage: it has the files before.
        rustix::fs::syncfs(fs::File::open(place)?)?;
        let took = [
            cpu(|| Ok(tx.commit(survey).map(drop)?))?,
            cpu(|| Ok(manager.undo(&id, OnConflict::Refuse).map(drop)?))?,
            cpu(|| Ok(manager.redo(&id, OnConflict::Refuse).map(drop)?))?,
        ];
        manager.undo(&id, OnConflict::Refuse)?;
        let dropped = changed(&manager, &format!("drop{round}").parse()?)?;
        let discard = cpu(|| Ok(dropped.discard().map(drop)?))?;
        for (least, took) in least.iter_mut().zip(took.into_iter().chain([discard])) {
            *least = took.min(*least);
        }
        manager.empty_trash()?;
    }
    for (took, what) in least.into_iter().zip(["commit", "undo", "redo", "discard"]) {
        println!(
            "{:>9.1} ms CPU  {what} of {CHANGED} files",
            micros(took) / 1000.0
        );
    }
    Ok(())
}

fn list_many(place: &Path) -> Outcome<()> {
    let manager = workspace(place, SMALL)?;
    let tx = manager.begin(&"list".parse()?)?;
    fill(tx.upper(), LISTED, "new")?;
    let mut least = Duration::MAX;
    let mut count = 0;
    for _ in 0..REPEATS {
        let took = cpu(|| {
            count = tx.changes()?.len();
            Ok(())
        })?;
        least = least.min(took);
    }
    let rate = f64::from(u32::try_from(count)?) / least.as_secs_f64();
    println!("{rate:>9.0} a second of CPU  changes() of {count} new entries");
    tx.discard()?;
    Ok(())
}

/// Lists, commits, saves, puts back and deletes a tree of many levels, with a second directory in some.
fn go_deep(place: &Path) -> Outcome<()> {
    let manager = workspace(place, SMALL)?;
    let id: OperationId = "deep".parse()?;
    let tx = manager.begin(&id)?;
    let root = tx.upper().join("top");
    fs::create_dir(&root)?;
    let mut level = fs::File::open(&root)?;
    for number in 0..LEVELS {
        let mode = rustix::fs::Mode::RWXU;
        if number % BRANCHING == 0 {
            rustix::fs::mkdirat(&level, "b", mode)?;
        }
        rustix::fs::mkdirat(&level, "a", mode)?;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let next = rustix::fs::openat(&level, "a", flags, rustix::fs::Mode::empty())?;
        level = next.into();
    }
    let mut survey = None;
    let listed = cpu(|| {
        survey = Some(tx.survey()?);
        Ok(())
    })?;
    let survey = survey.ok_or("no survey")?;
    let count = survey.changes.len();
    let committed = cpu(|| Ok(tx.commit(survey).map(drop)?))?;
    let undone = cpu(|| Ok(manager.undo(&id, OnConflict::Refuse).map(drop)?))?;
    let redone = cpu(|| Ok(manager.redo(&id, OnConflict::Refuse).map(drop)?))?;
    let (snapshot, restored) = save_and_restore(&manager, &place.join("repository"))?;
    let removed = cpu(|| Ok(sandbox_rollback::remove_tree(&place.join("workspace"))?))?;
    for (took, what) in [
        (listed, "changes()"),
        (committed, "commit"),
        (undone, "undo"),
        (redone, "redo"),
        (snapshot, "snapshot"),
        (restored, "restore"),
        (removed, "removal"),
    ] {
        println!(
            "{:>9.1} ms CPU  {what} of {count} entries in {LEVELS} levels",
            micros(took) / 1000.0
        );
    }
    Ok(())
}

/// Returns what a snapshot costs, and its restore after the top has gone.
fn save_and_restore(manager: &RollbackManager, place: &Path) -> Outcome<(Duration, Duration)> {
    let repository = manager.repository(place);
    let request = NewSnapshot {
        created_at: jiff::Timestamp::UNIX_EPOCH,
        tags: Vec::new(),
        message: None,
        state_sequence: None,
        compression: Compression::Zstd,
        retention: Retention::All,
        excludes: Excludes::default(),
    };
    let mut taken = None;
    let saved = cpu(|| {
        taken = Some(repository.snapshot(&request)?);
        Ok(())
    })?;
    let taken = taken.ok_or("no snapshot")?;
    let gone = place.with_file_name("gone");
    fs::rename(place.with_file_name("workspace").join("top"), &gone)?;
    let options = RestoreOptions {
        operation: "restore".parse()?,
        paths: Vec::new(),
        to: Destination::Workspace,
        dry_run: false,
    };
    let restored = cpu(|| Ok(repository.restore(&taken.snapshot.id, &options).map(drop)?))?;
    sandbox_rollback::remove_tree(&gone)?;
    Ok((saved, restored))
}

/// Returns what a transaction costs in which nothing but one file changes.
fn begin_and_end(place: &Path, files: usize) -> Outcome<Duration> {
    let manager = workspace(place, files)?;
    let id: OperationId = "op".parse()?;
    let once = || -> Outcome<()> {
        let tx = manager.begin(&id)?;
        fs::write(tx.upper().join("new"), "")?;
        assert_eq!(tx.changes()?.len(), 1, "one file is new");
        tx.discard()?;
        manager.sweep();
        Ok(())
    };
    once()?;
    let mut least = Duration::MAX;
    for _ in 0..REPEATS {
        let took = cpu(|| (0..ROUNDS).try_for_each(|_| once()))?;
        least = least.min(took / ROUNDS);
    }
    Ok(least)
}

fn workspace(place: &Path, files: usize) -> Outcome<RollbackManager> {
    let workspace = place.join("workspace");
    fs::create_dir_all(&workspace)?;
    fill(&workspace, files, "old")?;
    Ok(RollbackManager::open(&workspace, &place.join("layers"))?)
}

fn changed(manager: &RollbackManager, id: &OperationId) -> Outcome<Transaction> {
    let tx = manager.begin(id)?;
    fill(tx.upper(), CHANGED, "new")?;
    Ok(tx)
}

fn fill(root: &Path, files: usize, text: &str) -> Outcome<()> {
    for number in 0..files {
        let directory = root.join(format!("d{}", number / WIDTH));
        if number % WIDTH == 0 {
            fs::create_dir(&directory)?;
        }
        fs::write(directory.join(format!("f{number}")), text)?;
    }
    Ok(())
}

fn cpu(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let begun = spent();
    work()?;
    Ok(spent().saturating_sub(begun))
}

fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
