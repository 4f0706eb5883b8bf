//! Frames, compared with what the index says of them.

use super::{Blocks, Known};
use crate::repository::{node::Hash, pack::Found};

/// Compares a frame with the index, notes its good chunks, and returns what is wrong with it.
pub(super) fn frame(
    found: &Found,
    pack: u32,
    blocks: &Blocks,
    chunks: &Known,
) -> Option<(u64, &'static str)> {
    let offset = found.offset;
    let Some((block, bytes)) = blocks.get(&(pack, offset)) else {
        return Some((offset, "the index does not know this frame"));
    };
    if u64::from(*bytes) != found.bytes {
        return Some((offset, "the index has another length for this frame"));
    }
    let content = match &found.block {
        Some(Err(fault)) => return Some((offset, fault.as_str())),
        Some(Ok(content)) => Some(content),
        None => None,
    };
    let mut start = 0_u32;
    let mut wrong = None;
    for (hash, length) in &found.header.members {
        let range = start as usize..(start + length) as usize;
        let place = (*block, start, *length);
        start += length;
        let is_right = content.is_none_or(|content| {
            content
                .get(range)
                .is_some_and(|chunk| Hash::of(chunk) == *hash)
        });
        match chunks.place(hash) {
            // Another copy of it is the one that is used.
            Some((_, known)) if known.0 != *block => {}
            Some((number, known)) if known == place && is_right => {
                chunks.set_good(number);
            }
            Some(_) | None => wrong = Some((offset, "it does not hold what the index says")),
        }
    }
    wrong
}
