//! Damaged packs go once nobody needs what they lost.

use std::{collections::BTreeSet, fs::File, io};

use super::{drop_packs, intact, needed, new_packs, write_blocks};
use crate::{
    file_error::cannot,
    repository::{
        error::RepositoryError,
        frame::Compression,
        import::chunks,
        index::{BLOCKS, CHUNKS},
        node::Hash,
        pack::{self, Depth, Form},
        session::{Session, remove},
        take::add_chunks,
        writer::Stored,
    },
};

/// Removes damaged packs, keeping what is intact of them, if no snapshot lacks anything: then what is lost is nobody's.
/// Returns how many packs it removed. The index must have all that is intact.
pub(in crate::repository) fn retire(
    session: &Session<'_>,
    damaged: &BTreeSet<u32>,
) -> Result<u64, RepositoryError> {
    if damaged.is_empty() {
        return Ok(0);
    }
    let Some(needed) = complete(session)? else {
        return Ok(0);
    };
    let packs = session.packs_directory();
    let mut stored = new_packs(session, Compression::Zstd)?;
    for number in damaged {
        let (blocks, _) = intact(session, (*number, &needed), &stored)?;
        write_blocks(blocks, &mut stored)?;
    }
    stored.packer.finish()?;
    if !are_elsewhere(session, (&needed, damaged), &stored)? {
        // What could be read once cannot be read again, or was not written as it was read.
        session.remove_strays()?;
        return Ok(0);
    }
    session.index.write(|transaction| {
        drop_packs(transaction, damaged)?;
        add_chunks(transaction, &stored)
    })?;
    for number in damaged {
        remove(&pack::path(&packs, *number))?;
    }
    Ok(damaged.len() as u64)
}

/// Returns whether no snapshot lacks anything.
pub(in crate::repository) fn may_retire(session: &Session<'_>) -> Result<bool, RepositoryError> {
    Ok(complete(session)?.is_some())
}

/// Returns what the snapshots need; `None` if the index does not have all of it.
fn complete(session: &Session<'_>) -> Result<Option<BTreeSet<Hash>>, RepositoryError> {
    let reader = session.reader()?;
    let Ok(needed) = needed(session, &reader) else {
        // A directory of a snapshot is lost.
        return Ok(None);
    };
    let lacks_nothing = session.index.read(|transaction| {
        let chunks = transaction.open_table(CHUNKS)?;
        for hash in &needed {
            if chunks.get(&hash.0)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(lacks_nothing.then_some(needed))
}

/// Returns whether each needed chunk lies in a pack that stays, or was read back from a new one.
fn are_elsewhere(
    session: &Session<'_>,
    (needed, going): (&BTreeSet<Hash>, &BTreeSet<u32>),
    stored: &Stored,
) -> Result<bool, RepositoryError> {
    let mut read_back = BTreeSet::new();
    for packed in &stored.packer.complete {
        let path = pack::path(&session.packs_directory(), packed.number);
        let file = File::open(&path).map_err(cannot("open", &path))?;
        let form = Form::new(packed.number, session.sealing.as_deref());
        let mut wrong = None;
        let examined = pack::examine(&file, form, Depth::Payloads, |found| {
            let fault = chunks(found, |hash, _| {
                read_back.insert(*hash);
                Ok(())
            })?;
            wrong = wrong.or(fault);
            Ok(())
        });
        let (faults, _) = examined.map_err(cannot::<io::Error>("read", &path))?;
        if wrong.is_some() || !faults.is_empty() {
            return Ok(false);
        }
    }
    session.index.read(|transaction| {
        let chunks = transaction.open_table(CHUNKS)?;
        let blocks = transaction.open_table(BLOCKS)?;
        for hash in needed {
            let block = chunks.get(&hash.0)?.map(|place| place.value().0);
            let block = block.map(|block| blocks.get(block)).transpose()?.flatten();
            let stays = block.is_some_and(|place| !going.contains(&place.value().0));
            if !stays && !read_back.contains(hash) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
