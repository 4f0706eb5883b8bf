//! Takes the snapshot of an exported file into a repository. The file may come from anywhere: every
//! byte is checked, and nothing of it is a snapshot unless all that it needs is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::{
    Repository,
    error::RepositoryError,
    export::{EXPORT_NUMBER, spool_in},
    frame::{Compression, Kind},
    index::{META, SNAPSHOTS},
    node::{Content, Extent, Hash, Node, Stream, decode_directory},
    pack::{self, Depth, Form, Found},
    reader::Reader,
    record::{MESSAGE_BYTES_MAX, Snapshot, SnapshotId, TAG_BYTES_MAX},
    session::{META_NUMBER, Session},
    take::{add_chunks, append_record},
    writer::{Packer, Writer},
};
use crate::{
    file_error::{FileError, cannot},
    layout::make_private,
    stat::Stat,
};

/// The most patterns of a snapshot that is taken in, and how long they are together.
const PATTERNS_MAX: usize = 10_000;
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// The largest directory that is taken in, in bytes of its canonical form.
const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

/// A snapshot that was taken in; it has a new id, because its place among the others is part of that.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The snapshot as it is in this repository.
    pub snapshot: Snapshot,
    /// The id that it had where it was exported.
    pub exported: SnapshotId,
    /// What the repository grew by.
    pub stored_bytes: u64,
}

/// The repository is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The repository cannot be used.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The file cannot be read.
    #[error("cannot import the snapshot")]
    Read {
        /// Why.
        #[source]
        source: FileError,
    },
    /// It is not what an export writes, or not all of it.
    #[error("cannot import '{}': {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl From<FileError> for ImportError {
    fn from(source: FileError) -> Self {
        Self::Read { source }
    }
}

pub(super) fn import(
    repository: &Repository,
    path: &Path,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    // Nobody waits for who writes to a pipe: it is refused below.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    let options = options.read(true).custom_flags(flags);
    let file = options.open(path).map_err(cannot("open", path))?;
    if !Stat::of_fd(&file).map_err(cannot("read", path))?.is_file() {
        return Err(damaged(path, "it is no regular file"));
    }
    take_in(repository, (&file, path), now)
}

pub(super) fn import_from(
    repository: &Repository,
    input: &mut dyn io::Read,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let directory = &repository.directory;
    make_private(directory).map_err(cannot("create", directory))?;
    let mut spool = || -> io::Result<File> {
        let mut file = spool_in(directory)?;
        io::copy(input, &mut file)?;
        Ok(file)
    };
    let file = spool().map_err(cannot("keep what comes in", directory))?;
    take_in(repository, (&file, Path::new("-")), now)
}

fn take_in(
    repository: &Repository,
    (file, path): (&File, &Path),
    now: Timestamp,
) -> Result<Imported, ImportError> {
    // An encrypted repository gives files that are encrypted, each with a key of its own.
    let slot = pack::slot_of(file);
    let cipher = slot.map(|slot| repository.open_slot(&slot, path));
    let cipher = cipher.transpose()?;
    let form = Form::new(EXPORT_NUMBER, cipher.as_ref());
    let length = file.metadata().map_err(cannot("read", path))?.len();
    // It is read twice.
    repository.progress.expect(2 * length);
    // All of it before anything is written.
    let parts = read(repository, (file, form), path)?;
    let session = Session::write_or_create(repository)?;
    match store(&session, (&parts, form, now), (file, path)) {
        Ok(imported) => {
            session.close()?;
            Ok(imported)
        }
        Err(error) => {
            session.give_up();
            Err(error)
        }
    }
}

