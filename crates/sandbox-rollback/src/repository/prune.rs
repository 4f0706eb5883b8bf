//! Which snapshots go, and the space of what nobody needs any more.
//!
//! The order is what makes it safe: new packs are durable, then the index changes in one step, then
//! the old packs are deleted. A crash in between leaves packs that are not in the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
};

use redb::ReadableTable as _;
use serde::Serialize;

mod retire;

pub(super) use retire::{may_retire, retire};

use super::{
    Repository,
    error::{RepositoryError, Trouble},
    frame::{Block, Compression, Kind},
    index::{BLOCKS, CHUNKS, CURRENT, DELETED, PACKS, SEEN, SEEN_BY},
    keep::{KeepPolicy, Kept},
    node::{Content, Extent, Hash, Stream},
    pack::{self, Depth, Form},
    reader::Reader,
    record::{Snapshot, SnapshotId},
    session::{Session, forget, remove},
    take::{add_chunks, append_chunk},
    writer::{Packer, Stored},
};
use crate::file_error::cannot;

/// What a deletion's chunk begins with.
pub(super) const DELETION_MAGIC: &[u8; 4] = b"SBD1";

/// A pack of which less is needed is written anew, in percent.
const NEEDED_PERCENT_MIN: u64 = 60;
/// Packs below this size are put together when there are many of them.
const SMALL_PACK_BYTES: u64 = 1 << 20;
const SMALL_PACKS_MAX: usize = 16;

/// Which snapshots stay when a new one is taken. Those with a tag always do, and are not counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retention {
    /// All of them.
    All,
    /// The newest, at least one.
    Newest(usize),
}

/// What was freed, or would be.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Pruned {
    /// Packs of which nothing was needed.
    pub removed_packs: u64,
    /// Packs that were written anew without what was not needed.
    pub rewritten_packs: u64,
    /// Chunks that nobody needs.
    pub unneeded_chunks: u64,
    /// How much less the packs take; for a plan, at least how much.
    pub freed_bytes: u64,
}

/// Removes the oldest snapshots beyond what is to be kept.
pub(super) fn retain(
    session: &Session<'_>,
    retention: Retention,
    newest: &SnapshotId,
) -> Result<Vec<SnapshotId>, RepositoryError> {
    let Retention::Newest(keep) = retention else {
        return Ok(Vec::new());
    };
    let snapshots = session.snapshots()?;
    let counted: Vec<_> = snapshots.iter().filter(|it| it.tags.is_empty()).collect();
    let excess = counted.len().saturating_sub(keep.max(1));
    let going = counted.into_iter().take(excess);
    let going: Vec<_> = going.filter(|it| it.id != *newest).collect();
    delete_all(session, &going)?;
    Ok(going.into_iter().map(|it| it.id).collect())
}

pub(super) fn apply_policy(
    repository: &Repository,
    policy: &KeepPolicy,
    dry_run: bool,
) -> Result<Vec<Kept>, RepositoryError> {
    let session = if dry_run {
        Session::read(repository)?
    } else {
        Session::write(repository)?
    };
    let snapshots = session.snapshots()?;
    let kept = decide(&session, policy, &snapshots)?;
    if dry_run {
        return Ok(kept);
    }
    let pairs = snapshots.iter().zip(&kept);
    let going = pairs.filter(|(_, kept)| kept.reasons.is_empty());
    let going: Vec<_> = going.map(|(snapshot, _)| snapshot).collect();
    delete_all(&session, &going)?;
    session.close()?;
    Ok(kept)
}

fn decide(
    session: &Session<'_>,
    policy: &KeepPolicy,
    snapshots: &[Snapshot],
) -> Result<Vec<Kept>, RepositoryError> {
    if policy.bytes_max.is_none() {
        return policy.decide(snapshots, &mut |_| Ok(0));
    }
    let reader = session.reader()?;
    let sizes = stored_sizes(session)?;
    let mut needed = BTreeSet::new();
    policy.decide(snapshots, &mut |snapshot| {
        let mut fresh = BTreeSet::new();
        need(&reader, snapshot, (&mut needed, &mut fresh))?;
        let sizes = fresh.iter().filter_map(|hash| sizes.get(hash)).copied();
        Ok(total(sizes))
    })
}

