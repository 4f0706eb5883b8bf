//! Takes a snapshot: walk, store, make durable, then one change of the index.

use std::{collections::BTreeMap, error::Error, io, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use redb::WriteTransaction;

use super::{
    Repository,
    error::{RepositoryError, Trouble},
    exclude::{Excludes, Matcher},
    frame::{Block, Compression, Kind},
    index::{BLOCKS, CHUNKS, CURRENT, META, PACKS, SEEN, SEEN_BY, SNAPSHOTS},
    node::{Hash, LinkGroup, Node, Omission},
    prune::{self, Pruned, Retention},
    record::{MESSAGE_BYTES_MAX, Snapshot, SnapshotId, TAG_BYTES_MAX},
    scan::{Found, Seen, Sink, Walk},
    session::{META_NUMBER, Next, Session},
    writer::{Packer, Stored, Writer},
};
use crate::{
    clock,
    file_error::{FileError, cannot},
    layout::Layout,
    lock, settle,
    stat::{Stat, Time},
};

/// What is said of a new snapshot.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// The time now.
    pub created_at: Timestamp,
    /// Words to find it by. They pin it: retention does not remove it.
    pub tags: Vec<String>,
    /// What it is for.
    pub message: Option<String>,
    /// A number to keep with it, such as that of the sandbox's state.
    pub state_sequence: Option<u64>,
    /// Whether what it adds is compressed.
    pub compression: Compression,
    /// Which older snapshots go afterwards.
    pub retention: Retention,
    /// What is left out.
    pub excludes: Excludes,
}

/// A snapshot that is complete and durable.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What the repository grew by, everything counted.
    pub stored_bytes: u64,
    /// How many files were read; the others had not changed.
    pub files_read: u64,
    /// How much was left out on purpose; what is in a directory of these is not counted.
    pub excluded: u64,
    /// What else is in the workspace and not in the snapshot.
    pub omitted: Vec<(PathBuf, Omission)>,
    /// Files that changed each time while they were read.
    pub torn: Vec<PathBuf>,
    /// Snapshots that retention removed.
    pub dropped: Vec<SnapshotId>,
    /// What that freed.
    pub pruned: Pruned,
}

/// What a walk gives to the index.
struct Walked {
    root: Node,
    found: Found,
    seen: Seen,
    stored: Stored,
}

/// What is done when a snapshot has its id and is not there yet: if it fails, there is none.
pub(super) type Companion<'a> = &'a dyn Fn(&SnapshotId) -> Result<(), CompanionFailure>;
/// Why what belongs to a snapshot was not kept.
pub type CompanionFailure = Box<dyn Error + Send + Sync>;

pub(super) fn take(
    repository: &Repository,
    new: &NewSnapshot,
    companion: Companion<'_>,
) -> Result<Taken, RepositoryError> {
    check_length("message", new.message.as_deref(), MESSAGE_BYTES_MAX)?;
    for tag in &new.tags {
        check_length("tag", Some(tag), TAG_BYTES_MAX)?;
    }
    let excludes = new.excludes.compile()?;
    let session = Session::write_or_create(repository)?;
    match store(&session, (new, excludes), companion) {
        Ok(taken) => {
            session.close()?;
            Ok(taken)
        }
        Err(error) => {
            session.give_up();
            Err(error)
        }
    }
}

