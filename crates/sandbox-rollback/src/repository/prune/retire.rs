//! Damaged packs go once nobody needs what they lost.

use std::collections::BTreeSet;

use super::{drop_packs, intact, needed, new_packs, write_blocks};
use crate::repository::{
    error::RepositoryError,
    frame::Compression,
    index::CHUNKS,
    node::Hash,
    pack,
    session::{Session, remove},
    take::add_chunks,
};

/// Removes damaged packs, keeping what is intact of them, if no snapshot lacks anything: then what is lost is nobody's.
/// Returns how many packs it removed. The index must have all that is intact.
pub(in crate::repository) fn retire(
    session: &Session<'_>,
    damaged: &BTreeSet<u32>,
) -> Result<u64, RepositoryError> {
    let reader = session.reader()?;
    let Ok(needed) = needed(session, &reader) else {
        // A directory of a snapshot is lost.
        return Ok(0);
    };
    if damaged.is_empty() || !lacks_nothing(session, &needed)? {
        return Ok(0);
    }
    let packs = session.packs_directory();
    let mut stored = new_packs(session, Compression::Zstd)?;
    for number in damaged {
        let (blocks, _) = intact(session, (*number, &needed), &stored)?;
        write_blocks(blocks, &mut stored)?;
    }
    stored.packer.finish()?;
    session.index.write(|transaction| {
        drop_packs(transaction, damaged)?;
        add_chunks(transaction, &stored)
    })?;
    for number in damaged {
        remove(&pack::path(&packs, *number))?;
    }
    Ok(damaged.len() as u64)
}

/// Returns whether the index has all of these chunks.
fn lacks_nothing(session: &Session<'_>, needed: &BTreeSet<Hash>) -> Result<bool, RepositoryError> {
    session.index.read(|transaction| {
        let chunks = transaction.open_table(CHUNKS)?;
        for hash in needed {
            if chunks.get(&hash.0)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
