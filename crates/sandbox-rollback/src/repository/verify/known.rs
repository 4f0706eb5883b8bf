//! The chunks that the index knows, and which of them were found to be good.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::repository::node::Hash;

/// How many bits of a hash choose where the search for it begins: with a hundred thousand chunks one or
/// two begin alike.
const BUCKET_BITS: u32 = 16;

/// Block, offset in it, and length.
pub(super) type Place = (u64, u32, u32);

/// All chunks of the index, sorted: they are asked for one after the other, all of them. Several threads
/// look at once.
#[derive(Debug, Default)]
pub(super) struct Known {
    hashes: Vec<Hash>,
    places: Vec<Place>,
    good: Vec<AtomicBool>,
    /// Where the hashes of each bucket begin, and where the last of them end.
    starts: Vec<u32>,
}

impl Known {
    /// `rows` are sorted by hash, as the index gives them.
    pub(super) fn of(rows: Vec<(Hash, Place)>) -> Self {
        let (hashes, places): (Vec<Hash>, Vec<Place>) = rows.into_iter().unzip();
        let mut starts = Vec::with_capacity((1 << BUCKET_BITS) + 1);
        for (at, hash) in (0..).zip(&hashes) {
            starts.resize(starts.len().max(bucket(hash) + 1), at);
        }
        let end = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        starts.resize((1 << BUCKET_BITS) + 1, end);
        Self {
            good: hashes.iter().map(|_| AtomicBool::new(false)).collect(),
            hashes,
            places,
            starts,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    fn find(&self, hash: &Hash) -> Option<usize> {
        let bucket = bucket(hash);
        let start = *self.starts.get(bucket)? as usize;
        let end = *self.starts.get(bucket + 1)? as usize;
        let at = self.hashes.get(start..end)?.binary_search(hash).ok()?;
        Some(start + at)
    }

    /// Returns where a chunk lies, and its number for [`Self::set_good`].
    pub(super) fn place(&self, hash: &Hash) -> Option<(usize, Place)> {
        self.find(hash).map(|at| (at, self.places[at]))
    }

    pub(super) fn is_good(&self, hash: &Hash) -> bool {
        let at = self.find(hash);
        at.is_some_and(|at| self.good[at].load(Ordering::Relaxed))
    }

    pub(super) fn set_good(&self, number: usize) {
        if let Some(good) = self.good.get(number) {
            good.store(true, Ordering::Relaxed);
        }
    }

    /// Returns how many were not found to be good.
    pub(super) fn lost(&self) -> usize {
        let lost = |good: &&AtomicBool| !good.load(Ordering::Relaxed);
        self.good.iter().filter(lost).count()
    }
}

fn bucket(hash: &Hash) -> usize {
    usize::from(u16::from_be_bytes([hash.0[0], hash.0[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_is_found_and_no_other() {
        let mut all: Vec<_> = (0..2000_u64)
            .map(|n| (Hash::of(&n.to_le_bytes()), (n, 0, 0)))
            .collect();
        all.sort_unstable();
        let missing = all.remove(700).0;
        let known = Known::of(all.clone());
        for (number, (hash, place)) in all.iter().enumerate() {
            assert_eq!(known.place(hash), Some((number, *place)));
            assert!(!known.is_good(hash));
            known.set_good(number);
            assert!(known.is_good(hash));
        }
        assert_eq!(
            (known.place(&missing), known.is_good(&missing)),
            (None, false)
        );
        assert_eq!((known.len(), known.lost()), (1999, 0));
        assert_eq!(Known::of(Vec::new()).place(&missing), None);
    }
}