fn store(
    session: &Session<'_>,
    (new, excludes): (&NewSnapshot, Matcher),
    companion: Companion<'_>,
) -> Result<Taken, RepositoryError> {
    let next = session.next()?;
    let packer = Packer::new(
        &session.packs_directory(),
        next.pack,
        (new.compression, session.sealing.clone()),
    );
    let Walked {
        root,
        found,
        mut seen,
        mut stored,
    } = walk(session, next, (packer, excludes))?;
    let mut snapshot = Snapshot {
        id: SnapshotId(Hash([0; 32])),
        number: next.snapshot,
        parent: session.newest()?,
        created_at: new.created_at,
        tags: new.tags.clone(),
        message: new.message.clone(),
        state_sequence: new.state_sequence,
        files: found.files,
        dirs: found.dirs,
        bytes: found.bytes,
        new_bytes: stored.new_bytes,
        stored_bytes: stored.packer.stored_bytes,
        omitted: found.omitted.len() as u64,
        torn: found.torn.len() as u64,
        excludes: new.excludes.clone(),
        root,
        imported_at: None,
        random: session.random()?,
    };
    let record = append_record(&mut stored, &snapshot)?;
    snapshot.id = SnapshotId(record);
    stored.packer.finish()?;
    companion(&snapshot.id).map_err(RepositoryError::Companion)?;
    // No reading may be open while the index changes and is closed.
    let known = seen.table.take().is_some();
    session.index.write(|transaction| {
        add_chunks(transaction, &stored)?;
        transaction
            .open_table(SNAPSHOTS)?
            .insert(next.snapshot, &record.0)?;
        transaction
            .open_table(META)?
            .insert(META_NUMBER, next.snapshot)?;
        remember(transaction, &found, (&seen.fresh, known))?;
        transaction
            .open_table(SEEN_BY)?
            .insert(CURRENT, &record.0)?;
        Ok(())
    })?;
    let dropped = prune::retain(session, new.retention, &snapshot.id)?;
    let pruned = if dropped.is_empty() {
        Pruned::default()
    } else {
        prune::run(session)?
    };
    Ok(Taken {
        stored_bytes: stored.packer.stored_bytes,
        snapshot,
        files_read: found.files_read,
        excluded: found.excluded,
        omitted: found.omitted,
        torn: found.torn,
        dropped,
        pruned,
    })
}

fn check_length(
    what: &'static str,
    text: Option<&str>,
    bytes_max: usize,
) -> Result<(), RepositoryError> {
    let bytes = text.map_or(0, str::len);
    if bytes > bytes_max {
        return Err(RepositoryError::TooLong {
            what,
            bytes,
            bytes_max,
        });
    }
    Ok(())
}

/// Walks the workspace. If something was committed meanwhile, walks it once more while nothing can
/// be: then only what that changed is read.
fn walk(
    session: &Session<'_>,
    next: Next,
    (packer, excludes): (Packer, Matcher),
) -> Result<Walked, RepositoryError> {
    let layout = &session.repository.layout;
    let lookup = session.index.lookup()?;
    let started = start(layout)?;
    let sink = Sink::Store(Writer::new(&lookup, packer, next.block));
    let mut walk = Walk::new(layout, started, seen(session)?, sink)?;
    walk.excludes = excludes;
    walk.progress = Arc::clone(&session.repository.progress);
    let mut root = walk.run()?;
    let gate = layout.lock()?;
    let path = layout.layers.join("lock");
    if !lock::wait_shared(&gate).map_err(cannot("lock", &path))? {
        return Err(RepositoryError::Busy { path });
    }
    if settled_since(layout, started)? {
        let started = clock::stamp(&gate).map_err(cannot("stamp", &path))?;
        let excludes = walk.excludes;
        walk = Walk::new(layout, started, walk.seen, walk.sink)?;
        walk.excludes = excludes;
        root = walk.run()?;
    }
    drop(gate);
    let Walk {
        seen, sink, found, ..
    } = walk;
    let Sink::Store(writer) = sink else {
        unreachable!("the sink that was given")
    };
    Ok(Walked {
        root,
        found,
        seen,
        stored: writer.finish()?,
    })
}

/// Completes what a killed process left of a commit, and returns the file system's time then.
pub(super) fn start(layout: &Layout) -> Result<Time, RepositoryError> {
    let Some(lock) = layout.exclusive()? else {
        return Err(RepositoryError::Busy {
            path: layout.layers.join("lock"),
        });
    };
    let finished = settle::finish_journals(layout)?;
    if let Some((_, source)) = finished.failed.into_iter().next() {
        return Err(source.into());
    }
    let path = layout.layers.join("lock");
    Ok(clock::stamp(&lock).map_err(cannot("stamp", path))?)
}