/// Returns how many bytes of a pack each chunk takes: its part of the frame that it is in.
fn stored_sizes(session: &Session<'_>) -> Result<BTreeMap<Hash, u64>, RepositoryError> {
    session.index.read(|transaction| {
        let mut blocks: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for row in transaction.open_table(BLOCKS)?.iter()? {
            let (block, place) = row?;
            blocks.insert(block.value(), (u64::from(place.value().2), 0));
        }
        let mut chunks = Vec::new();
        for row in transaction.open_table(CHUNKS)?.iter()? {
            let (hash, place) = row?;
            let (block, _, bytes) = place.value();
            let bytes = u64::from(bytes);
            if let Some((_, whole)) = blocks.get_mut(&block) {
                *whole += bytes;
            }
            chunks.push((Hash(*hash.value()), block, bytes));
        }
        let part = |(hash, block, bytes): (Hash, u64, u64)| {
            let (frame, whole) = *blocks.get(&block)?;
            Some((hash, bytes.saturating_mul(frame).div_ceil(whole.max(1))))
        };
        Ok(chunks.into_iter().filter_map(part).collect())
    })
}

pub(super) fn delete(repository: &Repository, id: &SnapshotId) -> Result<(), RepositoryError> {
    let session = Session::write(repository)?;
    let snapshot = session.find(&id.to_string())?;
    delete_all(&session, &[&snapshot])?;
    session.close()
}

/// Deletes snapshots: in a pack, so that an index that is made again knows it too, and in the index.
fn delete_all(session: &Session<'_>, going: &[&Snapshot]) -> Result<(), RepositoryError> {
    if going.is_empty() {
        return Ok(());
    }
    let mut stored = new_packs(session, Compression::None)?;
    let mut deletions = Vec::new();
    for snapshot in going {
        let record = snapshot.id.0;
        let chunk = [DELETION_MAGIC.as_slice(), &record.0].concat();
        let deletion = append_chunk(&mut stored, Kind::Deletion, &chunk)?;
        deletions.push((snapshot.number, record, deletion));
    }
    stored.packer.finish()?;
    session.index.write(|transaction| {
        add_chunks(transaction, &stored)?;
        let mut seen_by = transaction.open_table(SEEN_BY)?;
        for (number, record, deletion) in &deletions {
            forget(transaction, *number, (record, deletion))?;
            let current = seen_by.get(CURRENT)?.map(|hash| *hash.value());
            if current == Some(record.0) {
                // What was seen may name chunks that the next prune removes.
                seen_by.remove(CURRENT)?;
                transaction.open_table(SEEN)?.retain(|_, _| false)?;
            }
        }
        Ok(())
    })
}

pub(super) fn prune(repository: &Repository) -> Result<Pruned, RepositoryError> {
    let session = Session::write(repository)?;
    let pruned = run(&session)?;
    session.close()?;
    Ok(pruned)
}

pub(super) fn plan(repository: &Repository) -> Result<Pruned, RepositoryError> {
    let session = Session::read(repository)?;
    Ok(Decision::of(&session)?.pruned())
}

/// What is needed of the packs, and what becomes of each.
struct Decision {
    needed: BTreeSet<Hash>,
    /// By pack: its length, and how much of its chunks is there and is needed.
    packs: BTreeMap<u32, Use>,
    unneeded_chunks: u64,
}

#[derive(Clone, Copy, Default)]
struct Use {
    bytes: u64,
    chunk_bytes: u64,
    needed_bytes: u64,
    rewrite: bool,
}

impl Decision {
    fn of(session: &Session<'_>) -> Result<Self, RepositoryError> {
        let reader = session.reader()?;
        let needed = needed(session, &reader)?;
        let mut packs: BTreeMap<u32, Use> = BTreeMap::new();
        for (number, bytes) in session.packs()? {
            packs.entry(number).or_default().bytes = bytes;
        }
        let mut unneeded_chunks = 0;
        session.index.read(|transaction| {
            let blocks = transaction.open_table(BLOCKS)?;
            let mut pack_of = BTreeMap::new();
            for row in blocks.iter()? {
                let (block, place) = row?;
                pack_of.insert(block.value(), place.value().0);
            }
            for row in transaction.open_table(CHUNKS)?.iter()? {
                let (hash, place) = row?;
                let (block, _, bytes) = place.value();
                let is_needed = needed.contains(&Hash(*hash.value()));
                unneeded_chunks += u64::from(!is_needed);
                let pack = pack_of.get(&block).and_then(|pack| packs.get_mut(pack));
                if let Some(pack) = pack {
                    pack.chunk_bytes += u64::from(bytes);
                    pack.needed_bytes += if is_needed { u64::from(bytes) } else { 0 };
                }
            }
            Ok(())
        })?;
        let small = |it: &&mut Use| it.bytes < SMALL_PACK_BYTES && it.needed_bytes > 0;
        let many_small = packs.values_mut().filter(small).count() > SMALL_PACKS_MAX;
        for pack in packs.values_mut() {
            let sparse = pack.needed_bytes * 100 < pack.chunk_bytes * NEEDED_PERCENT_MIN;
            pack.rewrite = pack.needed_bytes > 0 && (sparse || many_small && small(&&mut *pack));
        }
        Ok(Self {
            needed,
            packs,
            unneeded_chunks,
        })
    }