fn damaged(path: &Path, why: impl Into<String>) -> ImportError {
    ImportError::Damaged {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// What is in the file, without its content.
#[derive(Default)]
struct Parts {
    record: Option<Vec<u8>>,
    trees: BTreeMap<Hash, Vec<u8>>,
    data: BTreeSet<Hash>,
    wrong: Option<&'static str>,
}

/// Calls `visit` with each chunk of a frame; says what is wrong with it.
pub(super) fn chunks(
    found: &Found,
    mut visit: impl FnMut(&Hash, &[u8]) -> io::Result<()>,
) -> io::Result<Option<&'static str>> {
    let block = match &found.block {
        Some(Ok(block)) => block,
        Some(Err(fault)) => return Ok(Some(fault.as_str())),
        None => return Ok(None),
    };
    let mut rest = block.as_slice();
    for (hash, length) in &found.header.members {
        let Some((chunk, tail)) = rest.split_at_checked(*length as usize) else {
            return Ok(Some("a chunk is shorter than the file says"));
        };
        if Hash::of(chunk) != *hash {
            return Ok(Some("a chunk is not what its address says"));
        }
        visit(hash, chunk)?;
        rest = tail;
    }
    Ok(None)
}

fn read(
    repository: &Repository,
    (file, form): (&File, Form<'_>),
    path: &Path,
) -> Result<Parts, ImportError> {
    let mut parts = Parts::default();
    let examined = pack::examine(file, form, Depth::Payloads, |found| {
        repository.progress.add(found.bytes);
        let wrong = chunks(found, |hash, chunk| {
            match found.header.kind {
                Kind::Data => {
                    parts.data.insert(*hash);
                }
                Kind::Tree => {
                    parts.trees.insert(*hash, chunk.to_vec());
                }
                Kind::Snapshot if parts.record.is_none() => parts.record = Some(chunk.to_vec()),
                Kind::Snapshot | Kind::Deletion => {
                    parts.wrong = Some("it holds more than one snapshot");
                }
            }
            Ok(())
        })?;
        parts.wrong = parts.wrong.or(wrong);
        Ok(())
    });
    let (faults, _) = examined.map_err(cannot::<io::Error>("read", path))?;
    if let Some(fault) = faults.first() {
        return Err(damaged(
            path,
            format!("at {}: {}", fault.offset, fault.what),
        ));
    }
    match parts.wrong {
        Some(why) => Err(damaged(path, why)),
        None => Ok(parts),
    }
}

fn store(
    session: &Session<'_>,
    (parts, form, now): (&Parts, Form<'_>, Timestamp),
    (file, path): (&File, &Path),
) -> Result<Imported, ImportError> {
    let record = parts.record.as_deref();
    let record = record.and_then(|bytes| Some((Hash::of(bytes), Snapshot::decoded(bytes)?)));
    let Some((exported, snapshot)) = record else {
        return Err(damaged(path, "it holds no snapshot"));
    };
    check_record(&snapshot).map_err(|why| damaged(path, why))?;
    let snapshot = Snapshot {
        imported_at: Some(now),
        ..snapshot
    };
    let reader = session.reader()?;
    check_complete(parts, &reader, &snapshot.root)?.map_err(|why| damaged(path, why))?;
    let packs = session.packs_directory();
    let next = session.next()?;
    let lookup = session.index.lookup()?;
    let packer = Packer::new(
        &packs,
        next.pack,
        (Compression::Zstd, session.sealing.clone()),
    );
    let mut writer = Writer::new(&lookup, packer, next.block);
    let examined = pack::examine(file, form, Depth::Payloads, |found| {
        session.repository.progress.add(found.bytes);
        let kind = found.header.kind;
        if !matches!(kind, Kind::Data | Kind::Tree) {
            return Ok(());
        }
        let put =
            |hash: &Hash, chunk: &[u8]| writer.put(kind, *hash, chunk).map_err(io::Error::other);
        match chunks(found, put)? {
            // It was whole a moment ago.
            Some(why) => Err(io::Error::other(why)),
            None => Ok(()),
        }
    });
    let mut stored = writer.finish().map_err(RepositoryError::from)?;
    examined.map_err(cannot("read", path))?;
    drop((lookup, reader));
    let mut snapshot = Snapshot {
        number: next.snapshot,
        parent: before(session, &snapshot)?,
        new_bytes: stored.new_bytes,
        stored_bytes: stored.packer.stored_bytes,
        // That state is not in the file.
        state_sequence: None,
        random: session.random()?,
        ..snapshot
    };
    let record = append_record(&mut stored, &snapshot)?;
    snapshot.id = SnapshotId(record);
    stored.packer.finish().map_err(RepositoryError::from)?;
    session.index.write(|transaction| {
        add_chunks(transaction, &stored)?;
        transaction
            .open_table(SNAPSHOTS)?
            .insert(next.snapshot, &record.0)?;
        transaction
            .open_table(META)?
            .insert(META_NUMBER, next.snapshot)?;
        Ok(())
    })?;
    Ok(Imported {
        snapshot,
        exported: SnapshotId(exported),
        stored_bytes: stored.packer.stored_bytes,
    })
}

/// Says what of a record no snapshot of ours would have.
fn check_record(snapshot: &Snapshot) -> Result<(), &'static str> {
    let patterns = &snapshot.excludes.patterns;
    let pattern_bytes: usize = patterns.iter().map(String::len).sum();
    let long = snapshot.tags.iter().any(|tag| tag.len() > TAG_BYTES_MAX)
        || snapshot
            .message
            .as_ref()
            .is_some_and(|it| it.len() > MESSAGE_BYTES_MAX);
    if long || pattern_bytes > PATTERN_BYTES_MAX || patterns.len() > PATTERNS_MAX {
        return Err("its message, a tag or its patterns are too long");
    }
    match snapshot.excludes.compile() {
        Ok(_) => Ok(()),
        Err(_) => Err("its patterns cannot be understood"),
    }
}

/// Returns the newest snapshot that was taken before this one.
fn before(
    session: &Session<'_>,
    snapshot: &Snapshot,
) -> Result<Option<SnapshotId>, RepositoryError> {
    let older = session.snapshots()?;
    let mut older = older.into_iter().rev();
    Ok(older
        .find(|it| it.counted_at() <= snapshot.counted_at())
        .map(|it| it.id))
}

/// Says what is missing of the tree below `root`: each chunk must be in the file or here already.
fn check_complete(
    parts: &Parts,
    reader: &Reader,
    root: &Node,
) -> Result<Result<(), &'static str>, RepositoryError> {
    let mut waiting = vec![root.content.clone()];
    let mut walked = BTreeSet::new();
    while let Some(content) = waiting.pop() {
        match content {
            Content::Directory(stream) => {
                let key: Vec<Hash> = stream.hashes().collect();
                if !walked.insert(key) {
                    continue;
                }
                match directory(parts, reader, &stream)? {
                    Some(nodes) => waiting.extend(nodes.into_iter().map(|node| node.content)),
                    None => return Ok(Err("a directory of the snapshot is missing or damaged")),
                }
            }
            Content::File(stream) => {
                for hash in stream.hashes() {
                    if !parts.data.contains(&hash) && !reader.has(&hash)? {
                        return Ok(Err("content of the snapshot is missing"));
                    }
                }
            }
            Content::Symlink(_)
            | Content::Pipe
            | Content::CharacterDevice(..)
            | Content::BlockDevice(..)
            | Content::Omitted(_) => {}
        }
    }
    Ok(Ok(()))
}

fn directory(
    parts: &Parts,
    reader: &Reader,
    stream: &Stream,
) -> Result<Option<Vec<Node>>, RepositoryError> {
    if stream.bytes > DIRECTORY_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for extent in &stream.extents {
        let Extent::Data { hash, .. } = extent else {
            return Ok(None);
        };
        match parts.trees.get(hash) {
            Some(chunk) => bytes.extend_from_slice(chunk),
            None if reader.has(hash)? => bytes.extend_from_slice(&reader.chunk(hash)?),
            None => return Ok(None),
        }
    }
    Ok(decode_directory(&bytes))
}
