//! New chunks on their way into packs: deduplicated here, compressed and written by another thread.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

use super::{
    cipher::Sealing,
    error::RepositoryError,
    frame::{self, Block, Compression, Kind},
    index::Lookup,
    node::Hash,
    pack::{Draft, Packed},
};
use crate::file_error::{FileError, cannot};

/// How many blocks may wait for the other thread.
const WAITING_MAX: usize = 8;

/// Where a block was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) block: u64,
    pub(super) pack: u32,
    pub(super) offset: u64,
    pub(super) bytes: u32,
}

/// Writes blocks into packs.
#[derive(Debug)]
pub(super) struct Packer {
    packs: PathBuf,
    compression: Compression,
    next_pack: u32,
    sealing: Sealing,
    draft: Option<Draft>,
    pub(super) complete: Vec<Packed>,
    pub(super) written: Vec<Written>,
    pub(super) stored_bytes: u64,
}

impl Packer {
    pub(super) fn new(
        packs: &Path,
        next_pack: u32,
        (compression, sealing): (Compression, Sealing),
    ) -> Self {
        Self {
            packs: packs.to_owned(),
            compression,
            next_pack,
            sealing,
            draft: None,
            complete: Vec::new(),
            written: Vec::new(),
            stored_bytes: 0,
        }
    }

    pub(super) fn write(&mut self, number: u64, block: &Block) -> Result<(), FileError> {
        let (frame, check) = frame::encode(block, self.compression);
        self.append(number, &frame, check).map_err(cannot(
            "write",
            super::pack::path(&self.packs, self.number()),
        ))
    }

    fn number(&self) -> u32 {
        self.draft
            .as_ref()
            .map_or(self.next_pack, |draft| draft.number)
    }

    fn append(
        &mut self,
        block: u64,
        frame: &[u8],
        check: [u8; frame::CHECK_BYTES],
    ) -> io::Result<()> {
        let mut draft = if let Some(draft) = self.draft.take() {
            draft
        } else {
            self.next_pack += 1;
            Draft::create(&self.packs, self.next_pack - 1, self.sealing.clone())?
        };
        let (offset, bytes) = draft.append(frame, check)?;
        self.stored_bytes += bytes;
        self.written.push(Written {
            block,
            pack: draft.number,
            offset,
            bytes: u32::try_from(bytes).map_err(io::Error::other)?,
        });
        if draft.is_full() {
            self.complete.push(draft.finish()?);
        } else {
            self.draft = Some(draft);
        }
        Ok(())
    }

    /// Completes the last pack. The packs are durable when the index is about to change.
    pub(super) fn finish(&mut self) -> Result<(), FileError> {
        let path = super::pack::path(&self.packs, self.number());
        if let Some(draft) = self.draft.take() {
            self.complete
                .push(draft.finish().map_err(cannot("write", path))?);
        }
        Ok(())
    }
}

/// A block that is being filled.
struct Open {
    number: u64,
    block: Block,
}

/// What came of all the chunks.
pub(super) struct Stored {
    pub(super) packer: Packer,
    /// New chunks: block, offset, length.
    pub(super) fresh: BTreeMap<Hash, (u64, u32, u32)>,
    pub(super) new_bytes: u64,
    pub(super) next_block: u64,
}

/// Takes chunks and keeps those that are new.
pub(super) struct Writer<'a> {
    lookup: &'a Lookup,
    data: Option<Open>,
    trees: Option<Open>,
    next_block: u64,
    fresh: BTreeMap<Hash, (u64, u32, u32)>,
    new_bytes: u64,
    jobs: SyncSender<(u64, Block)>,
    worker: JoinHandle<Result<Packer, FileError>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(lookup: &'a Lookup, mut packer: Packer, next_block: u64) -> Self {
        let (jobs, blocks) = sync_channel::<(u64, Block)>(WAITING_MAX);
        let work = move || {
            for (number, block) in blocks {
                packer.write(number, &block)?;
            }
            Ok(packer)
        };
        Self {
            lookup,
            data: None,
            trees: None,
            next_block,
            fresh: BTreeMap::new(),
            new_bytes: 0,
            jobs,
            worker: std::thread::spawn(work),
        }
    }

    /// Keeps a chunk, whose SHA-256 is `hash`, unless it is there already. What is there is in the index, so
    /// it is durable and belongs to a snapshot: that a pack holds it would prove neither.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        hash: Hash,
        chunk: &[u8],
    ) -> Result<(), RepositoryError> {
        if self.fresh.contains_key(&hash) || self.lookup.chunk(&hash)?.is_some() {
            return Ok(());
        }
        let is_data = kind == Kind::Data;
        let slot = if is_data {
            &mut self.data
        } else {
            &mut self.trees
        };
        let mut open = match slot.take() {
            Some(open) if !open.block.is_full_for(chunk.len()) => open,
            full => {
                if let Some(full) = full {
                    send(&self.jobs, full);
                }
                self.next_block += 1;
                Open {
                    number: self.next_block - 1,
                    block: Block::new(kind),
                }
            }
        };
        let place = (
            open.number,
            length(open.block.bytes.len()),
            length(chunk.len()),
        );
        open.block.add(hash, chunk);
        *slot = Some(open);
        self.fresh.insert(hash, place);
        self.new_bytes += if is_data { chunk.len() as u64 } else { 0 };
        Ok(())
    }

    /// Waits until everything is written; nothing of it is durable yet.
    pub(super) fn finish(mut self) -> Result<Stored, FileError> {
        for open in [self.data.take(), self.trees.take()].into_iter().flatten() {
            send(&self.jobs, open);
        }
        drop(self.jobs);
        let packer = match self.worker.join() {
            Ok(packed) => packed?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok(Stored {
            packer,
            fresh: self.fresh,
            new_bytes: self.new_bytes,
            next_block: self.next_block,
        })
    }
}

/// Gives a block to the other thread. If that failed, its error comes at the end.
fn send(jobs: &SyncSender<(u64, Block)>, open: Open) {
    drop(jobs.send((open.number, open.block)));
}

/// Returns a length in a block, which is far below 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