    fn pruned(&self) -> Pruned {
        let mut pruned = Pruned {
            unneeded_chunks: self.unneeded_chunks,
            ..Pruned::default()
        };
        for pack in self.packs.values() {
            if pack.needed_bytes == 0 {
                pruned.removed_packs += 1;
                pruned.freed_bytes += pack.bytes;
            } else if pack.rewrite {
                pruned.rewritten_packs += 1;
                let gone = pack.chunk_bytes - pack.needed_bytes;
                // As large a part of the file as of its chunks.
                let part = u128::from(pack.bytes) * u128::from(gone);
                let part = part / u128::from(pack.chunk_bytes.max(1));
                pruned.freed_bytes += u64::try_from(part).unwrap_or(0);
            }
        }
        pruned
    }
}

/// Returns every chunk that a snapshot needs, and those that say which snapshots are deleted.
fn needed(session: &Session<'_>, reader: &Reader) -> Result<BTreeSet<Hash>, RepositoryError> {
    let mut needed = BTreeSet::new();
    for snapshot in session.snapshots()? {
        need(reader, &snapshot, (&mut needed, &mut BTreeSet::new()))?;
    }
    session.index.read(|transaction| {
        for row in transaction.open_table(DELETED)?.iter()? {
            needed.insert(Hash(*row?.1.value()));
        }
        Ok(())
    })?;
    Ok(needed)
}

/// Adds the chunks that a snapshot needs to both sets: those that were not in the first one.
fn need(
    reader: &Reader,
    snapshot: &Snapshot,
    (needed, fresh): (&mut BTreeSet<Hash>, &mut BTreeSet<Hash>),
) -> Result<(), RepositoryError> {
    let mut add = |stream: &Stream| {
        let before = needed.len();
        let new = stream.hashes().filter(|hash| needed.insert(*hash));
        fresh.extend(new);
        needed.len() > before
    };
    add(&Stream {
        bytes: 0,
        extents: vec![Extent::Data {
            bytes: 0,
            hash: snapshot.id.0,
        }],
    });
    let mut stack = vec![snapshot.root.clone()];
    while let Some(node) = stack.pop() {
        let Content::Directory(stream) = &node.content else {
            continue;
        };
        // A directory that was there before has been looked into.
        if !add(stream) {
            continue;
        }
        for node in reader.entries(&node)? {
            match &node.content {
                Content::File(stream) => {
                    add(stream);
                }
                Content::Directory(_) => stack.push(node),
                Content::Symlink(_)
                | Content::Pipe
                | Content::CharacterDevice(..)
                | Content::BlockDevice(..)
                | Content::Omitted(_) => {}
            }
        }
    }
    Ok(())
}