/// Returns whether a commit or an undo was completed since `time`.
fn settled_since(layout: &Layout, time: Time) -> Result<bool, FileError> {
    let moved = |part: &str| -> Result<bool, FileError> {
        let path = layout.layers.join(part);
        let stat = Stat::at(rustix::fs::CWD, &path).map_err(cannot("read", &path))?;
        Ok(stat.ctime >= time)
    };
    Ok(moved("undo")? || moved("undone")?)
}

/// Returns what was seen before, if the snapshot that it was seen for is still there: then all
/// chunks that it names are.
pub(super) fn seen(session: &Session<'_>) -> Result<Seen, RepositoryError> {
    let records = session.records()?;
    let table = session.index.read(|transaction| {
        let by = transaction.open_table(SEEN_BY)?;
        let by = by.get(CURRENT)?.map(|hash| Hash(*hash.value()));
        match by {
            Some(by) if records.contains(&by) => Ok(Some(transaction.open_table(SEEN)?)),
            _ => Ok(None),
        }
    })?;
    Ok(Seen {
        table,
        fresh: BTreeMap::new(),
    })
}

/// Returns how the workspace looked when this snapshot was taken, as long as that is known.
pub(super) fn seen_by(
    session: &Session<'_>,
    id: &SnapshotId,
) -> Result<Option<Seen>, RepositoryError> {
    let by = session.index.read(|transaction| {
        let by = transaction.open_table(SEEN_BY)?;
        Ok(by.get(CURRENT)?.map(|hash| Hash(*hash.value())))
    })?;
    if by == Some(id.0) {
        return seen(session).map(Some);
    }
    Ok(None)
}

/// Puts the record of a snapshot into a block of its own.
pub(super) fn append_record(
    stored: &mut Stored,
    snapshot: &Snapshot,
) -> Result<Hash, RepositoryError> {
    let bytes = snapshot.encoded();
    append_chunk(stored, Kind::Snapshot, &bytes)
}

/// Puts one chunk into a block of its own.
pub(super) fn append_chunk(
    stored: &mut Stored,
    kind: Kind,
    bytes: &[u8],
) -> Result<Hash, RepositoryError> {
    let hash = Hash::of(bytes);
    let mut block = Block::new(kind);
    block.add(hash, bytes);
    stored.packer.write(stored.next_block, &block)?;
    let length = u32::try_from(bytes.len())
        .map_err(io::Error::other)
        .map_err(cannot("keep", "a record"))?;
    stored.fresh.insert(hash, (stored.next_block, 0, length));
    stored.next_block += 1;
    Ok(hash)
}

/// Adds what was written to the index, in the order of its keys.
pub(super) fn add_chunks(transaction: &WriteTransaction, stored: &Stored) -> Result<(), Trouble> {
    let mut chunks = transaction.open_table(CHUNKS)?;
    for (hash, place) in &stored.fresh {
        chunks.insert(&hash.0, *place)?;
    }
    let mut blocks = transaction.open_table(BLOCKS)?;
    for written in &stored.packer.written {
        let place = (written.pack, written.offset, written.bytes);
        blocks.insert(written.block, place)?;
    }
    let mut packs = transaction.open_table(PACKS)?;
    for pack in &stored.packer.complete {
        packs.insert(pack.number, pack.bytes)?;
    }
    Ok(())
}

/// Remembers what the directories look like, and forgets those that are gone; all that was `known`
/// before, if it does not hold any more.
fn remember(
    transaction: &WriteTransaction,
    found: &Found,
    (fresh, known): (&BTreeMap<LinkGroup, Vec<u8>>, bool),
) -> Result<(), Trouble> {
    let mut table = transaction.open_table(SEEN)?;
    table.retain(|row, _| known && found.rows.contains(row))?;
    for (row, bytes) in fresh {
        if found.rows.contains(row) {
            table.insert(row, bytes.as_slice())?;
        }
    }
    Ok(())
}
