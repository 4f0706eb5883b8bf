//! Checks everything that is kept, and names the snapshots that damage concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::PathBuf,
    sync::Arc,
};

mod frames;
mod known;
mod packs;

use redb::ReadableTable as _;
use serde::Serialize;

use known::Known;
use packs::{Comparison, compare};

use super::{
    Repository,
    cipher::Sealing,
    creation,
    error::RepositoryError,
    format,
    frame::Kind,
    index::{BLOCKS, CHUNKS, Check, Index},
    node::{Content, Hash, Node},
    pack::{self, Depth, Form, Found},
    prune::{DELETION_MAGIC, total},
    reader::Reader,
    record::SnapshotId,
    rekey,
    session::{Session, Sharing, pack_files, seal_of, take_lock},
};
use crate::{file_error::cannot, progress::Progress};

/// The most paths that one problem names.
const PATHS_NAMED_MAX: usize = 1000;
/// The most problems that are listed.
const PROBLEMS_MAX: usize = 10_000;

/// How much is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerifyDepth {
    /// The index, the headers of the packs, and that every snapshot has all its parts.
    Structure,
    /// Also every byte.
    Data,
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Whether there is no problem.
    pub ok: bool,
    /// How many snapshots there are.
    pub snapshots: u64,
    /// How many packs.
    pub packs: u64,
    /// How many chunks.
    pub chunks: u64,
    /// How much of the packs was read.
    pub bytes_read: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// Where, and what.
    pub what: String,
    /// The snapshots that it concerns.
    pub snapshots: Vec<SnapshotId>,
    /// What of them cannot be restored, relative to the workspace: up to a thousand paths.
    #[serde(serialize_with = "as_text")]
    pub paths: Vec<PathBuf>,
}

fn as_text<S: serde::Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

pub(super) fn verify(
    repository: &Repository,
    depth: VerifyDepth,
) -> Result<Verification, RepositoryError> {
    creation::settle(&repository.directory)?;
    let mut check = Checked::default();
    match format::check(&repository.directory) {
        Ok(_) => {}
        Err(RepositoryError::Empty) => {
            return Ok(Verification {
                ok: true,
                ..Verification::default()
            });
        }
        // A changed number looks like a newer format.
        Err(error @ (RepositoryError::Damaged { .. } | RepositoryError::Newer { .. })) => {
            check.problem(error.to_string());
        }
        Err(error) => return Err(error),
    }
    check.sealing = match repository.unlock() {
        Ok(sealing) => sealing,
        Err(error) => check.by_packs(repository, error)?,
    };
    let opened = open(repository, &mut check);
    match opened {
        Ok(session) => {
            check.all(&session, depth)?;
            if check.reseal && check.verification.problems.is_empty() {
                session.close()?;
            }
        }
        // The index has a number of its own, and a changed one looks like a newer format.
        Err(error @ (RepositoryError::Index { .. } | RepositoryError::Newer { .. })) => {
            let _lock = take_lock(&repository.directory, Sharing::Shared)?;
            check.without_index(repository, (depth, &error))?;
        }
        Err(error) => return Err(error),
    }
    let mut verification = check.verification;
    verification.ok = verification.problems.is_empty();
    verification.problems.truncate(PROBLEMS_MAX);
    Ok(verification)
}