/// Adds lengths that the index tells, which may be damaged.
pub(super) fn total(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

/// Frees what is not needed.
pub(super) fn run(session: &Session<'_>) -> Result<Pruned, RepositoryError> {
    let decision = Decision::of(session)?;
    let before = total(decision.packs.values().map(|pack| pack.bytes));
    let mut pruned = decision.pruned();
    if pruned.removed_packs + pruned.rewritten_packs == 0 {
        return Ok(pruned);
    }
    let packs = session.packs_directory();
    let mut stored = new_packs(session, Compression::Zstd)?;
    let mut going = BTreeSet::new();
    for (number, pack) in &decision.packs {
        let goes = pack.needed_bytes == 0
            || pack.rewrite && rewrite(session, *number, &decision.needed, &mut stored)?;
        if goes {
            going.insert(*number);
        }
    }
    stored.packer.finish()?;
    session.index.write(|transaction| {
        drop_packs(transaction, &going)?;
        add_chunks(transaction, &stored)?;
        // Whose record is gone needs no note that it is deleted.
        let chunks = transaction.open_table(CHUNKS)?;
        let mut gone = Vec::new();
        let mut deleted = transaction.open_table(DELETED)?;
        for row in deleted.iter()? {
            let record = *row?.0.value();
            if chunks.get(&record)?.is_none() {
                gone.push(record);
            }
        }
        for record in gone {
            deleted.remove(&record)?;
        }
        Ok(())
    })?;
    for number in &going {
        remove(&pack::path(&packs, *number))?;
    }
    let after = total(session.packs()?.into_iter().map(|(_, bytes)| bytes));
    pruned.freed_bytes = before.saturating_sub(after);
    Ok(pruned)
}

/// Returns where chunks go: to packs after the last one.
fn new_packs(session: &Session<'_>, compression: Compression) -> Result<Stored, RepositoryError> {
    let next = session.next()?;
    let packs = session.packs_directory();
    let form = (compression, session.sealing.clone());
    Ok(Stored {
        packer: Packer::new(&packs, next.pack, form),
        fresh: BTreeMap::new(),
        new_bytes: 0,
        next_block: next.block,
    })
}

/// Writes what is needed of a pack into new ones; `false` if it is damaged: then it stays.
fn rewrite(
    session: &Session<'_>,
    number: u32,
    needed: &BTreeSet<Hash>,
    stored: &mut Stored,
) -> Result<bool, RepositoryError> {
    let (blocks, sound) = intact(session, (number, needed), stored)?;
    if sound {
        write_blocks(blocks, stored)?;
    }
    Ok(sound)
}

/// Returns what is intact and needed of a pack and not stored anew yet, and whether all of the pack is sound.
fn intact(
    session: &Session<'_>,
    (number, needed): (u32, &BTreeSet<Hash>),
    stored: &Stored,
) -> Result<(Vec<Block>, bool), RepositoryError> {
    let path = pack::path(&session.packs_directory(), number);
    let file = File::open(&path).map_err(cannot("open", &path))?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut sound = true;
    let form = Form::new(number, session.sealing.as_deref());
    let examined = pack::examine(&file, form, Depth::Payloads, |found| {
        session.repository.progress.add(found.bytes);
        let Some(Ok(bytes)) = &found.block else {
            sound = false;
            return Ok(());
        };
        let mut start = 0;
        for (hash, length) in &found.header.members {
            let end = start + *length as usize;
            let chunk = bytes.get(start..end).unwrap_or_default();
            start = end;
            if !needed.contains(hash) || stored.fresh.contains_key(hash) {
                continue;
            }
            if Hash::of(chunk) != *hash {
                sound = false;
                continue;
            }
            let open = blocks
                .last_mut()
                .filter(|open| open.kind == found.header.kind && !open.is_full_for(chunk.len()));
            if let Some(open) = open {
                open.add(*hash, chunk);
            } else {
                let mut block = Block::new(found.header.kind);
                block.add(*hash, chunk);
                blocks.push(block);
            }
        }
        Ok(())
    });
    let (faults, _) = examined.map_err(cannot::<io::Error>("read", &path))?;
    Ok((blocks, sound && faults.is_empty()))
}

/// Stores blocks, in new packs.
fn write_blocks(blocks: Vec<Block>, stored: &mut Stored) -> Result<(), RepositoryError> {
    for block in blocks {
        let mut offset = 0;
        for (hash, length) in &block.members {
            stored
                .fresh
                .insert(*hash, (stored.next_block, offset, *length));
            offset += length;
        }
        stored.packer.write(stored.next_block, &block)?;
        stored.next_block += 1;
    }
    Ok(())
}

/// Takes packs out of the index, with all that lies in them.
fn drop_packs(transaction: &redb::WriteTransaction, going: &BTreeSet<u32>) -> Result<(), Trouble> {
    let mut gone = BTreeSet::new();
    let mut blocks = transaction.open_table(BLOCKS)?;
    for row in blocks.iter()? {
        let (block, place) = row?;
        if going.contains(&place.value().0) {
            gone.insert(block.value());
        }
    }
    blocks.retain(|block, _| !gone.contains(&block))?;
    transaction
        .open_table(CHUNKS)?
        .retain(|_, (block, _, _)| !gone.contains(&block))?;
    transaction
        .open_table(PACKS)?
        .retain(|pack, _| !going.contains(&pack))?;
    Ok(())
}
