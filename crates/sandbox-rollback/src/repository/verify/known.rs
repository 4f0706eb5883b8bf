//! The chunks that the index knows, and which of them were found to be good.

use crate::repository::node::Hash;

/// How many bits of a hash choose where the search for it begins.
const BUCKET_BITS: u32 = 12;

/// Block, offset in it, and length.
pub(super) type Place = (u64, u32, u32);

/// All chunks of the index, sorted: they are asked for one after the other, all of them.
#[derive(Debug, Default)]
pub(super) struct Known {
    hashes: Vec<Hash>,
    places: Vec<Place>,
    good: Vec<bool>,
    /// Where the hashes of each bucket begin, and where the last of them end.
    starts: Vec<usize>,
}

impl Known {
    /// `rows` are sorted by hash, as the index gives them.
    pub(super) fn of(rows: Vec<(Hash, Place)>) -> Self {
        let (hashes, places): (Vec<Hash>, Vec<Place>) = rows.into_iter().unzip();
        let mut starts = Vec::with_capacity((1 << BUCKET_BITS) + 1);
        for (at, hash) in hashes.iter().enumerate() {
            starts.resize(starts.len().max(bucket(hash) + 1), at);
        }
        starts.resize((1 << BUCKET_BITS) + 1, hashes.len());
        Self {
            good: vec![false; hashes.len()],
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
        let start = *self.starts.get(bucket)?;
        let end = *self.starts.get(bucket + 1)?;
        let at = self.hashes.get(start..end)?.binary_search(hash).ok()?;
        Some(start + at)
    }

    pub(super) fn place(&self, hash: &Hash) -> Option<Place> {
        self.find(hash).map(|at| self.places[at])
    }

    pub(super) fn is_good(&self, hash: &Hash) -> bool {
        self.find(hash).is_some_and(|at| self.good[at])
    }

    pub(super) fn set_good(&mut self, hash: &Hash) {
        if let Some(at) = self.find(hash) {
            self.good[at] = true;
        }
    }

    /// Returns how many were not found to be good.
    pub(super) fn lost(&self) -> usize {
        self.good.iter().filter(|good| !**good).count()
    }
}

fn bucket(hash: &Hash) -> usize {
    let first = u16::from_be_bytes([hash.0[0], hash.0[1]]);
    usize::from(first >> (u16::BITS - BUCKET_BITS))
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
        let mut known = Known::of(all.clone());
        for (hash, place) in &all {
            assert_eq!(known.place(hash), Some(*place));
            assert!(!known.is_good(hash));
            known.set_good(hash);
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
