//! Makes the index again from the frames of the packs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use redb::{ReadableTable as _, WriteTransaction};
use serde::Serialize;

use super::{
    Repository,
    cipher::Sealing,
    creation,
    error::{RepositoryError, Trouble},
    format,
    index::{BLOCKS, CHUNKS, DELETED, Index, Location, META, PACKS, SNAPSHOTS},
    node::Hash,
    pack::{self, Depth, Form, Found},
    prune,
    record::{Snapshot, SnapshotId},
    session::{META_NUMBER, Session, Sharing, pack_files, remove, take_lock},
    verify::{deletions_in, note_snapshots},
};
use crate::file_error::cannot;

/// What was found in the packs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rebuilt {
    /// Packs.
    pub packs: u64,
    /// Chunks that are what their address says.
    pub chunks: u64,
    /// Snapshots whose record is there.
    pub snapshots: u64,
    /// What is damaged, and so not in the index.
    pub problems: Vec<String>,
    /// Snapshots that the older index had, and whose records are in no pack any more.
    pub lost_snapshots: Vec<SnapshotId>,
    /// Damaged packs that were removed, because no snapshot lacks anything: then nothing is damaged any more.
    pub removed_packs: u64,
}

/// The rows of the new index.
#[derive(Default)]
struct Rows {
    chunks: BTreeMap<Hash, (u64, u32, u32)>,
    blocks: Vec<(u64, (u32, u64, u32))>,
    packs: Vec<(u32, u64)>,
    snapshots: BTreeMap<u64, Hash>,
    records: BTreeSet<Hash>,
    deleted: BTreeSet<Hash>,
    /// The chunk of each deletion.
    deletions: BTreeMap<Hash, Hash>,
    number: u64,
}

/// The packs as they were found.
struct Surveyed {
    rows: Rows,
    rebuilt: Rebuilt,
    damaged: BTreeSet<u32>,
    /// Whether the older index could be read, and no snapshot that it had is lost.
    is_complete: bool,
}

pub(super) fn rebuild(repository: &Repository) -> Result<Rebuilt, RepositoryError> {
    let (lock, sealing) = enter(repository, Sharing::Alone)?;
    let location = repository.index(&sealing);
    let Surveyed {
        rows,
        mut rebuilt,
        damaged,
        is_complete,
    } = survey(repository, &sealing)?;
    remove(&repository.seal())?;
    set_aside(&location.path)?;
    Index::create(&location, |transaction| rows.fill(transaction))?;
    format::write(repository, sealing.as_deref().map(|cipher| &cipher.slot))?;
    drop(lock);
    let session = Session::write(repository)?;
    if is_complete {
        rebuilt.removed_packs = prune::retire(&session, &damaged)?;
    }
    session.close()?;
    Ok(rebuilt)
}

/// Returns what [`rebuild`] would do, and changes nothing.
pub(super) fn plan(repository: &Repository) -> Result<Rebuilt, RepositoryError> {
    let (lock, sealing) = enter(repository, Sharing::Shared)?;
    let Surveyed {
        rows,
        mut rebuilt,
        damaged,
        is_complete,
    } = survey(repository, &sealing)?;
    let location = repository.index(&sealing);
    let index = Index::in_memory(&location, |transaction| rows.fill(transaction))?;
    let session = Session::of(repository, (index, sealing), lock);
    if is_complete && prune::may_retire(&session)? {
        rebuilt.removed_packs = damaged.len() as u64;
    }
    Ok(rebuilt)
}

/// Locks the repository and gets its key, whatever else is damaged.
fn enter(repository: &Repository, sharing: Sharing) -> Result<(OwnedFd, Sealing), RepositoryError> {
    creation::settle(&repository.directory)?;
    if !repository.plain_packs().is_dir() && !repository.sealed_packs().is_dir() {
        return Err(RepositoryError::Empty);
    }
    let lock = take_lock(&repository.directory, sharing)?;
    let sealing = match repository.unlock() {
        // Of the key there is a copy in each pack.
        Err(_) => repository.unlock_by_packs()?,
        Ok(sealing) => sealing,
    };
    if !repository.packs(&sealing).is_dir() {
        return Err(RepositoryError::Empty);
    }
    Ok((lock, sealing))
}