/// Opens the repository without changing a byte of it, if its index was closed properly. An index
/// that a killed process left has no seal: redb repairs it and checks all of it.
fn open<'a>(
    repository: &'a Repository,
    check: &mut Checked,
) -> Result<Session<'a>, RepositoryError> {
    let seal = repository.seal();
    let lock = take_lock(&repository.directory, Sharing::Shared)?;
    let location = repository.index(&check.sealing);
    if check.sealing.is_some() {
        if repository.directory.join(rekey::MARKER).exists() {
            drop(lock);
            drop(Session::write(repository)?);
            return open(repository, check);
        }
        let index = Index::open(&location, Check::AsNeeded)?;
        return Ok(Session::of(repository, (index, location.sealing), lock));
    }
    match fs::read(&seal) {
        Ok(bytes) => {
            match seal_of(&location.path) {
                Ok(expected) if expected == bytes => {}
                Ok(_) => check.problem(
                    "index.redb is not as it was closed: `repair` makes it again from the packs"
                        .to_owned(),
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot("read", &location.path)(error).into()),
            }
            match Index::open_to_read(&location)? {
                Some(index) => Ok(Session::of(repository, (index, None), lock)),
                None => Err(RepositoryError::Index {
                    path: location.path,
                    why: "it was not closed properly".to_owned(),
                }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            drop(lock);
            let lock = take_lock(&repository.directory, Sharing::Alone)?;
            let index = Index::open(&location, Check::All)?;
            check.reseal = true;
            Ok(Session::of(repository, (index, None), lock))
        }
        Err(error) => Err(cannot("read", &seal)(error).into()),
    }
}

/// All that the index says: what follows reads no table that was not readable here.
struct Expected {
    /// Block by pack and offset of its frame, with the frame's length.
    blocks: Blocks,
    chunks: Known,
    packs: Vec<(u32, u64)>,
    records: Vec<Hash>,
    reader: Reader,
}

type Blocks = BTreeMap<(u32, u64), (u64, u32)>;

#[derive(Default)]
struct Checked {
    verification: Verification,
    /// Chunks that lie where the index says, and are what their address says as far as was read.
    chunks: Known,
    reseal: bool,
    sealing: Sealing,
    progress: Arc<Progress>,
}

impl Checked {
    fn problem(&mut self, what: String) {
        self.verification.problems.push(Problem {
            what,
            snapshots: Vec::new(),
            paths: Vec::new(),
        });
    }

    /// Gets the key from the packs if `format.json` is at fault; if that cannot be, the error is why.
    fn by_packs(
        &mut self,
        repository: &Repository,
        error: RepositoryError,
    ) -> Result<Sealing, RepositoryError> {
        let may_be_the_file = matches!(
            error,
            RepositoryError::Damaged { .. }
                | RepositoryError::Newer { .. }
                | RepositoryError::WrongKey { .. }
        );
        if !may_be_the_file {
            return Err(error);
        }
        let sealing = repository.unlock_by_packs()?;
        if self.verification.problems.is_empty() {
            self.problem(error.to_string());
        }
        Ok(sealing)
    }

    fn all(&mut self, session: &Session<'_>, depth: VerifyDepth) -> Result<(), RepositoryError> {
        let expected = match expected(session) {
            Ok(expected) => expected,
            Err(error) => return self.without_index(&session.repository, (depth, &error)),
        };
        let Expected {
            blocks,
            packs,
            records,
            reader,
            chunks,
        } = expected;
        self.chunks = chunks;
        self.progress = Arc::clone(&session.repository.progress);
        if depth == VerifyDepth::Data {
            let bytes = packs.iter().map(|(_, bytes)| *bytes);
            self.progress.expect(total(bytes));
        }
        self.verification.packs = packs.len() as u64;
        self.verification.chunks = self.chunks.len() as u64;
        let comparison = Comparison {
            directory: &session.packs_directory(),
            cipher: self.sealing.as_deref(),
            depth,
            blocks: &blocks,
            chunks: &self.chunks,
            progress: &self.progress,
        };
        for compared in compare(comparison, &packs)? {
            self.verification.bytes_read += compared.bytes_read;
            for what in compared.problems {
                self.problem(what);
            }
        }
        if !blocks.is_empty() && self.verification.problems.is_empty() {
            self.blocks_found();
        }
        self.snapshots(session, &reader, &records)
    }

    /// Every block of the index must have been found, else the index is wrong.
    fn blocks_found(&mut self) {
        let lost = self.chunks.lost();
        if lost > 0 {
            self.problem(format!("the index and the packs differ in {lost} chunk(s)"));
        }
    }

    /// Walks each snapshot, and names what of it cannot be restored.
    fn snapshots(
        &mut self,
        session: &Session<'_>,
        reader: &Reader,
        records: &[Hash],
    ) -> Result<(), RepositoryError> {
        let mut whole = BTreeSet::new();
        for record in records {
            self.verification.snapshots += 1;
            let id = SnapshotId(*record);
            let snapshot = match session.snapshot(reader, record) {
                Ok(snapshot) if self.chunks.is_good(record) => snapshot,
                Ok(_) | Err(RepositoryError::Damaged { .. } | RepositoryError::Index { .. }) => {
                    self.affected(id, "its record is damaged", Vec::new());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let paths = self.damaged_paths(reader, snapshot.root, &mut whole)?;
            if !paths.is_empty() {
                self.affected(id, "paths cannot be restored", paths);
            }
        }
        Ok(())
    }

    fn affected(&mut self, id: SnapshotId, what: &str, paths: Vec<PathBuf>) {
        let count = if paths.is_empty() {
            String::new()
        } else {
            format!("{} ", paths.len())
        };
        self.verification.problems.push(Problem {
            what: format!("snapshot {id}: {count}{what}"),
            snapshots: vec![id],
            paths,
        });
    }

    /// Returns what cannot be read below `root`; directories without damage are walked once.
    fn damaged_paths(
        &self,
        reader: &Reader,
        root: Node,
        whole: &mut BTreeSet<Vec<Hash>>,
    ) -> Result<Vec<PathBuf>, RepositoryError> {
        let mut damaged = Vec::new();
        let mut walked = Vec::new();
        let mut stack = vec![(PathBuf::new(), root)];
        while let Some((path, node)) = stack.pop() {
            let Content::Directory(stream) = &node.content else {
                continue;
            };
            let key: Vec<Hash> = stream.hashes().collect();
            if whole.contains(&key) {
                continue;
            }
            let is_good = key.iter().all(|hash| self.chunks.is_good(hash));
            let entries = match reader.directory(stream) {
                Ok(entries) if is_good => entries,
                Ok(_) | Err(RepositoryError::Damaged { .. } | RepositoryError::Index { .. }) => {
                    damaged.push(path);
                    continue;
                }
                Err(error) => return Err(error),
            };
            walked.push(key);
            for node in entries {
                if let Content::File(stream) = &node.content
                    && !stream.hashes().all(|hash| self.chunks.is_good(&hash))
                {
                    damaged.push(path.join(&node.name));
                }
                if node.is_dir() {
                    stack.push((path.join(&node.name), node));
                }
            }
            if damaged.len() > PATHS_NAMED_MAX {
                break;
            }
        }
        if damaged.is_empty() {
            whole.extend(walked);
        }
        damaged.sort_unstable();
        damaged.truncate(PATHS_NAMED_MAX);
        Ok(damaged)
    }

    /// The index cannot be read: what is in the packs is checked all the same.
    fn without_index(
        &mut self,
        repository: &Repository,
        (depth, error): (VerifyDepth, &RepositoryError),
    ) -> Result<(), RepositoryError> {
        let packs = repository.packs(&self.sealing);
        let (mut records, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for number in pack_files(&packs)? {
            let path = pack::path(&packs, number);
            let file = File::open(&path).map_err(cannot("open", &path))?;
            self.verification.packs += 1;
            let chunks = &mut self.verification.chunks;
            let form = Form::new(number, self.sealing.as_deref());
            let examined = pack::examine(&file, form, depth_of(depth), |found| {
                *chunks += found.header.members.len() as u64;
                note_snapshots(found, &mut records, &mut deleted);
                Ok(())
            });
            let (faults, read) = examined.map_err(cannot("read", &path))?;
            self.verification.bytes_read += read;
            for fault in faults {
                let what = format!("{} at {}: {}", pack::shown(&path), fault.offset, fault.what);
                self.problem(what);
            }
        }
        let alive: Vec<_> = records
            .difference(&deleted)
            .copied()
            .map(SnapshotId)
            .collect();
        self.verification.snapshots = alive.len() as u64;
        self.verification.problems.push(Problem {
            what: format!("{error}: `repair` makes it again from the packs"),
            snapshots: alive,
            paths: Vec::new(),
        });
        Ok(())
    }
}

/// Notes records of snapshots and deletions of them.
pub(super) fn note_snapshots(
    found: &Found,
    records: &mut BTreeSet<Hash>,
    deleted: &mut BTreeSet<Hash>,
) {
    match found.header.kind {
        Kind::Snapshot => records.extend(found.header.members.iter().map(|(hash, _)| *hash)),
        Kind::Deletion => deleted.extend(deletions_in(found).map(|(record, _)| record)),
        Kind::Data | Kind::Tree => {}
    }
}

/// Returns the snapshots whose deletion a block records, each with the record that says so. A block that was written
/// anew by `prune` has several.
pub(super) fn deletions_in(found: &Found) -> impl Iterator<Item = (Hash, Hash)> {
    let bytes = match &found.block {
        Some(Ok(bytes)) if found.header.kind == Kind::Deletion => bytes.as_slice(),
        Some(_) | None => &[],
    };
    let mut rest = bytes;
    found
        .header
        .members
        .iter()
        .filter_map(move |(hash, length)| {
            let (record, after) = rest.split_at_checked(*length as usize)?;
            rest = after;
            let record = record.strip_prefix(DELETION_MAGIC.as_slice())?;
            Some((Hash(record.try_into().ok()?), *hash))
        })
}

fn depth_of(depth: VerifyDepth) -> Depth {
    match depth {
        VerifyDepth::Structure => Depth::Headers,
        VerifyDepth::Data => Depth::Payloads,
    }
}

fn expected(session: &Session<'_>) -> Result<Expected, RepositoryError> {
    let (packs, records, reader) = (session.packs()?, session.records()?, session.reader()?);
    session.index.read(|transaction| {
        let mut blocks = Blocks::new();
        for row in transaction.open_table(BLOCKS)?.iter()? {
            let (block, place) = row?;
            let (pack, offset, bytes) = place.value();
            blocks.insert((pack, offset), (block.value(), bytes));
        }
        let mut chunks = Vec::new();
        for row in transaction.open_table(CHUNKS)?.iter()? {
            let (hash, place) = row?;
            chunks.push((Hash(*hash.value()), place.value()));
        }
        let chunks = Known::of(chunks);
        Ok(Expected {
            blocks,
            chunks,
            packs,
            records,
            reader,
        })
    })
}