/// Reads all packs, and compares them with what the index said.
fn survey(repository: &Repository, sealing: &Sealing) -> Result<Surveyed, RepositoryError> {
    let packs = repository.packs(sealing);
    let listed = listed(&repository.index(sealing));
    let mut rows = Rows::default();
    let mut rebuilt = Rebuilt::default();
    let mut damaged = BTreeSet::new();
    for number in pack_files(&packs)? {
        let path = pack::path(&packs, number);
        let file = File::open(&path).map_err(cannot("open", &path))?;
        let bytes = file.metadata().map_err(cannot("read", &path))?.len();
        rows.packs.push((number, bytes));
        let before = rebuilt.problems.len();
        let problems = &mut rebuilt.problems;
        let form = Form::new(number, sealing.as_deref());
        let examined = pack::examine(&file, form, Depth::Payloads, |found| {
            repository.progress.add(found.bytes);
            if let Err(what) = rows.add(number, found) {
                problems.push(format!(
                    "{} at {}: {what}",
                    pack::shown(&path),
                    found.offset
                ));
            }
            Ok(())
        });
        let (faults, _) = examined.map_err(cannot::<io::Error>("read", &path))?;
        for fault in faults {
            let what = format!("{} at {}: {}", pack::shown(&path), fault.offset, fault.what);
            rebuilt.problems.push(what);
        }
        if rebuilt.problems.len() > before {
            damaged.insert(number);
        }
    }
    let gone = |hash: &Hash| rows.deleted.contains(hash);
    rows.snapshots.retain(|_, record| !gone(record));
    let found: BTreeSet<Hash> = rows.snapshots.values().copied().collect();
    let lost = listed.iter().flatten().filter(|it| !found.contains(it));
    rebuilt.lost_snapshots = lost.copied().map(SnapshotId).collect();
    rebuilt.packs = rows.packs.len() as u64;
    rebuilt.chunks = rows.chunks.len() as u64;
    rebuilt.snapshots = rows.snapshots.len() as u64;
    Ok(Surveyed {
        is_complete: listed.is_some() && rebuilt.lost_snapshots.is_empty(),
        rows,
        rebuilt,
        damaged,
    })
}

/// Returns the snapshots that the index has; `None` if it cannot be read.
fn listed(location: &Location) -> Option<Vec<Hash>> {
    let index = Index::open_to_read(location).ok()??;
    let rows = index.read(|transaction| {
        let snapshots = transaction.open_table(SNAPSHOTS)?;
        let rows = snapshots.iter()?;
        rows.map(|row| Ok(Hash(*row?.1.value()))).collect()
    });
    rows.ok()
}

/// Keeps the old index under another name.
fn set_aside(index: &Path) -> Result<(), RepositoryError> {
    let mut name = index.file_name().unwrap_or_default().to_owned();
    name.push(".old");
    match fs::rename(index, index.with_file_name(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(cannot("set aside", index)(error).into())
        }
        _ => Ok(()),
    }
}

impl Rows {
    /// Puts them into a new index.
    fn fill(&self, transaction: &WriteTransaction) -> Result<(), Trouble> {
        let mut chunks = transaction.open_table(CHUNKS)?;
        for (hash, place) in &self.chunks {
            chunks.insert(&hash.0, *place)?;
        }
        let mut blocks = transaction.open_table(BLOCKS)?;
        for (block, place) in &self.blocks {
            blocks.insert(*block, *place)?;
        }
        let mut packs = transaction.open_table(PACKS)?;
        for (number, bytes) in &self.packs {
            packs.insert(*number, *bytes)?;
        }
        let mut snapshots = transaction.open_table(SNAPSHOTS)?;
        for (number, record) in &self.snapshots {
            snapshots.insert(*number, &record.0)?;
        }
        let mut deleted = transaction.open_table(DELETED)?;
        for (record, deletion) in &self.deletions {
            if self.records.contains(record) {
                deleted.insert(&record.0, &deletion.0)?;
            }
        }
        transaction
            .open_table(META)?
            .insert(META_NUMBER, self.number)?;
        Ok(())
    }

    /// Adds a frame that is what it says.
    fn add(&mut self, pack: u32, found: &Found) -> Result<(), &'static str> {
        let bytes = match &found.block {
            Some(Ok(bytes)) => bytes,
            Some(Err(fault)) => return Err(fault.as_str()),
            None => return Err("it was not read"),
        };
        let block = self.blocks.len() as u64 + 1;
        let mut start = 0_u32;
        let mut places = Vec::new();
        for (hash, length) in &found.header.members {
            let chunk = bytes.get(start as usize..(start + length) as usize);
            let chunk = chunk.filter(|chunk| Hash::of(chunk) == *hash);
            let chunk = chunk.ok_or("it does not hold what its header says")?;
            if let Some(snapshot) = Snapshot::decoded(chunk)
                && found.header.kind == super::frame::Kind::Snapshot
            {
                self.number = self.number.max(snapshot.number);
                self.snapshots.insert(snapshot.number, *hash);
            }
            places.push((*hash, (block, start, *length)));
            start += length;
        }
        let frame = u32::try_from(found.bytes).map_err(|_too_long| "it is too long")?;
        self.blocks.push((block, (pack, found.offset, frame)));
        for (hash, place) in places {
            self.chunks.entry(hash).or_insert(place);
        }
        note_snapshots(found, &mut self.records, &mut self.deleted);
        self.deletions.extend(deletions_in(found));
        Ok(())
    }
}
